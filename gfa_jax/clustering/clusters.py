"""Clusters of refined features.

S holds the cosines of the features on the candidates. By default the pool itself says
where to cut: the features are read in the pool's own units (selection/metric.py) and
joined by average linkage (linkage.py), and of the tree of joins those clusters are
taken that persist longest (persistence.py). With a threshold t_s given, the paper's
section 3.4: prune the pairs with S < t_s, and what the rest connects is a cluster
("components"), or what agrees as a whole ("average").

How likely a row belongs to its cluster: confidence.py.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics
from gfa_jax.checks import check_integer, check_neighbors, check_number, check_rows
from gfa_jax.clustering import communities
from gfa_jax.clustering.components import connected, split_large
from gfa_jax.clustering.confidence import membership
from gfa_jax.clustering.linkage import average_linkage
from gfa_jax.clustering.persistence import FLOOR, below_roots, choose_clusters
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.selection import Evidence
from gfa_jax.selection.evidence import CONSTANTS
from gfa_jax.selection.metric import (
    draw_sample,
    measure_pool,
    measure_rows_in_blocks,
    pool_views,
)
from gfa_jax.types import Array, Neighbors

Method = Literal["persistent", "components", "average", "infomap", "leiden", "hdbscan"]
METHODS: tuple[Method, ...] = get_args(Method)
BY_THRESHOLD = ("components", "average")

# Rows from which the pool is measured, at most: its time is O(S D²).
SAMPLE = 2**14


class Clusters(NamedTuple):
    """What `cluster` returns, on the host.

    Attributes:
        labels: [N] int32 cluster of each row in [0, C), 0 the largest; -1 where the
            cluster has fewer than `min_size` rows.
        sizes: [C] int64 rows of each cluster, descending.
        confidence: [N] floating in [0, 1], the probability that another row of its
            cluster is of the same identity (confidence.py); 0 for a row alone in its
            cluster or without a label.
    """

    labels: np.ndarray
    sizes: np.ndarray
    confidence: np.ndarray

    def __repr__(self) -> str:
        """Says how many there are, in one line."""
        return (
            f"Clusters({self.num_clusters:,} of {len(self.labels):,} rows, the largest "
            f"of {self.sizes.max(initial=0):,}, {np.sum(self.sizes == 1):,} of one, "
            f"{np.sum(self.labels < 0):,} rows left out)"
        )

    @property
    def num_clusters(self) -> int:
        """C, the number of clusters of at least `min_size` rows."""
        return len(self.sizes)

    @property
    def cluster_confidence(self) -> np.ndarray:
        """[C] mean confidence of the rows: what share of a cluster's pairs is right."""
        kept = self.labels >= 0
        sums = np.bincount(self.labels[kept], self.confidence[kept], len(self.sizes))
        return sums / self.sizes


def cluster(
    features: Array,
    neighbors: Neighbors,
    *,
    method: Method | None = None,
    threshold: float | None = None,
    evidence: Evidence | None = None,
    min_size: int = 1,
    max_size: int | None = None,
    progress: Callable | None = None,
) -> Clusters:
    """Clusters rows by their similar pairs; by default without any number given.

    "persistent", the default, is the cut of the tree of average linkage at which
    clusters persist longest (see `persistence`). With a threshold,

        y_i = y_j  ⟺  a path of pairs with S >= t_s leads from i to j,
        S_ij = F_i · F_j,  j ∈ KNN_i or i ∈ KNN_j              (paper, section 3.4)

    or, with "average", clusters A and B that such a pair connects join, the most
    similar first, while mean_{i ∈ A, j ∈ B} S_ij >= t_s. A pair on the threshold stays,
    since the paper prunes what is less. Which rows are together does not depend on
    their order (with a tree: where no two means are equal).

    Args:
        features: [N, D] floating rows of unit length, as `aggregate` returns them
            (a row of zeros has S = 0). Half precision is computed in float32.
        neighbors: [N, K] candidates; only `indices` is read, S is computed from
            `features`. Whether a row lists itself makes no difference.
        method: by default "components", the paper's rule, where a threshold is given
            and else "persistent". "infomap", "leiden" and "hdbscan" are those of other
            packages (see the module `communities`), without a number either.
        threshold: t_s in [−1, 1], a cosine of the features given. Refined features
            are closer to each other than raw ones and want a higher t_s. At 1 equal
            rows stay together, whatever rounding leaves of their cosine.
        evidence: what `choose_settings` saw of the raw features; of it the spread of
            strangers and z₀ are read. Without it, the spread over all rows of the
            features given, and the z₀ of a pool of some thousand rows.
        min_size: least rows of a cluster, >= 1. The rows of smaller ones get -1,
            as outliers do in DBSCAN; 1 labels every row.
        max_size: of "components" alone: most rows of a cluster, >= min_size. A larger
            one is cut at a threshold that rises for it alone until every piece fits
            (see the module `components`). None cuts nothing.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the parts of the set while S is computed.

    Returns:
        Clusters, numbered by descending size, equal sizes by their first row.

    Raises:
        ValueError: an option outside its range or of another method, shapes that do
            not fit, no rows or no candidates, an index outside [−1, N), or a row that
            is not of unit length.

    Cost: N K D multiply-adds, then O(N K) on one core of the host; what `split_large`
    adds with `max_size`, or `average_linkage`. Memory: O(N K), about 50 bytes a
    candidate; but for components a copy of the features too.

    Examples:
        >>> rows = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1], [0, 1]])
        >>> neighbors = gfa.exact_neighbors(rows, k=3)
        >>> gfa.cluster(rows, neighbors, threshold=0.9).labels
        array([1, 0, 1, 0, 0], dtype=int32)
    """
    features = numerics.to_compute_dtype(features)
    if method is None:
        method = "persistent" if threshold is None else "components"
    _check_method(method, threshold, max_size)
    check_options(threshold=threshold or 0.0, min_size=min_size, max_size=max_size)
    indices = np.asarray(check_neighbors(features, neighbors))
    check_rows(features)
    spread = center = 1.0
    if method not in BY_THRESHOLD:
        features, spread, center = measure(features, evidence)
        threshold = FLOOR * spread
    assert threshold is not None
    similarity = score_candidates(features, jnp.asarray(indices), progress=progress)
    if method == "components":
        sizes = {"min_size": min_size, "max_size": max_size}
        return cluster_scored(indices, similarity, threshold=threshold, **sizes)
    rows, is_other = np.asarray(features), others(indices)
    if method not in ("persistent", "average"):
        weights = 1 / (1 + np.exp(center - similarity / spread))
        groups = communities.find(method, rows, indices, is_other, weights)
        return _finish(groups, indices, is_other, similarity, min_size, rows=rows)
    threshold = reachable(threshold, similarity.dtype)
    options = {"threshold": threshold, "progress": progress}
    survives = is_other & (similarity >= threshold)
    tree = average_linkage(rows, indices, similarity, survives, **options)
    if method == "average":
        groups, _ = below_roots(tree)
    else:
        groups = choose_clusters(tree, spread=spread, center=center)
    return _finish(groups, indices, is_other, similarity, min_size, rows=rows)


