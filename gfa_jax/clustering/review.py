"""The pairs of rows whose answer, same or not, would change the clusters most.

Two kinds of pairs of parts A, B are asked about, each by a typical row of both:

- the two halves of a cluster, which the answer "not the same" parts. How likely they
  are one is π(S(A, B)), the posterior of a join (persistence.py);
- two clusters that an edge connects, which the answer "the same" joins. How likely they
  are one is σ(S(A, B) / s − z₀), the posterior of an edge (selection/evidence.py).

An answer against the clusters changes the decision about |A| |B| pairs of rows. So the
expected change is |A| |B| (1 − π), or |A| |B| σ, and the largest come first.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics
from gfa_jax.checks import check_integer, check_neighbors, check_rows
from gfa_jax.clustering import clusters as clustering
from gfa_jax.clustering.confidence import sum_groups
from gfa_jax.clustering.linkage import Tree, average_linkage, dot_pairs, mean_cosines
from gfa_jax.clustering.persistence import below_roots, posterior
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.selection import Evidence
from gfa_jax.types import Array, Neighbors


class Review(NamedTuple):
    """What `review` returns, the pair that tells most first.

    Attributes:
        rows: [M, 2] int64 rows to compare.
        together: [M] bool, whether they share a cluster.
        probability: [M] floating, that their parts are of one identity.
        change: [M] floating pairs of rows whose decision the answer is expected to
            change, descending.
        parts: [N] int64 the part that each row is in, in [0, P): half a cluster, or a
            whole one of one row; the parts of a cluster follow each other.
    """

    rows: np.ndarray
    together: np.ndarray
    probability: np.ndarray
    change: np.ndarray
    parts: np.ndarray


def review(
    features: Array,
    neighbors: Neighbors,
    labels: np.ndarray,
    *,
    count: int,
    evidence: Evidence | None = None,
    progress: Callable | None = None,
) -> Review:
    """Lists the pairs of rows to ask a person about; the module says which.

    Args:
        features: [N, D] rows, as given to `cluster`.
        neighbors: [N, K] candidates.
        labels: [N] integers, the clusters found by any method; -1 for a row alone.
        count: most pairs, >= 1.
        evidence: of the pool.
        progress: called as tqdm is.

    Returns:
        Review: at most `count` pairs, the one that would change most first.

    Raises:
        ValueError: a count under 1, another number of labels, what `cluster` refuses.

    Cost and memory: those of `cluster`.
    """
    check_integer("count", count, least=1)
    features = numerics.to_compute_dtype(features)
    indices = np.asarray(check_neighbors(features, neighbors))
    check_rows(features)
    groups = _all_labelled(labels, len(indices))
    views, spread, center = clustering.measure(features, evidence)
    similarity = score_candidates(views, jnp.asarray(indices), progress=progress)
    rows, is_other = np.asarray(views), clustering.others(indices)
    is_member = is_other & (groups[indices] == groups[:, None])
    options = {"threshold": -2, "progress": progress}
    tree = average_linkage(rows, indices, similarity, is_member, **options)
    parts, halves = _parts(tree, groups)
    edges = np.nonzero(is_other & ~is_member)
    ends = np.sort([groups[edges[0]], groups[indices[edges]]], axis=0)
    num_groups = groups.max() + 1
    keys = np.unique(ends[0] * num_groups + ends[1])
    adjacent = np.stack(np.divmod(keys, num_groups))

    def score(pairs: np.ndarray, groups: np.ndarray):
        sums, sizes = sum_groups(rows, groups), np.bincount(groups)
        fit = dot_pairs(rows, sums, np.arange(len(rows)), groups)
        order = np.lexsort((fit, groups))
        typical = order[np.cumsum(sizes) - 1]
        height = mean_cosines(sums, sizes, *pairs).astype(np.float64)
        return typical[pairs.T], height, sizes[pairs].prod(axis=0)

    inside, height, inside_pairs = score(halves, parts)
    between, edge, between_pairs = score(adjacent, groups)
    size = np.bincount(parts)[halves].sum(axis=0)
    likely = posterior(height, size, spread=spread, center=center)
    joined = 1 / (1 + np.exp(center - edge / spread))
    change = np.append(inside_pairs * (1 - likely), between_pairs * joined)
    first = np.argsort(-change, kind="stable")[:count]
    return Review(
        np.concatenate([inside, between])[first],
        first < len(inside),
        np.append(likely, joined)[first],
        change[first],
        parts,
    )


def answer(labels: np.ndarray, asked: Review, same: np.ndarray) -> np.ndarray:
    """Parts and joins clusters as a person says of their pairs.

    Args:
        labels: [N] those that `review` was given.
        asked: what it returned.
        same: [M] bool, whether the rows of each pair are of one identity.

    Returns:
        [N] int32 labels, numbered as `Clusters` are; a row without one is alone.

    Raises:
        ValueError: answers of another number of pairs.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    same = np.asarray(same, bool)
    if same.shape != asked.together.shape:
        raise ValueError(
            f"same has shape {same.shape}; expected one answer for each of "
            f"{len(asked.together)} pairs"
        )
    parts, groups = asked.parts, _all_labelled(labels, len(asked.parts))
    cluster_of = np.empty(parts.max() + 1, np.int64)
    cluster_of[parts] = groups
    pairs = parts[asked.rows]
    stays = cluster_of[1:] == cluster_of[:-1]
    stays[pairs[asked.together & ~same].min(axis=1)] = False
    first, second = pairs[~asked.together & same].T
    links = np.flatnonzero(stays)
    ends = np.append(links, first), np.append(links + 1, second)
    graph = csr_array((np.ones(len(ends[0])), ends), shape=(len(cluster_of),) * 2)
    joined = connected_components(graph, directed=False)[1][parts]
    return clustering.number_clusters(joined)[0]


def _parts(tree: Tree, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the parts of `Review`; lists the halves of the roots, [2, R]."""
    num_nodes = tree.num_rows + len(tree.children)
    root, part = below_roots(tree)
    root = np.unique(groups * num_nodes + root, return_inverse=True)[1]
    part = np.unique(root * num_nodes + part, return_inverse=True)[1]
    root_of = np.empty(part.max() + 1, np.int64)
    root_of[part] = root
    first = np.flatnonzero(root_of[1:] == root_of[:-1])
    return part, np.stack([first, first + 1])


def _all_labelled(labels: np.ndarray, num_rows: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (num_rows,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels are {labels.dtype} {labels.shape}; expected [{num_rows}] integers"
        )
    return clustering.number_clusters(labels)[0].astype(np.int64)
