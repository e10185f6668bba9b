"""Eq. 6 as a matrix one can step towards: C = D⁻¹ W F.

The paper prints the n × n indicator [A_ij > t][j ∈ KNN_i], while Eq. 2 needs an
n × d matrix. Read as the mean of the surviving neighbours, D⁻¹ normalises each row
of the weights W, and a row with no neighbour keeps its feature: C_i = F_i.
"""

import jax
import jax.numpy as jnp

from gfa_jax import numerics


def pseudo_center(
    neighborhood: jax.Array, weight: jax.Array, *, otherwise: jax.Array
) -> jax.Array:
    """Averages the neighbours of one row: C*_i = Σ_j w_ij F_j / Σ_j w_ij.

    Args:
        neighborhood: [..., K, D] floating rows F_j.
        weight: [..., K] floating weights w_ij >= 0.
        otherwise: [..., D] floating, the center of a row without any weight.

    Returns:
        [..., D] pseudo-center (paper, section 3.2).
    """
    total = jnp.sum(weight, axis=-1, keepdims=True)
    weighted_sum = numerics.dot("...k,...kd->...d", weight, neighborhood)
    return numerics.safe_divide(weighted_sum, total, otherwise=otherwise)
