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
    """Edges that all steps keep.

    Attributes:
        weight: [N, K] floating w_ij, 0 for a candidate that does not count.
        degree: [N] floating number of neighbours that survived the mask.
    """

    weight: jax.Array
    degree: jax.Array


class EdgeWeights(NamedTuple):
    """The surviving candidates.

    Attributes:
        mask: [..., K] floating, how far each candidate survives, in [0, 1].
        weight: [..., K] floating w_ij, what it counts in the mean of Eq. 6, >= 0.
    """

    mask: jax.Array
    weight: jax.Array


def affinity(feature: jax.Array, neighborhood: jax.Array) -> jax.Array:
    """Evaluates Eq. 5, A_ij = F_i · F_j, for one row and its candidates.

    Args:
        feature: [..., D] floating row F_i.
        neighborhood: [..., K, D] floating rows F_j.

    Returns:
        [..., K] inner products: cosines where the rows have unit length.
    """
    return numerics.dot("...d,...kd->...k", feature, neighborhood)


def hard_mask(similarity: jax.Array, params: Params) -> jax.Array:
    """Evaluates the Iverson bracket [A > t] of Eq. 6, strictly as written.

    Args:
        similarity: [...] floating cosines.
        params: threshold is read.

    Returns:
        [...] 0 or 1 in the dtype of `similarity`. Its gradient is zero.
    """
    return (similarity > params.threshold).astype(similarity.dtype)


def soft_mask(similarity: jax.Array, params: Params) -> jax.Array:
    """Evaluates σ((A − t) / τ), a bracket with a slope.

    Args:
        similarity: [...] floating cosines.
        params: threshold, where the mask is one half, and temperature are read.

    Returns:
        [...] values in (0, 1).
    """
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
) -> EdgeWeights:
    """Turns cosines into edges: the bracket of Eq. 6 and the weight of each survivor.

    Args:
        similarity: [..., K] floating cosines of the candidates.
        params: threshold, temperature (soft) and exponent (affinity) are read.
        counted: [..., K] bool, False for a slot that must not count: an empty one,
            or the row itself where it is not its own neighbour.
        options: mask and weighting are read.

    Returns:
        The mask and the weight of every slot; both are 0 where not counted.
    """
    survives = jnp.where(counted, _MASKS[options.mask](similarity, params), 0)
    if options.weighting == "uniform":
        return EdgeWeights(survives, survives)
    weight = survives * affinity_power(similarity, params.exponent)
    return EdgeWeights(survives, weight)


def is_counted(
    candidates: jax.Array,
    places: jax.Array,
    row: jax.Array,
    *,
    options: Options,
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
    """Scores the candidates of every row (Eq. 5 and the bracket of Eq. 6).

    Args:
        features: [n, D] float32 or float64 rows.
        indices: [n, K] int32 candidates, numbers among all N; -1 for an empty slot.
        params: each [].
        pool: rows that can be neighbours; `features` by default.
        first_row: [] integer number of the first of `features` among all N.
        options: see `Options`.

    Returns:
        Edges, to which a candidate that does not lie in the pool adds 0.

    Cost: n K D multiply-adds; memory for one [block, K, D].
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
