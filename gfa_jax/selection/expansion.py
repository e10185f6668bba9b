"""Query expansion in one line, the yardstick beside which the method is reported.

    F_i ← normalise(Σ_j max(A_ij, 0)^α F_j),   j over the K nearest, i itself among them

One update towards such a mean with γ = 1 is exactly this. Source: Radenović, Tolias and
Chum, Fine-tuning CNN image retrieval with no human annotation, TPAMI 2019.
"""

import jax
import numpy as np

from gfa_jax.aggregation import aggregate
from gfa_jax.types import Array, Neighbors, Params

EXPANSION_K = 10


def expansion_weights(
    neighbors: Neighbors, *, k: int = EXPANSION_K, exponent: float = 3.0
) -> tuple[Neighbors, np.ndarray]:
    """Weighs the K nearest of each row, itself counted, by a power of their cosine.

    Candidates are [N, >= K] by descending cosine, the row itself first; of fewer all
    count. Gives the first K and their weights, 0 in an empty slot.
    """
    near = Neighbors(*(np.asarray(column)[:, :k] for column in neighbors))
    weights = np.maximum(near.similarity, 0.0) ** exponent
    return near, np.where(near.indices < 0, 0, weights).astype(near.similarity.dtype)


def expand(
    features: Array,
    neighbors: Neighbors,
    *,
    k: int = EXPANSION_K,
    exponent: float = 3.0,
) -> jax.Array:
    """Replaces each unit row by the mean of its nearest, weighed as above: [N, D]."""
    near, weights = expansion_weights(neighbors, k=k, exponent=exponent)
    params = Params(1.0, 0.0)
    return aggregate(features, near, params, num_steps=1, weights=weights).features
