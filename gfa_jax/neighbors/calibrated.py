"""Approximate neighbours whose recall is measured, not hoped for.

What a refinement needs is not all K neighbours but the edges that survive the
threshold. An inverted file (FAISS IVF: the rows are put into cells, and a search
looks into the `nprobe` cells nearest to the query) is searched with more and more
cells until the recall of those edges, on a sample of rows against exact search, is
above the target beyond doubt: until its lower confidence bound is. Where that takes
so many cells that nothing is saved, exact search does the job, and the result says so.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from gfa_jax.neighbors.approximate import (
    as_searchable,
    build_index,
    import_faiss,
    search_in_itself,
    set_search,
)
from gfa_jax.types import Neighbors

# Cells per √N: more make a search cheaper and the index dearer.
_CELLS_PER_ROOT = 4
# Searching more than this share of the cells costs as much as searching all rows by
# one large matrix product, which runs several times as fast a multiply-add.
_LARGEST_SHARE = 1 / 8
# Below, the exact search ends before an index is built.
FEWEST_ROWS = 20_000
# One-sided 95 % normal quantile.
_QUANTILE = 1.645


class Calibration(NamedTuple):
    """How `approximate_neighbors` searched, and what it measured.

    Attributes:
        factory: FAISS index factory string; "Flat" is exact.
        search: FAISS search parameters.
        recall: share of the sample's edges that were found.
        lower_bound: of the recall, one-sided at 95 %, rows taken as independent.
        target: the recall asked for.
        num_edges: edges of the sample that count.
        sample_rows: rows of the sample.
    """

    factory: str
    search: str
    recall: float
    lower_bound: float
    target: float
    num_edges: int
    sample_rows: int


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
        include_self: as `exact_neighbors`.
        sample_size: rows whose exact neighbours are searched for the calibration.
        seed: of the sample.
        progress: called as tqdm is, around the blocks of the final search.

    Returns:
        The neighbours, NumPy arrays as of `faiss_neighbors`, and the Calibration:
        its lower bound is at least `edge_recall`, or the search was exact.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: k outside [1, N), a recall outside (0, 1], a threshold outside
            [-1, 1], a sample below 1.

    Cost: training and filling the index, O(N^1.5 D); the search, O(N² D · nprobe /
    cells). Memory: the index, N·D float32, and two [N, k + 1] arrays.
    """
    faiss = import_faiss()
    features = as_searchable(features, k)
    _check(edge_recall, threshold, sample_size)
    num_rows = len(features)
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(num_rows, min(sample_size, num_rows), replace=False))
    options: dict[str, Any] = {"k": k, "include_self": include_self}

    flat = build_index(faiss, features, "Flat", "")
    exact = Calibration("Flat", "", 1.0, 1.0, edge_recall, 0, 0)
    if num_rows < FEWEST_ROWS:
        return search_in_itself(flat, features, progress=progress, **options), exact
    wanted = _edges(flat, features, rows, threshold, **options)
    num_edges = sum(map(len, wanted))
    cells = num_cells(num_rows)
    factory = f"IVF{cells},Flat"
    index = build_index(faiss, features, factory, "")
    nprobe = 1
    while nprobe <= cells * _LARGEST_SHARE:
        search = f"nprobe={nprobe}"
        set_search(faiss, index, search)
        recall, bound = _recall(wanted, _edges(index, features, rows, None, **options))
        if bound >= edge_recall:
            return (
                search_in_itself(index, features, progress=progress, **options),
                Calibration(
                    factory, search, recall, bound, edge_recall, num_edges, len(rows)
                ),
            )
        nprobe *= 2
    return search_in_itself(flat, features, progress=progress, **options), exact


def num_cells(num_rows: int) -> int:
    """Returns the number of cells that N rows are put into, a power of two."""
    return 2 ** round(math.log2(_CELLS_PER_ROOT * num_rows**0.5))


def _edges(
    index,
    features: np.ndarray,
    rows: np.ndarray,
    threshold: float | None,
    *,
    k: int,
    include_self: bool,
) -> list[set[int]]:
    """Finds the others that each sampled row has an edge to."""
    others = k - 1 if include_self else k
    similarity, indices = index.search(features[rows], others + 1)
    edges = []
    for row, cosines, found in zip(rows, similarity, indices, strict=True):
        kept = [
            (c, j) for c, j in zip(cosines, found, strict=True) if j not in (-1, row)
        ]
        limit = -np.inf if threshold is None else threshold
        edges.append({int(j) for c, j in kept[:others] if c > limit})
    return edges


def _recall(wanted: list[set[int]], found: list[set[int]]) -> tuple[float, float]:
    """Estimates the share of the edges found, and its lower bound.

    The edges of one row are found or missed together, so the rows are the sample:
    r = Σ hits / Σ edges, with the variance of a ratio estimator. Without a miss the
    bound is that of no miss in as many rows, 1 − 3/n.
    """
    edges = np.array([len(w) for w in wanted], float)
    hits = np.array([len(w & f) for w, f in zip(wanted, found, strict=True)], float)
    total = edges.sum()
    if total == 0:
        return 1.0, 1.0
    recall = hits.sum() / total
    if recall == 1.0:
        return 1.0, 1.0 - 3.0 / np.count_nonzero(edges)
    deviation = np.sqrt(np.sum((hits - recall * edges) ** 2)) / total
    return float(recall), float(recall - _QUANTILE * deviation)


def _check(edge_recall: float, threshold: float | None, sample_size: int) -> None:
    if not 0 < edge_recall <= 1:
        raise ValueError(f"edge_recall is {edge_recall}; expected a share in (0, 1]")
    if threshold is not None and not -1 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; expected a cosine in [-1, 1]")
    if sample_size < 1:
        raise ValueError(f"sample_size is {sample_size}; expected at least 1")
