"""One update of some rows against a pool of features: Eq. 5, 6 and 2.

    S_i = Σ_j w_ij F_j,  s_i = Σ_j w_ij     over the candidates j in the pool
    F_i ← F_i + γ (S_i / s_i − F_i)

On one device the rows are the pool. On many, each updates its own rows, against all
the others' gathered or against one arriving part of them after another: `attract`
evaluates the sums, which add up over the parts, and `move` makes the step. Rows are
processed in blocks that gather K candidates a row, [block, K, D], small enough to
stay in cache, so neither an [N, N] nor an [N, K, D] array ever exists. Where the
weights are known, and no gradient is asked for, not even the block is written; where
many gradients are, neighbor_products.py has products that transpose faster.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfa_jax import numerics
from gfa_jax.affinity import Edges, Mask, Weighting, affinity, score_edges
from gfa_jax.blocks import gather_rows, map_rows
from gfa_jax.neighbor_products import ReverseNeighbors, candidate_sums
from gfa_jax.pseudo_center import mean_of_sums, neighbor_sum, weighted_sums
from gfa_jax.types import Params


class Pool(NamedTuple):
    """Rows that can be neighbours: all of them, or a run of consecutive ones.

    Attributes:
        features: [M, D] floating rows.
        first: [] integer number of the first of them among all N.
    """

    features: jax.Array
    first: jax.Array | int


class Attraction(NamedTuple):
    """What the neighbours in one pool add to each row; pools add up.

    Attributes:
        weighted_sum: [..., D] floating Σ_j w_ij F_j.
        total: [..., 1] floating Σ_j w_ij.
        degree: [...] floating number of neighbours that survived the mask.
    """

    weighted_sum: jax.Array
    total: jax.Array
    degree: jax.Array


def update(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    pool: jax.Array | None = None,
    first_row: jax.Array | int = 0,
    edges: Edges | None = None,
    reverse: ReverseNeighbors | None = None,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
    include_self: bool = True,
    renormalize: bool = True,
    block_size: int | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Makes one update of every row (Eq. 5, 6 and 2).

    Args:
        features: [n, D] float32 or float64 rows to update.
        indices: [n, K] int32 candidates, row numbers of the pool; -1 for an empty
            slot.
        params: see `aggregate`.
        pool: [N, D] all rows, where `features` are only some of them; `features`
            by default.
        first_row: [] integer number of the first of `features` in the pool.
        edges: [n, K] mask and weights to use as they are, or weights alone, which are
            masked by the pool; scored from the pool by default.
        reverse: who lists each row of the pool. Edges that are used as they are have
            faster gradients with it, in reverse mode only.
        mask: see `aggregate`.
        weighting: see `aggregate`.
        include_self: see `aggregate`.
        renormalize: see `aggregate`.
        block_size: see `aggregate`.

    Returns:
        features [n, D] after the update; ‖change‖² [n]; degree [n].

    Cost: O(n K D) time, one [n, D] output and one [block, K, D] block.
    """
    pool = features if pool is None else pool
    if reverse is not None and edges is not None and edges.mask is not None:
        survives, weight = _kept_edges(edges, indices)
        attraction = Attraction(
            candidate_sums(weight, pool, indices, reverse),
            jnp.sum(weight, axis=-1, keepdims=True),
            jnp.sum(survives, axis=-1),
        )
        return move(features, attraction, params, renormalize=renormalize)
    attract_row = _row_attraction(
        Pool(pool, 0),
        first_row,
        params,
        mask=mask,
        weighting=weighting,
        include_self=include_self,
    )

    def update_row(row, feature, candidates, edges):
        attraction = attract_row(row, feature, candidates, edges)
        return move(feature, attraction, params, renormalize=renormalize)

    return map_rows(
        update_row,
        (features, indices, edges),
        row_bytes=_row_bytes(features, indices),
        block_size=block_size,
    )


def attract(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    pool: Pool,
    first_row: jax.Array | int,
    edges: Edges | None,
    mask: Mask,
    weighting: Weighting,
    include_self: bool,
    block_size: int | None,
) -> Attraction:
    """Evaluates the sums of Eq. 6 over the candidates that lie in the pool.

    Args and cost as for `update`, with `pool` any run of the rows; candidates
    elsewhere add nothing.
    """
    return map_rows(
        _row_attraction(
            pool,
            first_row,
            params,
            mask=mask,
            weighting=weighting,
            include_self=include_self,
        ),
        (features, indices, edges),
        row_bytes=_row_bytes(features, indices),
        block_size=block_size,
    )


