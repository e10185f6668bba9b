"""Exact nearest neighbours of a set in itself, each tile of F Fᵀ multiplied once.

The affinity is symmetric, A = Aᵀ, so a tile of rows I and columns J serves both
sides: its rows offer J as neighbours to I, its columns offer I to J. Only the tiles
on and above the diagonal are computed, half of the products of a plain search.

A tile is merged into the running K best by extraction. The maxima of groups of
consecutive elements are taken first; then, as long as any row has a group whose
maximum beats that row's K-th best, every row takes its best remaining element into
its sorted list. Once the lists have filled, few elements of a tile beat them, so a
handful of rounds replaces a sort of the tile.

Elements leave a tile ordered by descending similarity, then by ascending index, and
tiles reach a row in ascending order: ties always go to the lower index.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfa_jax import numerics
from gfa_jax.types import Array, Neighbors

# Elements whose maximum is taken together, and rows of a tile. A tile of 1024²
# float32 is 4 MiB; both numbers were chosen by measurement on CPU.
_GROUP = 32
_TILE = 1024


class _Best(NamedTuple):
    """The K best of every row so far; K leads, so that rows fill the vector lanes."""

    similarity: jax.Array  # [K, N] floating, descending along K
    indices: jax.Array  # [K, N] int32


def exact_neighbors(
    features: Array,
    *,
    k: int,
    include_self: bool = True,
    valid: Array | None = None,
    tile_size: int | None = None,
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product with each row.

    KNN_i = the K largest of A_ij = F_i · F_j over j      (paper, Eq. 5 and 6)

    Args:
        features: [N, D] floating rows; unit length makes A a cosine.
        k: number of neighbours in [1, N), **the row itself counted** where
            `include_self`: k=15 then means the row and 14 others.
        include_self: whether the row itself stands in column 0, whatever copies of
            it there are; otherwise it is nowhere in its row.
        valid: [N] bool; rows that are False are nobody's neighbour and have none
            (every slot empty). All rows by default.
        tile_size: rows of a tile, a multiple of 32.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the blocks of rows. Not while tracing.

    Returns:
        Neighbors: indices [N, k] int32 and similarity [N, k], by descending
        similarity (after the row itself), ties by lower index; -1 and -inf where
        there are fewer than k. No gradient flows through the search.

    Raises:
        ValueError: k outside [1, N), or shapes that do not fit.

    Cost: N² D multiply-adds / 2; memory: two [k, N] arrays, the features once more
    (padded to whole tiles), and a [tile, tile] block.
    """
    features = lax.stop_gradient(numerics.to_compute_dtype(features))
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}; expected [N, D]")
    num_rows = features.shape[0]
    check_k(k, num_rows)
    valid = jnp.ones(num_rows, bool) if valid is None else jnp.asarray(valid, bool)
    if valid.shape != (num_rows,):
        raise ValueError(f"valid has shape {valid.shape}; expected ({num_rows},)")
    if tile_size is None:
        tile_size = min(_TILE, _round_up(num_rows, _GROUP))
    if tile_size < _GROUP or tile_size % _GROUP:
        raise ValueError(f"tile_size is {tile_size}; expected a multiple of {_GROUP}")

    padding = _round_up(num_rows, tile_size) - num_rows
    padded = jnp.pad(features, ((0, padding), (0, 0)))
    padded_valid = jnp.pad(valid, (0, padding))
    num_tiles = padded.shape[0] // tile_size
    others = k - 1 if include_self else k
    best = _Best(
        jnp.full((others, padded.shape[0]), -jnp.inf, features.dtype),
        jnp.full((others, padded.shape[0]), -1, jnp.int32),
    )
    if others:
        sweep = functools.partial(_sweep, padded, padded_valid, tile_size=tile_size)
        if progress is None:
            best = sweep(best, 0, num_tiles)
        else:
            for i in progress(range(num_tiles), total=num_tiles, desc="neighbors"):
                # Waiting lets the bar tell the truth, and Ctrl-C act.
                best = jax.block_until_ready(sweep(best, i, i + 1))
    return _finish(features, valid, best, include_self=include_self)


def check_k(k: int, num_rows: int) -> None:
    """Refuses a number of neighbours outside [1, N).

    Args:
        k: number of neighbours, the row itself counted where it is included.
        num_rows: N.

    Raises:
        ValueError: what was got, what was expected.
    """
    if not 1 <= k < num_rows:
        raise ValueError(
            f"k is {k} with {num_rows} rows; expected 1 <= k < {num_rows} (k counts "
            "the row itself where it is included)"
        )


@functools.partial(jax.jit, static_argnames="tile_size")
def _sweep(padded, valid, best, start, stop, *, tile_size):
    """Merges the tiles (i, j >= i) of row blocks start <= i < stop."""
    num_tiles = padded.shape[0] // tile_size

    def row_block(i, best):
        return lax.fori_loop(
            i,
            num_tiles,
            lambda j, best: _merge_tile(padded, valid, best, i, j, tile_size),
            best,
        )

    return lax.fori_loop(start, stop, row_block, best)


