"""Eq. 5 on the candidates, and the masks and weights that turn cosines into edges.

A_ij = F_i · F_j is evaluated only for j among the K candidates of row i. An edge
survives by [A_ij > t] (the Iverson bracket of Eq. 6), or softly by
σ((A_ij − t) / τ), which tends to the bracket as τ → 0 and has a gradient in t. A
surviving edge counts fully ("uniform", Eq. 6 as printed) or by
max(A_ij, 0)^exponent ("affinity"). A further mask is a function of cosines and
parameters, its name in `types.Mask` and its line in `_MASKS`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfa_jax import numerics
from gfa_jax.blocks import Pool, gather_rows, map_neighborhoods
from gfa_jax.types import DEFAULT, Mask, Options, Params


class Edges(NamedTuple):
    """Edges that all steps keep; an edge that does not count weighs 0."""

    weight: jax.Array  # [N, K] floating w_ij
    degree: jax.Array  # [N] floating number of those that survived the mask


def affinity(feature: jax.Array, neighborhood: jax.Array) -> jax.Array:
    """Evaluates Eq. 5, A_ij = F_i · F_j: [..., D], [..., K, D] -> [..., K] cosines."""
    return numerics.dot("...d,...kd->...k", feature, neighborhood)


def hard_mask(similarity: jax.Array, params: Params) -> jax.Array:
    """Evaluates the Iverson bracket [A > t] of Eq. 6, 0 or 1; its gradient is zero."""
    return (similarity > params.threshold).astype(similarity.dtype)


def soft_mask(similarity: jax.Array, params: Params) -> jax.Array:
    """Evaluates σ((A − t) / τ), a bracket with a slope."""
    return jax.nn.sigmoid((similarity - params.threshold) / params.temperature)


_MASKS: Mapping[Mask, Callable[[jax.Array, Params], jax.Array]] = {
    "hard": hard_mask,
    "soft": soft_mask,
}


def affinity_power(similarity: jax.Array, exponent: jax.Array | float) -> jax.Array:
    """Evaluates max(A, 0)^exponent with finite gradients also at A <= 0."""
    positive = similarity > 0
    return jnp.where(positive, jnp.where(positive, similarity, 1) ** exponent, 0)


def edge_weights(
    similarity: jax.Array,
    params: Params,
    *,
    counted: jax.Array,
    options: Options = DEFAULT,
) -> tuple[jax.Array, jax.Array]:
    """Turns cosines [..., K] into edges: the bracket of Eq. 6 and the weight of each.

    Gives how far each candidate survives, in [0, 1], and its weight w_ij in the mean,
    both 0 where a slot is not counted.
    """
    survives = jnp.where(counted, _MASKS[options.mask](similarity, params), 0)
    if options.weighting == "uniform":
        return survives, survives
    return survives, survives * affinity_power(similarity, params.exponent)


def is_counted(
    candidates: jax.Array, places: jax.Array, row: jax.Array, *, options: Options
) -> jax.Array:
    """Tells which candidates count: those in the pool, and the row itself or not."""
    counted = places >= 0
    return counted if options.include_self else counted & (candidates != row)


def score(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    pool: Pool | None = None,
    first_row: jax.Array | int = 0,
    options: Options = DEFAULT,
) -> Edges:
    """Scores all candidates (Eq. 5 and the bracket of Eq. 6).

    Arguments and memory as for `aggregation.update`; a candidate that does not lie in
    the pool weighs 0. Cost: 2 n K D operations and, in float32, 12 n K D bytes, for
    candidates gathered, written and read once.
    """
    pool = Pool(features) if pool is None else pool
    places = pool.places(indices)

    def score_row(_, feature, places):
        return affinity(feature, gather_rows(pool.features, places))

    # Only cosines are taken in blocks: a gradient in the parameters gathers nothing.
    similarity = map_neighborhoods(
        score_row, features, places, block_size=options.block_size
    )
    rows = jnp.arange(len(features), dtype=indices.dtype)[:, None] + first_row
    counted = is_counted(indices, places, rows, options=options)
    survives, weight = edge_weights(
        similarity, params, counted=counted, options=options
    )
    return Edges(weight, jnp.sum(survives, axis=-1))


def given_edges(weights: Any, indices: Any) -> Edges:
    """Counts the candidates of weights that were given."""
    counts = (weights != 0) & (indices >= 0)
    return Edges(weights, counts.sum(axis=1).astype(weights.dtype))
