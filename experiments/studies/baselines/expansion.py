"""Query expansion and database-side augmentation: one weighted mean of neighbours.

Every row is a query and a database entry at once, F_i ← normalise(Σ_r w_ir F_n(i,r))
over its K nearest n(i,1) … n(i,K), of which it is the first:

    average        w_ir = 1                        Chum et al., Total Recall, ICCV 2007
    alpha          w_ir = max(F_i · F_n, 0)^α      Radenović et al., TPAMI 2019
    augmentation   w_ir = (K − r + 1) / K          Gordo et al., IJCV 2017
"""

import numpy as np

import gfa_jax as gfa
from experiments.studies.baselines.graph import (
    candidate_matrix,
    first_columns,
    weighted_mean,
)


def average_query_expansion(
    features: np.ndarray, neighbors: gfa.Neighbors, *, k: int
) -> np.ndarray:
    """Averages each row with its k neighbours, itself among them, all alike.

    O(N k D) time; memory: [N, D] and the [N, k] graph.
    """
    return weighted_mean(features, candidate_matrix(first_columns(neighbors, k)))


def alpha_query_expansion(
    features: np.ndarray, neighbors: gfa.Neighbors, *, k: int, alpha: float
) -> np.ndarray:
    """Averages each row with its neighbours, weighted by a power of the cosine."""
    near = first_columns(neighbors, k)
    # An empty slot has cosine -inf, which the clipping takes to weight 0.
    weights = np.maximum(near.similarity, 0.0) ** alpha
    return weighted_mean(features, candidate_matrix(near, weights))


def database_augmentation(
    features: np.ndarray, neighbors: gfa.Neighbors, *, k: int
) -> np.ndarray:
    """Averages each row with its neighbours, weighted by their rank."""
    weights = (k - np.arange(k)) / k
    return weighted_mean(
        features, candidate_matrix(first_columns(neighbors, k), weights)
    )
