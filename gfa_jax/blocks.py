"""Rows in blocks: how the [N, K, D] array of all neighbourhoods is never made.

A block gathers the K candidates of a few rows at a time, [block, K, D], small enough
to stay in cache.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# What a block gathers: on a CPU it stays in cache; a GPU needs enough rows at once to
# be busy (the number is reckoned, not measured).
_BLOCK_BYTES_CPU = 2**20
_BLOCK_BYTES_ELSEWHERE = 2**26
_FEWEST_ROWS = 8


class Pool(NamedTuple):
    """Rows that can be neighbours: all of them, or a run of consecutive ones."""

    features: jax.Array  # [M, D] floating
    first: jax.Array | int = 0  # number of the first of them among all N

    def places(self, candidates: jax.Array) -> jax.Array:
        """Finds candidates: [..., K] rows of the pool, -1 for one that is not here."""
        places = candidates - self.first
        is_here = (places >= 0) & (places < len(self.features))
        return jnp.where(is_here, places, -1)


def gather_rows(features: jax.Array, candidates: jax.Array) -> jax.Array:
    """Takes the candidates' rows: [K, D]; an empty slot takes any row, to weigh 0."""
    return features.at[candidates].get(mode="clip")


def map_rows(
    row_function: Callable[..., Any],
    operands: Any,
    *,
    row_bytes: int,
    block_size: int | None = None,
) -> Any:
    """Calls `row_function(row, *operands_of_the_row)` on every row, in blocks.

    The row function takes the row number and the row of every operand, a pytree of [N,
    ...] arrays; what it gives gets a leading N. Every block has the same size, so that
    it is compiled once: where the blocks do not divide N the last one begins earlier,
    and what it repeats is left out. By default a block holds as many rows of
    `row_bytes` as fit about 1 MiB on a CPU, 64 MiB elsewhere.
    """
    rows = jnp.arange(len(jax.tree.leaves(operands)[0]), dtype=jnp.int32)
    if block_size is None:
        block_size = _choose_block_size(len(rows), row_bytes)
    elif block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1")
    # Backwards, a block gathers again what it needs instead of keeping it. The slices
    # stay outside, where JAX adds their gradients up in place.
    block_function = jax.checkpoint(jax.vmap(row_function), prevent_cse=False)
    return map_blocks(block_function, (rows, *operands), block_size=block_size)


def map_blocks(function: Callable[..., Any], operands: Any, *, block_size: int) -> Any:
    """Calls `function` on the operands of so many rows at a time, as `map_rows` does.

    It takes a run of rows of every operand, and gives as many.
    """
    num_rows = len(jax.tree.leaves(operands)[0])
    block_size = min(block_size, num_rows)

    def block(start):
        return function(
            *jax.tree.map(
                lambda x: lax.dynamic_slice_in_dim(x, start, block_size), operands
            )
        )

    starts = jnp.minimum(jnp.arange(0, num_rows, block_size), num_rows - block_size)
    repeated = len(starts) * block_size - num_rows

    def join(blocks):
        if not repeated:
            return blocks.reshape(num_rows, *blocks.shape[2:])
        whole = blocks[:-1].reshape(-1, *blocks.shape[2:])
        return jnp.concatenate([whole, blocks[-1, repeated:]])

    return jax.tree.map(join, lax.map(block, starts))


def map_neighborhoods(
    row_function: Callable[..., Any],
    features: jax.Array,
    indices: jax.Array,
    *operands: Any,
    block_size: int | None = None,
) -> Any:
    """Calls `map_rows` on features [N, D], candidates [N, K] and operands.

    The neighbourhoods of a block, [block, K, D], fit.
    """
    return map_rows(
        row_function,
        (features, indices, *operands),
        row_bytes=indices.shape[1] * features.shape[1] * features.dtype.itemsize,
        block_size=block_size,
    )


def _choose_block_size(num_rows: int, row_bytes: int) -> int:
    """Chooses a block that fits, and divides N where one of about that size does.

    Blocks that divide N are the result as they lie; others are copied to join them.
    """
    on_cpu = jax.default_backend() == "cpu"
    block_bytes = _BLOCK_BYTES_CPU if on_cpu else _BLOCK_BYTES_ELSEWHERE
    fits = max(_FEWEST_ROWS, block_bytes // row_bytes)
    if fits >= num_rows:
        return num_rows
    near = range(max(_FEWEST_ROWS, fits - fits // 4), fits + fits // 2 + 1)
    dividing = [size for size in near if num_rows % size == 0]
    return min(dividing, key=lambda size: abs(size - fits), default=fits)
