"""What the baselines share: the candidates as a SciPy matrix, and scores of pairs."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

import gfa_jax as gfa
from gfa_jax import metrics
from gfa_jax.metrics.scored_pairs import ScoredPairs


class PairScores(NamedTuple):
    """What a re-ranker knows of every pair: s_ij = w F_i · F_j + b_ij."""

    features: np.ndarray  # [N, D] floating unit rows F
    added: sp.csr_array  # [N, N] sparse b, strictly upper triangular
    # W > 0, so that pairs which the re-ranker has never seen keep an order.
    weight: float

    def __call__(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Scores pairs of different rows, [M] and [M] row numbers, as [M] floats."""
        first, second = np.minimum(rows, columns), np.maximum(rows, columns)
        products = metrics.pair_scores(self.features, np.stack([first, second], axis=1))
        return self.weight * products + np.asarray(self.added[first, second]).ravel()

    def listed(self) -> ScoredPairs:
        """Returns the pairs with b_ij ≠ 0, as `rescore_pairs` takes them."""
        pairs = self.added.tocoo()
        rows = np.stack([pairs.row, pairs.col], axis=1).astype(np.int32)
        return ScoredPairs(pairs.data.astype(np.float64), rows)


def candidate_matrix(neighbors: gfa.Neighbors, values: Any = 1.0) -> sp.csr_array:
    """Turns the candidates into an [N, N] CSR matrix with a value for each.

    Slots that are empty or of value 0 are not stored.
    """
    indices = np.asarray(neighbors.indices)
    values = np.broadcast_to(np.asarray(values), indices.shape)
    stored = (indices >= 0) & (values != 0)
    pointers = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    shape = (len(indices), len(indices))
    return sp.csr_array((values[stored], indices[stored], pointers), shape=shape)


def weighted_mean(features: np.ndarray, weights: sp.csr_array) -> np.ndarray:
    """Replaces each row by the mean of its neighbours, F_i ← normalise(Σ_j w_ij F_j).

    A row whose sum vanishes stays as it is.
    """
    sums = weights.astype(features.dtype) @ features
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    safe = np.where(lengths > 0, lengths, 1)
    return np.where(lengths > 0, sums / safe, features)


def first_columns(neighbors: gfa.Neighbors, k: int) -> gfa.Neighbors:
    """Takes the nearest k of wider candidates.

    Raises:
        ValueError: fewer than k are there.
    """
    width = neighbors.indices.shape[1]
    if not 1 <= k <= width:
        raise ValueError(f"k is {k}; expected 1 to {width}, the candidates at hand")
    return gfa.Neighbors(*(np.asarray(column)[:, :k] for column in neighbors))


def strictly_upper(scores: sp.csr_array) -> sp.csr_array:
    """Makes each pair of a symmetric matrix >= 0 one entry i < j.

    Where an entry was dropped in one direction, the other one stands.
    """
    return sp.csr_array(sp.triu(scores.maximum(scores.T), k=1))
