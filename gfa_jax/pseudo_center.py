"""Eq. 6 as a matrix one can step towards: C = D⁻¹ W F.

The paper prints the n × n indicator [A_ij > t][j ∈ KNN_i], while Eq. 2 needs an
n × d matrix. Read as the mean of the surviving neighbours, D⁻¹ normalises each row
of the weights W, and a row with no neighbour keeps its feature: C_i = F_i. Sums and
quotient are apart because the sums of parts of the pool add up to those of the whole.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfa_jax import numerics
from gfa_jax.blocks import gather_rows

# Rows that are added in one sum. A longer one compiles slowly.
_MOST_TERMS = 64


class NeighborSums(NamedTuple):
    """The neighbours of a row, or a part of them, added up."""

    weighted_sum: jax.Array  # [..., D] floating Σ_j w_ij F_j
    total: jax.Array  # [..., 1] floating Σ_j w_ij
    degree: jax.Array | None = None  # [...] survivors; None where known beforehand


def pseudo_center(sums: NeighborSums, *, otherwise: jax.Array) -> jax.Array:
    """Averages the neighbours: C*_i = Σ_j w_ij F_j / Σ_j w_ij (paper, section 3.2).

    Takes the sums over the whole neighbourhood; a row without any weight gets
    `otherwise`.
    """
    return numerics.safe_divide(sums.weighted_sum, sums.total, otherwise=otherwise)


def sum_gathered(neighborhood: jax.Array, weight: jax.Array) -> jax.Array:
    """Evaluates Σ_j w_ij F_j of gathered rows: [..., K, D], [..., K] -> [..., D]."""
    return numerics.dot("...k,...kd->...d", weight, neighborhood)


@jax.custom_jvp
def sum_in_place(pool: jax.Array, weight: jax.Array, places: jax.Array) -> jax.Array:
    """Evaluates Σ_j w_ij F_j of a pool [M, D] where the F_j lie, of weights [K].

    XLA makes of a sum of K gathered rows one loop over the result, which writes no
    [block, K, D]. A derivative needs the neighbourhood more than once, and gathers it.
    In an empty slot the weight is 0, and the place, -1, takes any row.
    """
    if len(places) > _MOST_TERMS:
        return sum_gathered(gather_rows(pool, places), weight)
    terms = (weight[k] * gather_rows(pool, places[k]) for k in range(len(places)))
    return functools.reduce(operator.add, terms)


@sum_in_place.defjvp
def _differentiate_sum(primals, tangents):
    pool, weight, places = primals
    return jax.jvp(
        lambda pool, weight: sum_gathered(gather_rows(pool, places), weight),
        (pool, weight),
        tangents[:2],
    )


def total_weight(weight: jax.Array) -> jax.Array:
    """Evaluates Σ_j w_ij, [..., K] -> [..., 1]."""
    return jnp.sum(weight, axis=-1, keepdims=True)
