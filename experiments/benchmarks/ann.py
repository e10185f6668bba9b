"""FAISS's own approximate indexes at the setting of equal recall.

The peers of `approximate_neighbors`: an inverted file and a graph (HNSW), each with the
least search effort that finds 99 % of the edges above the threshold on a sample of
rows. Building the index and searching are timed; finding the effort is not, which
favours them: ours measures its own.
"""

from typing import NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax.neighbors.faiss import build_index, import_faiss, set_search
from gfa_jax.types import Array

# Each step searches half as much again.
_STEP = 1.5
_SAMPLE = 1000


class Sample(NamedTuple):
    """Some rows and their exact neighbours."""

    rows: np.ndarray  # [S] their numbers
    indices: np.ndarray  # [S, K] neighbours, the row itself as a rule among them
    similarity: np.ndarray  # [S, K] cosines


class Index(NamedTuple):
    """An index, and how hard it searches."""

    factory: str  # FAISS factory string
    parameter: str  # name of the effort


def inverted_file(num_rows: int) -> Index:
    """Names FAISS's inverted file, with the 4 √N cells that its guide advises."""
    return Index(f"IVF{round(4 * num_rows**0.5)},Flat", "nprobe")


def graph(num_rows: int) -> Index:
    """Names FAISS's graph of 32 links a row."""
    del num_rows
    return Index("HNSW32", "efSearch")


def search(features: np.ndarray, index: Index, effort: int, *, k: int) -> gfa.Neighbors:
    """Builds the index and searches it, as `faiss_neighbors`."""
    return gfa.faiss_neighbors(
        features, k=k, factory=index.factory, search=f"{index.parameter}={effort}"
    )


def exact_sample(features: np.ndarray, k: int) -> Sample:
    """Searches evenly spaced rows exactly, by FAISS; k counts the row itself."""
    num_rows = len(features)
    rows = np.linspace(0, num_rows - 1, min(_SAMPLE, num_rows)).astype(int)
    similarity, indices = import_faiss().knn(
        features[rows], features, k, metric=import_faiss().METRIC_INNER_PRODUCT
    )
    return Sample(rows, indices, similarity)


def effort(
    features: np.ndarray,
    exact: Sample,
    index: Index,
    *,
    threshold: float,
    target: float = 0.99,
) -> int:
    """Finds the least effort that finds the target share of the edges of a sample.

    An edge exceeds the threshold. N, the largest tried, if nothing less will do.
    """
    faiss, num_rows = import_faiss(), len(features)
    filled = build_index(faiss, features, index.factory, "")
    width = exact.indices.shape[1] + 1
    tried = 1
    while tried < num_rows:
        set_search(faiss, filled, f"{index.parameter}={tried}")
        found = filled.search(features[exact.rows], width)[1]
        if recall(found, exact, threshold=threshold) >= target:
            return tried
        tried = int(np.ceil(tried * _STEP))
    return num_rows


def recall(found: Array, exact: Sample, *, threshold: float = -np.inf) -> float:
    """Measures the share of the sample's exact neighbours among those found, [S, M].

    Those that exceed the threshold count, and not the row itself; 1 where none counts.
    """
    counts = (exact.indices != exact.rows[:, None]) & (exact.similarity > threshold)
    hits = np.zeros(counts.shape, bool)
    for column in np.asarray(found).T:
        hits |= exact.indices == column[:, None]
    return float(hits[counts].mean()) if counts.any() else 1.0
