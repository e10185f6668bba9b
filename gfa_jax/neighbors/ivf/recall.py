"""The share of the edges that a search found, of sampled rows searched exactly."""

from typing import Any, NamedTuple

import numpy as np

from gfa_jax.neighbors.ivf import cells, lists
from gfa_jax.types import Neighbors

# Rows of the sample: no fewer than 3 / (1 - recall) prove a recall.
SAMPLE_ROWS = 1000
# Copies of one row are as near as each other up to this.
TIE = 1e-6
# One-sided 95 % normal quantile.
_QUANTILE = 1.645
# Rows that are multiplied with the sample at a time.
_SCANNED_ROWS = 4096


class Calibration(NamedTuple):
    """How `approximate_neighbors` searched, and what it measured."""

    factory: str  # kind of index as FAISS names it; "Flat" is exact
    search: str  # which cells a row probes
    recall: float  # share of the sample's edges that were found
    lower_bound: float  # of the recall, one-sided at 95 %, rows taken as independent
    target: float  # the recall asked for
    num_edges: int  # edges of the sample that count
    sample_rows: int
    share: float  # products made, over N²; half of them in an exact search


class Edges(NamedTuple):
    """Edges of sampled rows, [E]: the row's place in the sample, both ends, cosines."""

    place: np.ndarray
    rows: np.ndarray
    others: np.ndarray
    similarity: np.ndarray


def draw(num_rows: int, seed: int) -> np.ndarray:
    """Draws the sample: row numbers, ascending."""
    size = min(SAMPLE_ROWS, num_rows)
    return np.sort(np.random.default_rng(seed).choice(num_rows, size, replace=False))


def exact_edges(
    rows: Any, sample: np.ndarray, others: int, threshold: float | None
) -> Edges:
    """Finds the others that each sampled row has an edge to, reading all rows once."""
    queries = cells.read(rows, sample)
    best = lists.empty(len(sample), others + 1)
    for start in range(0, rows.shape[0], cells.CHUNK_ROWS):
        chunk = cells.read(rows, slice(start, start + cells.CHUNK_ROWS))
        for first in range(0, len(chunk), _SCANNED_ROWS):
            cosine = queries @ chunk[first : first + _SCANNED_ROWS].T
            found = np.flatnonzero(cosine > best.similarity[:, -1:])
            row, column = np.divmod(found.astype(np.int32), cosine.shape[1])
            column += np.int32(start + first)
            lists.merge_range(best, lists.Found(row, column, cosine.ravel()[found]))
    # The row itself, or where copies of it hide it the last one, leaves the list.
    itself = best.indices == sample[:, None]
    itself[~itself.any(axis=1), -1] = True
    counts = ~itself & (best.indices >= 0)
    if threshold is not None:
        counts &= best.similarity > threshold
    place, column = np.nonzero(counts)
    ends = best.indices[place, column], best.similarity[place, column]
    return Edges(place, sample[place], *ends)


def estimate(edges: Edges, hits: np.ndarray) -> tuple[float, float]:
    """Estimates the share of the edges found, [E] bool, and its lower bound.

    The edges of one row are found or missed together, so the rows are the sample:
    r = Σ hits / Σ edges, with the variance of a ratio estimator. Without a miss the
    bound is that of no miss in as many rows, 1 − 3/n.
    """
    if not len(hits):
        return 1.0, 1.0
    wanted = np.bincount(edges.place)
    found = np.bincount(edges.place, weights=hits)
    recall = float(found.sum() / len(hits))
    if recall == 1.0:
        return 1.0, 1.0 - 3.0 / np.count_nonzero(wanted)
    deviation = np.sqrt(np.sum((found - recall * wanted) ** 2)) / len(hits)
    return recall, float(recall - _QUANTILE * deviation)


def measure(
    rows: Any,
    found: Neighbors,
    *,
    factory: str,
    target: float,
    threshold: float | None,
    seed: int,
) -> Calibration | None:
    """Measures the candidates [N, C] that something else, `factory`, found.

    Their similarity is not read. Rows, target, threshold and seed are those of
    `approximate_neighbors`; without a threshold as many edges of a row count as the
    fullest list holds. Gives None where no row has a candidate besides itself.
    """
    sample = draw(rows.shape[0], seed)
    indices = np.asarray(found.indices)[sample]
    is_other = (indices >= 0) & (indices != sample[:, None])
    others = int(is_other.sum(axis=1).max())
    if not others:
        return None
    wanted = exact_edges(rows, sample, others, threshold)
    hits = np.any(indices[wanted.place] == wanted.others[:, None], axis=1)
    # Of rows that tie, such as copies, one is as good as another.
    last = np.where(is_other, np.arange(indices.shape[1]), -1).max(axis=1)
    ends = np.where(last < 0, sample, indices[np.arange(len(sample)), last])
    numbers, places = np.unique(ends, return_inverse=True)
    nearest = cells.read(rows, numbers)[places]
    cosine = np.einsum("nd,nd->n", cells.read(rows, sample), nearest)
    is_full = is_other.sum(axis=1) == others
    cosine = np.where(is_full, cosine, np.nan)
    hits |= cosine[wanted.place] >= wanted.similarity - TIE
    share, bound = estimate(wanted, hits)
    size = len(wanted.rows), len(sample)
    return Calibration(factory, "", share, bound, target, *size, 0.0)
