"""Sums over kept neighbours whose gradient is a sum too: faster tuning of fixed edges.

With j = indices[i, k], the k-th candidate of row i among the rows P:

    neighbor_sums              S_i = Σ_k w_ik P_j           (Eq. 6 before its quotient)
    transposed_neighbor_sums   Q_j = Σ_(i,k) w_ik R_i       over the slots that list j

The second is the derivative of the first in P, for R the cotangent. JAX by itself
transposes the gather into a scatter, which on a CPU is slow. For the sum every row has
to know who lists it: `ReverseNeighbors`. Forward mode does not go through.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from gfa_jax.affinity import affinity
from gfa_jax.blocks import gather_rows, map_neighborhoods
from gfa_jax.checks import row_numbers
from gfa_jax.pseudo_center import sum_in_place
from gfa_jax.types import Array

__all__ = ["ReverseNeighbors", "reverse_neighbors"]

# Listing slots that are added at once; a row that more list has several such sums.
_WIDTH = 8
# Such sums at a time.
_BLOCK_ROWS = 4096


class ReverseNeighbors(NamedTuple):
    """Who lists each row: the transpose of the candidates, V = N + ⌊N K / 8⌋ parts."""

    slots: jax.Array  # [V, 8] int32 numbers i K + k that list one row; N K for none
    rows: jax.Array  # [V] int32 the row that they list, ascending; N for none


def reverse_neighbors(indices: Array) -> ReverseNeighbors:
    """Finds the slots that list each row, by one sort of N K numbers.

    Args:
        indices: [N, K] candidates.

    Returns:
        ReverseNeighbors, for `aggregate(..., reverse=)`.

    Raises:
        ValueError: 2³¹ slots or more; no integers; where not traced, outside [-1, N).
    """
    return _reverse(row_numbers(indices, len(indices), name="indices", distinct=False))


@jax.jit
def _reverse(indices: jax.Array) -> ReverseNeighbors:
    num_rows, num_slots = len(indices), indices.size
    if num_slots >= 2**31:
        raise ValueError(
            f"indices {indices.shape} have {num_slots:,} slots; expected fewer than "
            "2³¹, which int32 can number: leave reverse out"
        )
    listed = jnp.asarray(indices, jnp.int32).reshape(-1)
    listed = jnp.where(listed >= 0, listed, num_rows)
    order = jnp.argsort(listed).astype(jnp.int32)
    first = jnp.searchsorted(listed[order], jnp.arange(num_rows + 1, dtype=jnp.int32))
    parts = -(-jnp.diff(first) // _WIDTH)
    last_part = jnp.cumsum(parts)
    part = jnp.arange(num_rows + num_slots // _WIDTH)
    rows = jnp.searchsorted(last_part, part, side="right")
    # A part that is left over has no row, and so no slot.
    known = jnp.minimum(rows, num_rows - 1)
    start = first[known] + _WIDTH * (part - (last_part - parts)[known])
    place = start[:, None] + jnp.arange(_WIDTH)[None]
    is_slot = (rows < num_rows)[:, None] & (place < first[known + 1][:, None])
    slots = jnp.where(is_slot, order[jnp.minimum(place, num_slots - 1)], num_slots)
    return ReverseNeighbors(slots.astype(jnp.int32), rows.astype(jnp.int32))


def check_reverse(reverse: ReverseNeighbors, indices: Array, *, is_kept: bool) -> None:
    """Refuses a transpose of other candidates, or where weights are not kept."""
    if not is_kept:
        raise ValueError(
            "got reverse with graph='rescore'; expected graph='fixed', weights, or no "
            "reverse"
        )
    # The edges themselves may be traced.
    known = jax.eval_shape(_reverse, indices).slots.shape
    is_same = reverse.slots.shape == known
    if is_same and not any(isinstance(x, Tracer) for x in (indices, *reverse)):
        slots, rows = map(np.asarray, reverse)
        listed, is_slot = np.asarray(indices).ravel(), slots < indices.size
        is_same = np.count_nonzero(is_slot) == np.count_nonzero(listed >= 0)
        rows = np.broadcast_to(rows[:, None], slots.shape)[is_slot]
        is_same = is_same and np.array_equal(listed[slots[is_slot]], rows)
    if not is_same:
        raise ValueError(
            f"reverse, with slots of shape {reverse.slots.shape}, lists other "
            f"candidates; expected shape {known}: take reverse_neighbors of these very "
            "indices"
        )


@jax.custom_vjp
def neighbor_sums(
    weight: jax.Array, rows: jax.Array, indices: jax.Array, reverse: ReverseNeighbors
) -> jax.Array:
    """Evaluates S_i = Σ_k w_ik P_j, [N, D], with weights of 0 in empty slots.

    Cost: N K D multiply-adds; a gradient as much for each operand.
    """
    del reverse
    return jax.vmap(functools.partial(sum_in_place, rows))(weight, indices)


def _keep(*operands):
    return neighbor_sums(*operands), operands


def _transpose(kept, cotangent):
    weight, rows, indices, reverse = kept

    def of_row(_, row, candidates):
        return affinity(row, gather_rows(rows, candidates))

    to_weight = map_neighborhoods(of_row, cotangent, indices)
    to_rows = transposed_neighbor_sums(weight, cotangent, reverse)
    return to_weight, to_rows, None, None


neighbor_sums.defvjp(_keep, _transpose)


def transposed_neighbor_sums(
    weight: jax.Array, rows: jax.Array, reverse: ReverseNeighbors
) -> jax.Array:
    """Evaluates Q_j = Σ w_ik R_i, [N, D], over the slots (i, k) that list row j.

    Cost: N K D + N D multiply-adds, one [4096, D] block in memory beside the result.
    """
    num_slots, (num_rows, k) = weight.size, weight.shape
    weight = jnp.concatenate([weight.reshape(-1), jnp.zeros(1, weight.dtype)])
    padding = -len(reverse.slots) % _BLOCK_ROWS
    slots = jnp.pad(reverse.slots, ((0, padding), (0, 0)), constant_values=num_slots)
    listed = jnp.pad(reverse.rows, (0, padding), constant_values=num_rows)

    def add_block(total, block):
        slots, listed = block
        sums = jax.vmap(functools.partial(sum_in_place, rows))(
            weight[slots], slots // k
        )
        return total.at[listed].add(sums, mode="drop", indices_are_sorted=True), None

    blocks = slots.reshape(-1, _BLOCK_ROWS, _WIDTH), listed.reshape(-1, _BLOCK_ROWS)
    return lax.scan(add_block, jnp.zeros_like(rows), blocks)[0]
