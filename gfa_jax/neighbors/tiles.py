"""A tile of F Fᵀ, merged into the K best of its rows and of its columns.

The maxima of groups of consecutive elements are taken first; then, as long as any row
has a group whose maximum beats that row's K-th best, every row takes its best remaining
element into its sorted list. Once the lists have filled, a handful of such rounds
replaces a sort of the tile.

Lists and elements are ordered by descending similarity, then by ascending index. The
order is total, so the lists are the same whatever the order in which tiles arrive.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfa_jax import numerics
from gfa_jax.types import check_integer

# Elements whose maximum is taken together, and rows of a tile, as measured on CPU.
GROUP = 32
TILE = 1024


def check_size(name: str, size: int) -> None:
    """Refuses a number of rows that is no multiple of a group."""
    check_integer(name, size, least=GROUP)
    if size % GROUP:
        raise ValueError(f"{name} is {size}; expected a multiple of {GROUP}")


def halve(size: int, error: RuntimeError) -> int:
    """Halves a block, a multiple of 32, for which there was no memory, and warns.

    Raises the error again where it is another one, or the block is the smallest.
    """
    if "RESOURCE_EXHAUSTED" not in str(error) or size % (2 * GROUP):
        raise error
    warnings.warn(
        f"out of memory with blocks of {size} rows; going on with {size // 2}",
        RuntimeWarning,
        stacklevel=3,
    )
    return size // 2


class Rows(NamedTuple):
    """Consecutive rows of the set."""

    features: jax.Array  # [M, D] floating
    valid: jax.Array  # [M] bool, False for a row that has no neighbour and is none
    first: jax.Array | int  # number of the first of them among all rows


class Best(NamedTuple):
    """The K best of every row so far; K leads, so that rows fill the vector lanes."""

    similarity: jax.Array  # [K, M] floating, descending; -inf in an empty slot
    indices: jax.Array  # [K, M] int32, ascending among equals; -1 in an empty slot


def empty_topk(k: int, num_rows: int, dtype: jnp.dtype) -> Best:
    """Makes empty lists."""
    return Best(
        jnp.full((k, num_rows), -jnp.inf, dtype),
        jnp.full((k, num_rows), -1, jnp.int32),
    )


def take_rows(rows: Rows, b: jax.Array, tile_size: int) -> Rows:
    """Takes the b-th tile of the rows."""
    start = b * tile_size
    features, valid = (
        lax.dynamic_slice_in_dim(x, start, tile_size)
        for x in (rows.features, rows.valid)
    )
    return Rows(features, valid, rows.first + start)


def multiply(rows: Rows, columns: Rows) -> jax.Array:
    """Multiplies a tile of F Fᵀ, [M, M]; -inf for a row with itself or not valid."""
    tile = numerics.dot("id,jd->ij", rows.features, columns.features)
    counts = rows.valid[:, None] & columns.valid[None, :]
    counts &= numbers(rows)[:, None] != numbers(columns)[None, :]
    return jnp.where(counts, tile, -jnp.inf)


def merge_row_topk(best: Best, tile: jax.Array, columns: Rows) -> Best:
    """Merges the columns of a tile into the lists of its rows."""
    grouped = tile.reshape(len(tile), -1, GROUP)
    return _extract(
        best,
        jnp.max(grouped, axis=2).T,
        lambda group: jnp.take_along_axis(grouped, group[:, None, None], 1)[:, 0].T,
        columns.first,
    )


def merge_column_topk(best: Best, tile: jax.Array, rows: Rows) -> Best:
    """Merges the rows of a tile into the lists of its columns."""
    grouped = tile.reshape(-1, GROUP, tile.shape[1])
    return _extract(
        best,
        jnp.max(grouped, axis=1),
        lambda group: jnp.take_along_axis(grouped, group[None, None, :], 0)[0],
        rows.first,
    )


def merge_tile(
    best: Best, b: jax.Array, merge: Callable, tile: jax.Array, others: Rows
) -> Best:
    """Merges a tile into the lists of the b-th tile of rows, by one of the above."""
    start, size = b * len(tile), len(tile)
    part = Best(*(lax.dynamic_slice_in_dim(x, start, size, 1) for x in best))
    both = zip(best, merge(part, tile, others), strict=True)
    return Best(*(lax.dynamic_update_slice_in_dim(x, y, start, 1) for x, y in both))


def merge(best: Best, other: Best) -> Best:
    """Merges two lists of each row, of different candidates: K inserts."""

    def insert(i, best):
        value, index = (lax.dynamic_slice_in_dim(x, i, 1) for x in other)
        return _insert(best, value, index)

    return lax.fori_loop(0, len(other.indices), insert, best)


def numbers(rows: Rows) -> jax.Array:
    """Numbers rows among all, [M]."""
    return rows.first + jnp.arange(len(rows.valid), dtype=jnp.int32)


class _Extraction(NamedTuple):
    """What `_extract` carries from round to round, for the rows of one block."""

    best: Best
    maxima: jax.Array  # [G, rows] of the elements that remain in each group
    candidate: jax.Array  # [rows] largest of the maxima
    last: jax.Array  # [rows] similarity extracted last
    last_position: jax.Array  # [rows] its place among the new elements


def _extract(
    best: Best, maxima: jax.Array, elements_of: Callable, offset: jax.Array | int
) -> Best:
    """Takes elements out of a tile, best first, while any beats its row's K-th.

    Elements leave in the total order, so those that remain come after the last one: the
    tile itself is never written. Of every group the largest element is given, [G,
    rows], and of one group a row all elements by `elements_of`, [rows] -> [group,
    rows]; `offset` is the index of the first.
    """
    num_groups, num_rows = maxima.shape
    group_numbers = lax.broadcasted_iota(jnp.int32, maxima.shape, 0)
    within = lax.broadcasted_iota(jnp.int32, (GROUP, num_rows), 0)

    def first(where, numbers):
        return jnp.min(
            jnp.where(where, numbers, num_groups * GROUP), axis=0, keepdims=True
        )

    def beats(state: _Extraction):
        # What remains comes after the last one, so among its equals it stands later.
        equal = state.candidate == state.last
        earliest = offset + jnp.where(equal, state.last_position + 1, 0)
        worst = Best(*(x[-1:] for x in state.best))
        return jnp.any(_precedes(state.candidate, earliest, worst))

    def extract_one(state: _Extraction) -> _Extraction:
        value = state.candidate
        # A row whose elements are all taken has no group with its maximum of -inf.
        group = jnp.minimum(first(state.maxima == value, group_numbers), num_groups - 1)
        elements = elements_of(group[0])
        positions = group * GROUP + within
        remains = _comes_after(elements, positions, state.last, state.last_position)
        position = first(remains & (elements == value), positions)
        remains = _comes_after(elements, positions, value, position)
        left = jnp.max(jnp.where(remains, elements, -jnp.inf), axis=0, keepdims=True)
        maxima = jnp.where(group_numbers == group, left, state.maxima)
        return _Extraction(
            _insert(state.best, value, offset + position),
            maxima,
            jnp.max(maxima, axis=0, keepdims=True),
            value,
            position,
        )

    start = _Extraction(
        best,
        maxima,
        jnp.max(maxima, axis=0, keepdims=True),
        jnp.full((1, num_rows), jnp.inf, maxima.dtype),
        jnp.full((1, num_rows), -1, jnp.int32),
    )
    return lax.while_loop(beats, extract_one, start).best


def _comes_after(similarity, position, last, last_position):
    """Orders by descending similarity, then by ascending position."""
    return (similarity < last) | ((similarity == last) & (position > last_position))


def _precedes(value, index, best: Best):
    """Orders by descending similarity, then by ascending index."""
    equal = value == best.similarity
    return (value > best.similarity) | (equal & (index < best.indices))


def _insert(best: Best, value: jax.Array, index: jax.Array) -> Best:
    """Inserts one element a row into the sorted lists, at its place in the order."""
    before = _precedes(value, index, best)
    pushed = jnp.concatenate([jnp.zeros_like(before[:1]), before[:-1]])

    def shift(column, new):
        above = jnp.concatenate([column[:1], column[:-1]])
        return jnp.where(before, jnp.where(pushed, above, new), column)

    return Best(shift(best.similarity, value), shift(best.indices, index))
