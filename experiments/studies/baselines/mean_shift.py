"""Flat-kernel mean shift on the sphere, not blurring: points move, the data stay.

    y_i ← normalise(Σ_j F_j),  over j ∈ KNN_i with y_i · F_j > t,  from y_i = F_i

The kernel is cut to the K candidates of the start. (Blurring mean shift, where the data
move too, is the paper's own update with γ = 1.) Source: Comaniciu and Meer, TPAMI 2002,
Eq. 20 with the flat kernel; on the sphere, Kobayashi and Otsu, ICPR 2010.
"""

import numpy as np

import gfa_jax as gfa
from experiments.studies.baselines.graph import first_columns

_BLOCK = 256  # rows whose candidates stay in cache


def mean_shift(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k: int,
    threshold: float,
    num_steps: int,
) -> np.ndarray:
    """Moves each row to the mean of the data near it, T times.

    The kernel ends at the cosine t; a point with no data within it stays. O(T N k D)
    time; memory: [N, D] and one [256, k, D] block.
    """
    indices = first_columns(neighbors, k).indices
    moved = features.copy()
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        data, valid = features[indices[rows]], indices[rows] >= 0
        points = moved[rows]
        for _ in range(num_steps):
            cosines = np.einsum("nd,nkd->nk", points, data)
            inside = (valid & (cosines > threshold)).astype(features.dtype)
            sums = np.einsum("nk,nkd->nd", inside, data)
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            points = np.where(
                lengths > 0, sums / np.where(lengths > 0, lengths, 1), points
            )
        moved[rows] = points
    return moved