def _merge_tile(padded, valid, best, i, j, tile_size):
    """Multiplies tile (i, j) and offers its rows to i and its columns to j."""

    def block(x, b, axis=0):
        return lax.dynamic_slice_in_dim(x, b * tile_size, tile_size, axis)

    within = jnp.arange(tile_size, dtype=jnp.int32)
    tile = numerics.dot("id,jd->ij", block(padded, i), block(padded, j))
    counts = block(valid, i)[:, None] & block(valid, j)[None, :]
    counts &= (i * tile_size + within)[:, None] != (j * tile_size + within)[None, :]
    tile = jnp.where(counts, tile, -jnp.inf)

    def offer(best, b, offered, maxima, elements_of):
        mine = _Best(*(block(x, b, axis=1) for x in best))
        mine = _extract(mine, maxima, elements_of, offered * tile_size)
        return _Best(
            *(
                lax.dynamic_update_slice_in_dim(x, m, b * tile_size, axis=1)
                for x, m in zip(best, mine, strict=True)
            )
        )

    def offer_rows(best):
        grouped = tile.reshape(tile_size, -1, _GROUP)
        return offer(
            best,
            i,
            j,
            jnp.max(grouped, axis=2).T,
            lambda group: jnp.take_along_axis(grouped, group[:, None, None], 1)[:, 0].T,
        )

    def offer_columns(best):
        grouped = tile.reshape(-1, _GROUP, tile_size)
        return offer(
            best,
            j,
            i,
            jnp.max(grouped, axis=1),
            lambda group: jnp.take_along_axis(grouped, group[None, None, :], 0)[0],
        )

    best = offer_rows(best)
    return lax.cond(i != j, offer_columns, lambda best: best, best)


class _Extraction(NamedTuple):
    """What `_extract` carries from round to round, for the rows of one block."""

    best: _Best
    maxima: jax.Array  # [G, rows] of the elements that remain in each group
    candidate: jax.Array  # [rows] largest of the maxima
    last: jax.Array  # [rows] similarity extracted last
    last_position: jax.Array  # [rows] its place among the offered elements


def _extract(
    best: _Best, maxima: jax.Array, elements_of: Callable, offset: jax.Array
) -> _Best:
    """Takes elements out of a tile, best first, while any beats its row's K-th.

    Elements leave in the order (similarity descending, position ascending), so those
    that remain are exactly those that come after the last one in this order: the
    tile itself is never written.

    Args:
        best: [K, rows] lists to merge into.
        maxima: [G, rows] largest element of every group.
        elements_of: gives the elements of one group a row, [rows] -> [group, rows].
        offset: [] index of the first offered element.

    Returns:
        The merged lists.
    """
    num_groups, num_rows = maxima.shape
    group_numbers = lax.broadcasted_iota(jnp.int32, maxima.shape, 0)
    within = lax.broadcasted_iota(jnp.int32, (_GROUP, num_rows), 0)

    def first(where, numbers):
        return jnp.min(
            jnp.where(where, numbers, num_groups * _GROUP), axis=0, keepdims=True
        )

    def beats(state: _Extraction):
        return jnp.any(state.candidate > state.best.similarity[-1:])

    def extract_one(state: _Extraction) -> _Extraction:
        value = state.candidate
        # A row whose elements are all taken has no group with its maximum of -inf.
        group = jnp.minimum(first(state.maxima == value, group_numbers), num_groups - 1)
        elements = elements_of(group[0])
        positions = group * _GROUP + within
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


def _insert(best: _Best, value: jax.Array, index: jax.Array) -> _Best:
    """Inserts one element a row into the sorted lists, after its equals."""
    before = value > best.similarity
    pushed = jnp.concatenate([jnp.zeros_like(before[:1]), before[:-1]])

    def shift(column, new):
        above = jnp.concatenate([column[:1], column[:-1]])
        return jnp.where(before, jnp.where(pushed, above, new), column)

    return _Best(shift(best.similarity, value), shift(best.indices, index))


@functools.partial(jax.jit, static_argnames="include_self")
def _finish(features, valid, best, *, include_self):
    """Turns the lists into [N, k] arrays, the row itself first where it counts."""
    num_rows = features.shape[0]
    indices = best.indices[:, :num_rows].T
    similarity = best.similarity[:, :num_rows].T
    if include_self:
        row = jnp.where(valid, jnp.arange(num_rows, dtype=jnp.int32), -1)
        itself = jnp.where(
            valid, numerics.dot("nd,nd->n", features, features), -jnp.inf
        )
        indices = jnp.concatenate([row[:, None], indices], axis=1)
        similarity = jnp.concatenate([itself[:, None], similarity], axis=1)
    return Neighbors(indices, similarity)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
