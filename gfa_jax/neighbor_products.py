"""Products of rows with their candidates, each the reverse derivative of the others.

With j = indices[i, k], the k-th candidate of row i in a pool P:

    candidate_dots   A_ik = R_i · P_j
    candidate_sums   S_i  = Σ_k w_ik P_j           (Eq. 6 before its quotient)
    listing_sums     Q_j  = Σ_(i,k) w_ik R_i       over the slots that list row j

also known as SDDMM, SpMM and the transposed SpMM. They are bilinear, and the transpose
of each is another one. JAX by itself would transpose the gather of the second into a
scatter, which on a CPU is slow: 19 ms for the 150,000 rows of N = 10,000, K = 15,
D = 128, where `listing_sums` takes 1.7 (2 cores). For it, every row has to know who
lists it: `ReverseNeighbors`. The price is that forward mode does not go through them.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfa_jax.affinity import affinity
from gfa_jax.blocks import gather_rows, map_rows
from gfa_jax.pseudo_center import neighbor_sum
from gfa_jax.types import Array

# Listing slots that are added at once; a row that more list has several such sums.
_WIDTH = 8
# Such sums at a time.
_BLOCK_ROWS = 4096


class ReverseNeighbors(NamedTuple):
    """Who lists each row: the transpose of the candidates.

    Attributes:
        slots: [V, 8] int32 numbers i K + k of slots that list the same row; N K where
            there is none. V = M + ⌊N K / 8⌋.
        rows: [V] int32 the row of the pool that they list, ascending; M where nothing
            is left.
    """

    slots: jax.Array
    rows: jax.Array


@functools.partial(jax.jit, static_argnames="num_rows")
def reverse_neighbors(
    indices: Array, *, num_rows: int | None = None
) -> ReverseNeighbors:
    """Finds the slots that list each row.

    Args:
        indices: [N, K] integer rows of a pool; a negative one is an empty slot.
        num_rows: M, rows of the pool; N by default.

    Returns:
        ReverseNeighbors.

    Raises:
        ValueError: 2³¹ slots or more.

    Cost: N K numbers sorted. Memory: some arrays of N K integers.
    """
    num_slots = indices.size
    if num_slots >= 2**31:
        raise ValueError(
            f"indices {indices.shape} have {num_slots:,} slots; expected fewer than "
            "2³¹, which int32 can number: leave reverse out"
        )
    num_rows = len(indices) if num_rows is None else num_rows
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


@jax.custom_vjp
def candidate_dots(
    rows: jax.Array, pool: jax.Array, indices: jax.Array, reverse: ReverseNeighbors
) -> jax.Array:
    """Evaluates A_ik = R_i · P_j (Eq. 5).

    Args:
        rows: [N, D] floating rows R.
        pool: [M, D] floating rows P.
        indices: [N, K] int32 candidates, rows of the pool; -1 for an empty slot.
        reverse: of the same indices.

    Returns:
        [N, K] inner products; 0 in an empty slot.

    Cost: N K D multiply-adds, one [block, K, D] block in memory; a gradient as much for
    each operand.
    """
    del reverse

    def of_row(_, row, candidates):
        cosine = affinity(row, gather_rows(pool, candidates))
        return jnp.where(candidates >= 0, cosine, 0)

    row_bytes = indices.shape[1] * rows.shape[1] * rows.dtype.itemsize
    return map_rows(of_row, (rows, indices), row_bytes=row_bytes)


@jax.custom_vjp
def candidate_sums(
    weight: jax.Array, pool: jax.Array, indices: jax.Array, reverse: ReverseNeighbors
) -> jax.Array:
    """Evaluates S_i = Σ_k w_ik P_j.

    Args:
        weight: [N, K] floating weights.
        pool: [M, D] floating rows P.
        indices: [N, K] int32 candidates, rows of the pool; -1 for an empty slot.
        reverse: of the same indices.

    Returns:
        [N, D] sums.

    Cost: N K D multiply-adds; a gradient as much for each operand.
    """
    del reverse
    weight = jnp.where(indices >= 0, weight, 0)
    return jax.vmap(functools.partial(neighbor_sum, pool))(weight, indices)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def listing_sums(
    weight: jax.Array,
    rows: jax.Array,
    indices: jax.Array,
    reverse: ReverseNeighbors,
    num_rows: int,
) -> jax.Array:
    """Evaluates Q_j = Σ w_ik R_i over the slots (i, k) that list row j of the pool.

    Args:
        weight: [N, K] floating weights.
        rows: [N, D] floating rows R.
        indices: [N, K] int32 candidates, rows of the pool; -1 for an empty slot.
        reverse: of the same indices.
        num_rows: M, rows of the pool.

    Returns:
        [M, D] sums; 0 for a row that nobody lists.

    Cost: N K D + M D multiply-adds, one [4096, D] block in memory beside the result; a
    gradient as much for each operand.
    """
    num_slots, k = indices.size, indices.shape[1]
    weight = jnp.concatenate([weight.reshape(-1), jnp.zeros(1, weight.dtype)])
    padding = -len(reverse.slots) % _BLOCK_ROWS
    slots = jnp.pad(reverse.slots, ((0, padding), (0, 0)), constant_values=num_slots)
    listed = jnp.pad(reverse.rows, (0, padding), constant_values=num_rows)

    def add_block(total, block):
        slots, listed = block
        sums = jax.vmap(functools.partial(neighbor_sum, rows))(
            weight[slots], slots // k
        )
        return total.at[listed].add(sums, mode="drop", indices_are_sorted=True), None

    blocks = slots.reshape(-1, _BLOCK_ROWS, _WIDTH), listed.reshape(-1, _BLOCK_ROWS)
    nothing = jnp.zeros((num_rows, rows.shape[1]), rows.dtype)
    return lax.scan(add_block, nothing, blocks)[0]


def _keep(product):
    """What a gradient of a product reads: its operands."""

    def forward(*operands):
        return product(*operands), operands[:4]

    return forward


def _transpose_dots(kept, cotangent):
    rows, pool, indices, reverse = kept
    return (
        candidate_sums(cotangent, pool, indices, reverse),
        listing_sums(cotangent, rows, indices, reverse, len(pool)),
        None,
        None,
    )


def _transpose_sums(kept, cotangent):
    weight, pool, indices, reverse = kept
    return (
        candidate_dots(cotangent, pool, indices, reverse),
        listing_sums(weight, cotangent, indices, reverse, len(pool)),
        None,
        None,
    )


def _transpose_listing(num_rows, kept, cotangent):
    del num_rows
    weight, rows, indices, reverse = kept
    return (
        candidate_dots(rows, cotangent, indices, reverse),
        candidate_sums(weight, cotangent, indices, reverse),
        None,
        None,
    )


candidate_dots.defvjp(_keep(candidate_dots), _transpose_dots)
candidate_sums.defvjp(_keep(candidate_sums), _transpose_sums)
listing_sums.defvjp(_keep(listing_sums), _transpose_listing)