def score(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    pool: Pool | None = None,
    first_row: jax.Array | int = 0,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
    include_self: bool = True,
    block_size: int | None = None,
) -> Edges:
    """Scores the candidates of every row (Eq. 5 and the bracket of Eq. 6).

    Args and cost as for `attract`; the pool is `features` by default.

    Returns:
        Edges: mask [n, K] and weight [n, K], both 0 for a candidate that does not
        lie in the pool.
    """
    pool = Pool(features, 0) if pool is None else pool
    places = places_in(indices, pool)

    def score_row(_, feature, places):
        return affinity(feature, gather_rows(pool.features, places))

    # Only cosines are taken in blocks: a gradient in the parameters gathers nothing.
    cosine = map_rows(
        score_row,
        (features, places),
        row_bytes=_row_bytes(features, indices),
        block_size=block_size,
    )
    rows = jnp.arange(len(features), dtype=indices.dtype)[:, None] + first_row
    return score_edges(
        cosine,
        _counted(rows, indices, places, include_self=include_self),
        params,
        mask=mask,
        weighting=weighting,
    )


def move(
    feature: jax.Array, attraction: Attraction, params: Params, *, renormalize: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Steps towards the pseudo-center: F_i ← F_i + γ (C*_i − F_i) (Eq. 2).

    Args:
        feature: [..., D] floating F_i.
        attraction: the sums over all of its neighbours.
        params: gamma is read.
        renormalize: whether the row returns to unit length.

    Returns:
        [..., D] the row after the step; [...] ‖change‖²; [...] degree.
    """
    center = mean_of_sums(attraction.weighted_sum, attraction.total, otherwise=feature)
    updated = feature + params.gamma * (center - feature)
    if renormalize:
        updated = numerics.normalize(updated)
    moved = jnp.sum(jnp.square(updated - feature), axis=-1)
    return updated, moved, attraction.degree


def _row_attraction(
    pool, first_row, params, *, mask, weighting, include_self
) -> Callable:
    """Gives the function that evaluates the sums of one row in the pool."""

    def attract_row(row, feature, candidates, edges):
        places = places_in(candidates, pool)
        if edges is not None and edges.mask is not None:
            survives, weight = _kept_edges(edges, places)
            weighted_sum = neighbor_sum(pool.features, weight, places)
            return Attraction(
                weighted_sum, jnp.sum(weight, keepdims=True), jnp.sum(survives)
            )
        neighborhood = gather_rows(pool.features, places)
        survives, weight = score_edges(
            affinity(feature, neighborhood),
            _counted(row + first_row, candidates, places, include_self=include_self),
            params,
            mask=mask,
            weighting=weighting,
        )
        assert survives is not None  # scored just now
        if edges is not None:
            weight = survives * edges.weight
        return Attraction(*weighted_sums(neighborhood, weight), jnp.sum(survives))

    return attract_row


def places_in(candidates: jax.Array, pool: Pool) -> jax.Array:
    """Finds the candidates in the pool: [K] its rows, -1 for one that is not there."""
    places = candidates - pool.first
    return jnp.where((places >= 0) & (places < len(pool.features)), places, -1)


def _kept_edges(edges: Edges, places) -> tuple[jax.Array, jax.Array]:
    """Reads masks and weights that are used as they are; 0 outside of the pool."""
    assert edges.mask is not None  # the caller asks
    return jnp.where(places >= 0, edges.mask, 0), jnp.where(
        places >= 0, edges.weight, 0
    )


def _counted(row, candidates, places, *, include_self: bool) -> jax.Array:
    """Tells which candidates count: those in the pool, and the row itself or not."""
    counted = places >= 0
    return counted if include_self else counted & (candidates != row)


def _row_bytes(features: jax.Array, indices: jax.Array) -> int:
    """Counts the bytes of one row's neighbourhood, [K, D]."""
    return indices.shape[1] * features.shape[1] * features.dtype.itemsize
