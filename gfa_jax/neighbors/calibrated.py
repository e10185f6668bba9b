"""Approximate neighbours whose recall is measured, not hoped for.

What a refinement needs is not all K neighbours but the edges that survive the
threshold. The rows are put into cells (an inverted file, by FAISS's k-means), and each
looks into the cells whose centroid is nearly as near as its own's; see `cells`. How
nearly, ρ, follows from the edges of a sample of rows, found by exact search: each says
up to which ρ it would have been found,

    ρ_ij = max(F_i · c_j / F_i · c_i, F_j · c_i / F_j · c_j)

with c_i the centroid of the cell of i, and the largest ρ is taken for which the lower
confidence bound of their recall reaches the target. The result is then measured on the
same sample. Where so many products would be left that nothing is saved, exact search
does the job, and the result says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.neighbors import cells, lists
from gfa_jax.neighbors.approximate import as_searchable, import_faiss
from gfa_jax.neighbors.cells import num_cells
from gfa_jax.neighbors.exact import exact_neighbors
from gfa_jax.types import Neighbors

__all__ = ["FEWEST_ROWS", "Calibration", "approximate_neighbors", "num_cells"]

# Exact search makes half of all products, and in larger blocks: with more than this
# share of them approximate search saves too little.
LARGEST_SHARE = 1 / 8
# Visits of a row to cells, at most on average: 2 KB a row.
_MOST_VISITS = 256
# Below, the exact search ends before the cells are trained.
FEWEST_ROWS = 20_000
# How far below the threshold another cell's rows still count as candidates.
_BELOW_THRESHOLD = 0.1
# ρ is lowered by what products in blocks of other shapes may differ.
_ROUNDING = 1e-5
# One-sided 95 % normal quantile.
_QUANTILE = 1.645
_BLOCK_ROWS = 1024


class Calibration(NamedTuple):
    """How `approximate_neighbors` searched, and what it measured.

    Attributes:
        factory: kind of index as FAISS names it: an inverted file, or "Flat", which is
            exact.
        search: which cells a row looks into.
        recall: share of the sample's edges that were found.
        lower_bound: of the recall, one-sided at 95 %, rows taken as independent.
        target: the recall asked for.
        num_edges: edges of the sample that count.
        sample_rows: rows of the sample.
        share: products made, over N², where they were counted; an exact search makes
            half of them.
    """

    factory: str
    search: str
    recall: float
    lower_bound: float
    target: float
    num_edges: int
    sample_rows: int
    share: float | None = None


class _Edges(NamedTuple):
    """Edges of sampled rows: the place of the row in the sample, and both ends, [E]."""

    place: np.ndarray
    rows: np.ndarray
    others: np.ndarray


def approximate_neighbors(
    features: jax.Array | np.ndarray,
    *,
    k: int,
    edge_recall: float = 0.99,
    threshold: float | None = None,
    include_self: bool = True,
    sample_size: int = 1000,
    seed: int = 0,
    progress: Callable | None = None,
) -> tuple[Neighbors, Calibration]:
    """Finds nearly all neighbours that count, in a fraction of the exact time.

    Args:
        features: [N, D] floating unit rows; searched in float32.
        k: number of neighbours in [1, N), **the row itself counted** where
            `include_self`: k=15 then means the row and 14 others.
        edge_recall: share of the edges that must be found, in (0, 1].
        threshold: cosine that an edge must exceed to count; all edges to the k - 1
            (or k) nearest others count where it is None. The row itself never counts.
            Slots that no edge fills hold the nearest rows of the own cell, and those of
            other cells that are at most 0.1 below the threshold.
        include_self: as `exact_neighbors`.
        sample_size: rows whose exact neighbours are searched for the calibration; more
            than 3 / (1 - edge_recall), or no sample proves that recall.
        seed: of the sample.
        progress: called as tqdm is, around the stages of the search.

    Returns:
        The neighbours, NumPy arrays as of `faiss_neighbors`, and the Calibration:
        its lower bound is at least `edge_recall`, or the search was exact.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: k outside [1, N), a recall outside (0, 1], a threshold outside
            [-1, 1], a sample below 1, values that are not finite.

    Cost: training and assignment, O(N^1.5 D); the search, `share` N² D, at most an
    eighth of all products. Memory beyond the features: 8 bytes for each cell that a row
    looks into, at most 256 of them, the [N, k] lists, and 0.5 GB for what is found
    before it is merged. An exact search holds the features once more.
    """
    faiss = import_faiss()
    features = as_searchable(features, k)
    check_options(edge_recall, threshold, sample_size)
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity; remove or repair those rows")
    num_rows = len(features)
    others = k - 1 if include_self else k
    if num_rows >= FEWEST_ROWS and others:
        random = np.random.default_rng(seed)
        size = min(sample_size, num_rows)
        sample = np.sort(random.choice(num_rows, size, replace=False))
        wanted = _exact_edges(faiss, features, sample, others, threshold)
        found = _search(
            faiss,
            features,
            sample,
            wanted,
            others=others,
            edge_recall=edge_recall,
            least=-np.inf if threshold is None else threshold - _BELOW_THRESHOLD,
            progress=progress,
        )
        if found is not None:
            return _with_itself(features, found[0], include_self), found[1]
    exact = exact_neighbors(
        jnp.asarray(features), k=k, include_self=include_self, progress=progress
    )
    return (
        Neighbors(*map(np.asarray, exact)),
        Calibration("Flat", "", 1.0, 1.0, edge_recall, 0, 0, 0.5),
    )


def _search(
    faiss,
    features: np.ndarray,
    sample: np.ndarray,
    wanted: _Edges,
    *,
    others: int,
    edge_recall: float,
    least: float,
    progress: Callable | None,
) -> tuple[lists.Lists, Calibration] | None:
    """Searches in cells; None where that does not reach the recall or saves nothing."""
    num_rows, size = len(features), len(sample)
    centroids = cells.train(faiss, features, min(num_cells(num_rows), num_rows))
    ratio = _choose_ratio(
        _least_ratios(features, centroids, wanted), wanted, edge_recall
    )
    if ratio is None:
        return None
    cosine = features[sample] @ centroids.T
    looked = cosine >= cells.reach(cosine.max(axis=1), ratio)[:, None]
    if looked.sum() > _MOST_VISITS * size:
        return None
    # The mean of a sample may be a little below that of all.
    most = 2 * _MOST_VISITS * num_rows
    visits = cells.visit(features, centroids, ratio, most=most, progress=progress)
    if visits is None or visits.share > LARGEST_SHARE:
        return None
    best = cells.search(features, visits, k=others, least=least, progress=progress)
    hits = np.any(best.indices[wanted.rows] == wanted.others[:, None], axis=1)
    recall, bound = _recall_of(wanted, hits)
    if bound < edge_recall:
        return None
    a_row = 1 + len(visits.rows) / num_rows
    return best, Calibration(
        f"IVF{len(centroids)},Flat",
        f"centroids within {ratio:.3f} of the nearest, {a_row:.1f} cells a row",
        recall,
        bound,
        edge_recall,
        len(wanted.rows),
        size,
        visits.share,
    )


def _exact_edges(
    faiss,
    features: np.ndarray,
    sample: np.ndarray,
    others: int,
    threshold: float | None,
) -> _Edges:
    """Finds the others that each sampled row has an edge to, by exact search."""
    width = min(others + 1, len(features))
    cosine, found = faiss.knn(
        features[sample], features, width, metric=faiss.METRIC_INNER_PRODUCT
    )
    # The row itself, or where copies of it hide it the last one, leaves the list.
    itself = found == sample[:, None]
    itself[~itself.any(axis=1), -1] = True
    counts = ~itself & (found >= 0)
    if threshold is not None:
        counts &= cosine > threshold
    place, column = np.nonzero(counts)
    return _Edges(place, sample[place], found[place, column])


def _least_ratios(
    features: np.ndarray, centroids: np.ndarray, edges: _Edges
) -> np.ndarray:
    """Returns the ρ_ij up to which each edge is found, [E]; see the module."""
    ends, place = np.unique(
        np.concatenate([edges.rows, edges.others]), return_inverse=True
    )
    own, best = np.empty(len(ends), np.int64), np.empty(len(ends), np.float32)
    for start in range(0, len(ends), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        cosine = features[ends[block]] @ centroids.T
        own[block], best[block] = cosine.argmax(axis=1), cosine.max(axis=1)
    left, right = place[: len(edges.rows)], place[len(edges.rows) :]

    def reaches(one, other):
        cosine = np.einsum("ed,ed->e", features[ends[one]], centroids[own[other]])
        # Without a near centroid a row looks into its own cell only.
        ratio = np.where(best[one] > 0, cosine / np.abs(best[one]), -np.inf)
        return np.where(own[one] == own[other], 1.0, np.minimum(ratio, 1.0))

    return np.maximum(reaches(left, right), reaches(right, left))


def _choose_ratio(ratios: np.ndarray, edges: _Edges, target: float) -> float | None:
    """Finds the largest ρ whose lower bound reaches the target; None without one."""
    if not len(ratios):
        return 1.0
    steps = np.unique(ratios)
    # The bound grows with every edge found, but for details of its variance.
    low, high = -1, len(steps) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _recall_of(edges, ratios >= steps[middle])[1] >= target:
            low = middle
        else:
            high = middle - 1
    if low < 0 or steps[low] <= 0:
        return None
    return float(steps[low]) - _ROUNDING


def _recall_of(edges: _Edges, hits: np.ndarray) -> tuple[float, float]:
    """Estimates the share of the edges found, [E] bool, and its lower bound."""
    return _bounded(np.bincount(edges.place), np.bincount(edges.place, weights=hits))


def measure_recall(
    wanted: list[set[int]], found: list[set[int]]
) -> tuple[float, float]:
    """Estimates the share of the edges found, row by row, and its lower bound."""
    hits = [len(w & f) for w, f in zip(wanted, found, strict=True)]
    return _bounded(np.array([len(w) for w in wanted]), np.array(hits))


def _bounded(edges: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Estimates a share and its lower bound from the counts of every row.

    The edges of one row are found or missed together, so the rows are the sample:
    r = Σ hits / Σ edges, with the variance of a ratio estimator. Without a miss the
    bound is that of no miss in as many rows, 1 − 3/n.
    """
    total = edges.sum()
    if total == 0:
        return 1.0, 1.0
    recall = float(hits.sum() / total)
    if recall == 1.0:
        return 1.0, 1.0 - 3.0 / np.count_nonzero(edges)
    deviation = np.sqrt(np.sum((hits - recall * edges) ** 2)) / total
    return recall, float(recall - _QUANTILE * deviation)


def _with_itself(
    features: np.ndarray, best: lists.Lists, include_self: bool
) -> Neighbors:
    """Puts the row itself in front where it is counted."""
    if not include_self:
        return Neighbors(best.indices, best.similarity)
    row = np.arange(len(features), dtype=np.int32)[:, None]
    itself = np.einsum("nd,nd->n", features, features)[:, None]
    return Neighbors(
        np.concatenate([row, best.indices], axis=1),
        np.concatenate([itself, best.similarity], axis=1),
    )


def check_options(
    edge_recall: float, threshold: float | None, sample_size: int
) -> None:
    if not 0 < edge_recall <= 1:
        raise ValueError(f"edge_recall is {edge_recall}; expected a share in (0, 1]")
    if threshold is not None and not -1 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; expected a cosine in [-1, 1]")
    if sample_size < 1:
        raise ValueError(f"sample_size is {sample_size}; expected at least 1")
