"""Weighted means of neighbours by four later papers, on the shared candidates.

    propagation     X ← normalise(D_r^(−1/2) S D_c^(−1/2) X), T times, with
                    S_ij = exp(x_i · x_j / β) for j among the K nearest of i, D_r and
                    D_c its sums by row and by column
    SuperGlobal     normalise(F_i + β Σ_j A_ij F_j), j over the K nearest but i itself
    half whitening  normalise(Σ_j max(a_ij, 0)^α F_j), j over the K nearest by a_ij, the
                    cosine after each principal axis is divided by the fourth root of
                    its variance
    recognisable    normalise(Σ_j e_j max(A_ij, 0)^α F_j), e_j = min(1 − F_j · u, 1),
                    with u the centre of the unrecognisable cluster

Sources, in this order: Zhang et al., Graph Convolution for Re-ranking in Person
Re-identification, ICASSP 2022; Shao et al., Global Features are All You Need for Image
Retrieval and Reranking, ICCV 2023; Jégou and Chum, Negative Evidences and Co-occurences
in Image Retrieval, ECCV 2012, for whitening, half of it as in `gfa_jax.selection`; Deng
et al., Harnessing Unrecognizable Faces for Improving Face Recognition, WACV 2023.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

import gfa_jax as gfa
from experiments.studies.baselines.graph import (
    candidate_matrix,
    first_columns,
    weighted_mean,
)
from gfa_jax import metrics
from gfa_jax.selection.metric import pool_views


def propagation(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k: int,
    beta: float,
    num_steps: int,
) -> np.ndarray:
    """Propagates features over the graph of K nearest, its weights anew each step.

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, >= k] candidates, the row itself first, no slot empty.
        k: neighbours, the row itself counted.
        beta: temperature β > 0 of the weights.
        num_steps: T >= 1.

    Returns:
        [N, D] unit rows. Cost: O(T N k D).
    """
    near = first_columns(neighbors, k)
    for _ in range(num_steps):
        # A constant factor of S cancels: this one keeps it from overflowing.
        graph = candidate_matrix(near, np.exp((_cosines(features, near) - 1) / beta))
        rows, columns = (sp.diags_array(graph.sum(axis=n) ** -0.5) for n in (1, 0))
        features = weighted_mean(features, sp.csr_array(rows @ graph @ columns))
    return features


def super_global(
    features: np.ndarray, neighbors: gfa.Neighbors, *, k: int, beta: float
) -> np.ndarray:
    """Refines descriptors as the reranking stage does those of the database.

    The maximum over the query's neighbours that stands beside it is left out: every row
    is query and database here, and a score has no sides. Other arguments and the
    result are as of `propagation`; β >= 0 is the weight of the neighbours.
    """
    near = first_columns(neighbors, k)
    weights = beta * np.maximum(near.similarity, 0.0)
    weights[:, 0] = 1.0
    return weighted_mean(features, candidate_matrix(near, weights))


def half_whitened_expansion(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k: int,
    alpha: float,
    whitened: bool,
) -> np.ndarray:
    """Expands by the neighbours after half a whitening of the pool.

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, >= k] candidates by the plain cosine, no slot empty.
        k: how many are kept by the cosine of the whitened rows.
        alpha: exponent of that cosine, >= 0.
        whitened: whether the whitened rows are averaged instead of the features.

    Returns:
        [N, D] unit rows. Cost: O(N C D + D³) for C candidates.
    """
    views = np.asarray(pool_views(features))
    cosines = _cosines(views, neighbors)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    near = gfa.Neighbors(
        *(
            np.take_along_axis(np.asarray(c), order, 1)
            for c in (neighbors.indices, cosines)
        )
    )
    weights = np.maximum(near.similarity, 0.0) ** alpha
    return weighted_mean(
        views if whitened else features, candidate_matrix(near, weights)
    )


def recognizable_expansion(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k: int,
    alpha: float,
    threshold: float,
) -> np.ndarray:
    """Expands with weights by the distance from the unrecognisable cluster.

    That cluster is taken to be the largest component of pairs above a threshold, since
    rows without a person are alike and many (the paper finds it in a set of its own).

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, >= k] candidates, the row itself first.
        k: neighbours, the row itself counted, of the expansion; all for the components.
        alpha: exponent of the cosine, >= 0.
        threshold: cosine that joins two rows.

    Returns:
        [N, D] unit rows. Cost: O(N C + N k D) for C candidates.
    """
    joined = candidate_matrix(neighbors, np.asarray(neighbors.similarity) > threshold)
    parts = connected_components(joined, directed=False)[1]
    center = features[parts == np.argmax(np.bincount(parts))].mean(axis=0)
    center /= max(float(np.linalg.norm(center)), 1e-12)
    scores = np.minimum(1.0 - features @ center, 1.0)
    near = first_columns(neighbors, k)
    weights = scores[near.indices] * np.maximum(near.similarity, 0.0) ** alpha
    return weighted_mean(features, candidate_matrix(near, weights))


def _cosines(features: np.ndarray, neighbors: gfa.Neighbors) -> np.ndarray:
    """Multiplies each row with its candidates: [N, K]."""
    indices = np.asarray(neighbors.indices)
    rows = np.repeat(np.arange(len(indices)), indices.shape[1])
    pairs = np.stack([rows, indices.ravel()], axis=1)
    return metrics.pair_scores(features, pairs).reshape(indices.shape)
