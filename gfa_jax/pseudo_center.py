"""Eq. 6 as a matrix one can step towards: C = D⁻¹ W F.

The paper prints the n × n indicator [A_ij > t][j ∈ KNN_i], while Eq. 2 needs an
n × d matrix. Read as the mean of the surviving neighbours, D⁻¹ normalises each row
of the weights W, and a row with no neighbour keeps its feature: C_i = F_i.

The mean is taken in two halves, sums and their quotient, because the sums of parts
of a neighbourhood add up to the sums of the whole: the parts may lie on different
devices.
"""

import functools
import operator

import jax
import jax.numpy as jnp

from gfa_jax import numerics
from gfa_jax.blocks import gather_rows

# Rows that are added in one sum. A longer one compiles slowly.
_MOST_TERMS = 64


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
    return mean_of_sums(*weighted_sums(neighborhood, weight), otherwise=otherwise)


def weighted_sums(
    neighborhood: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Adds up the neighbours, or a part of them: Σ_j w_ij F_j and Σ_j w_ij.

    Args:
        neighborhood: [..., K, D] floating rows F_j.
        weight: [..., K] floating weights w_ij >= 0.

    Returns:
        [..., D] weighted sum of the rows; [..., 1] sum of the weights.
    """
    total = jnp.sum(weight, axis=-1, keepdims=True)
    return numerics.dot("...k,...kd->...d", weight, neighborhood), total


@jax.custom_jvp
def neighbor_sum(pool: jax.Array, weight: jax.Array, places: jax.Array) -> jax.Array:
    """Evaluates the first of `weighted_sums`, Σ_j w_ij F_j, where the F_j lie.

    XLA makes of a sum of K gathered rows one loop over the result, which writes no
    [block, K, D]: the sums of 10,000 rows take 1.6 ms so and 5.2 ms through gathered
    blocks that stay in cache (2 CPU cores, K = 15, D = 128). A derivative needs the
    neighbourhood more than once, and gathers it.

    Args:
        pool: [M, D] floating rows.
        weight: [K] floating weights of one row's candidates; 0 in an empty slot.
        places: [K] int32 their rows in the pool; an empty slot, -1, takes any row.

    Returns:
        [D] weighted sum.
    """
    if len(places) > _MOST_TERMS:
        return _gathered_sum(pool, weight, places)
    terms = (weight[k] * gather_rows(pool, places[k]) for k in range(len(places)))
    return functools.reduce(operator.add, terms)


def _gathered_sum(pool, weight, places):
    return weighted_sums(gather_rows(pool, places), weight)[0]


@neighbor_sum.defjvp
def _differentiate_sum(primals, tangents):
    pool, weight, places = primals
    return jax.jvp(
        lambda pool, weight: _gathered_sum(pool, weight, places),
        (pool, weight),
        tangents[:2],
    )


def mean_of_sums(
    weighted_sum: jax.Array, total: jax.Array, *, otherwise: jax.Array
) -> jax.Array:
    """Divides the sums of a whole neighbourhood: C*_i of Eq. 6.

    Args:
        weighted_sum: [..., D] floating Σ_j w_ij F_j.
        total: [..., 1] floating Σ_j w_ij.
        otherwise: [..., D] floating, the center of a row without any weight.

    Returns:
        [..., D] pseudo-center.
    """
    return numerics.safe_divide(weighted_sum, total, otherwise=otherwise)
