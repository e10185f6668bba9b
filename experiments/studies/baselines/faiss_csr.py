"""The paper as a competent user writes it: FAISS for the candidates, SciPy for the sum.

    A_ij = F_i · F_j,  M = [A > t] on the candidates,  F ← F + γ (D⁻¹ M F − F)

then to unit length, with A and M anew at each update (§3.1), T times.
"""

import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import peers
from experiments.studies.baselines.graph import first_columns


def faiss_search(features: np.ndarray, *, k: int) -> gfa.Neighbors:
    """Finds the k nearest rows by FAISS's flat inner-product search.

    Args:
        features: [N, D] floating unit rows.
        k: neighbours, the row itself counted.

    Returns:
        Neighbors [N, k].
    """
    similarity, indices = peers.faiss_flat(np.asarray(features, np.float32), k)
    return gfa.Neighbors(indices, similarity)  # pyright: ignore[reportArgumentType]


def csr_aggregate(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k: int,
    gamma: float,
    threshold: float,
    num_steps: int,
) -> np.ndarray:
    """Makes T rescored updates with uniform weights.

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, >= k] candidates, the row itself first, no slot empty.
        k: candidates to use, the row itself counted.
        gamma: step γ.
        threshold: cosine t < 1, so that a row is always its own neighbour.
        num_steps: T >= 0.

    Returns:
        [N, D] unit rows.

    Cost: O(T N k D) time; memory: two [N, D] arrays, the [N, k] graph and a
    [4096, k, D] block.
    """
    indices = np.asarray(first_columns(neighbors, k).indices)
    for _ in range(num_steps):
        features = peers.scipy_update(
            features, indices, gamma=gamma, threshold=threshold
        )
    return features