def measure(
    features: Array, evidence: Evidence | None
) -> tuple[jax.Array, float, float]:
    """Brings rows to the pool's own units; returns s and z₀ with them."""
    pool = measure_pool(features[draw_sample(len(features), SAMPLE)])
    views = pool_views(features, pool)
    if evidence is not None:
        return views, evidence.spread, evidence.center
    null = measure_rows_in_blocks(features, pool, block_size=SAMPLE)
    return views, float(np.mean(null.spread)), CONSTANTS.posterior_center


def cluster_scored(
    indices: np.ndarray,
    similarity: np.ndarray,
    *,
    threshold: float,
    min_size: int,
    max_size: int | None,
) -> Clusters:
    """Finds components of candidates [N, K] whose cosines are known; as `cluster`."""
    is_other = others(indices)
    survives = is_other & (similarity >= reachable(threshold, similarity.dtype))
    components = connected(indices, survives)
    if max_size is not None:
        components = split_large(
            components, indices, similarity, survives, max_size=max_size
        )
    return _finish(components, indices, is_other, similarity, min_size, rows=None)


def others(indices: np.ndarray) -> np.ndarray:
    """Tells which candidates [N, K] are rows, and others than the row itself."""
    return (indices >= 0) & (indices != np.arange(len(indices))[:, None])


def _finish(groups, indices, is_other, similarity, min_size: int, *, rows) -> Clusters:
    numbers, sizes = number_clusters(groups)
    confidence = membership(numbers, indices, is_other, similarity, rows)
    is_kept = sizes[numbers] >= min_size
    return Clusters(
        np.where(is_kept, numbers, np.int32(-1)),
        sizes[sizes >= min_size],
        np.where(is_kept, confidence, 0),
    )


def number_clusters(components: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers components by size, then first row: [N] int32, their sizes [C] int64.

    A row of a negative one is alone.
    """
    alone = components.max() + 1 + np.arange(len(components))
    components = np.where(components < 0, alone, components)
    _, first, inverse, counts = np.unique(
        components, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order))
    return number[inverse], counts[order]


def _check_method(method: str, threshold: float | None, max_size: int | None) -> None:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    if (threshold is not None) != (method in BY_THRESHOLD):
        raise ValueError(
            f"method is {method!r} and threshold is {threshold}; expected a threshold "
            "with components and average alone"
        )
    if max_size is not None and method != "components":
        raise ValueError(
            f"max_size is {max_size}; expected None, since it cuts components and the "
            f"method is {method!r}"
        )


def check_options(*, threshold: float, min_size: int, max_size: int | None) -> None:
    """Refuses options of `cluster` outside their ranges, with a ValueError."""
    check_number("threshold", threshold, -1.0, 1.0)
    check_integer("min_size", min_size, least=1)
    if max_size is not None:
        check_integer("max_size", max_size, least=1)
    if max_size is not None and max_size < min_size:
        raise ValueError(
            f"max_size is {max_size}; expected at least min_size, which is {min_size}: "
            "no cluster can be both"
        )


def reachable(threshold: float, dtype: np.dtype) -> float:
    """Returns t_s, or what the cosine of two equal rows reaches where that is less."""
    return min(float(threshold), 1 - 16 * float(np.finfo(dtype).eps))
