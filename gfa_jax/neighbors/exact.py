"""Exact nearest neighbours of a set in itself, each tile of F Fᵀ multiplied once.

The affinity is symmetric, A = Aᵀ, so a tile of rows I and columns J brings J as
neighbours to I and I to J: only the tiles on and above the diagonal are computed, half
of the products of a plain search. `tiles` merges them into the K best so far.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from gfa_jax import numerics
from gfa_jax.checks import check_search
from gfa_jax.neighbors import filtered, tiles
from gfa_jax.neighbors.tiles import Best, Rows
from gfa_jax.types import Array, Neighbors, check_mask, track

_ROUNDING = 1e-5  # of a cosine, at most


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
        features: [N, D] floating rows of unit length, or zero.
        k: number of neighbours in [1, N), **the row itself counted** where
            `include_self`: k=15 then means the row and 14 others.
        include_self: whether the row itself stands in column 0, whatever copies of
            it there are; otherwise it is nowhere in its row.
        valid: [N] bool; rows that are False have no neighbour and are none.
        tile_size: rows of a tile, a multiple of 32; about 1024 by default. Halved,
            with a RuntimeWarning, where the device has no memory for it.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the blocks of rows. Not while tracing.

    Returns:
        Neighbors: indices [N, k] int32 and similarity [N, k], by descending
        similarity (after the row itself), ties by lower index; -1 and -inf where
        there are fewer than k. No gradient flows through the search.

    Raises:
        ValueError: k outside [1, N), shapes or dtypes that do not fit, or where they
            are not traced rows of another length.

    Cost: N² D multiply-adds / 2; memory: two [k, N] arrays, the features once more,
    and a [tile, tile] block.

    Examples:
        >>> gfa.exact_neighbors(np.array([[1.0, 0], [0.8, 0.6], [0, 1]]), k=2).indices
        Array([[0, 1],
               [1, 0],
               [2, 1]], dtype=int32)
    """
    features = lax.stop_gradient(numerics.to_compute_dtype(features))
    check_search(features, k=k, include_self=include_self)
    num_rows = len(features)
    if valid is not None:
        check_mask("valid", valid, num_rows)
    others = k - 1 if include_self else k
    plain = valid is None and tile_size is None and not isinstance(features, Tracer)
    valid = jnp.ones(num_rows, bool) if valid is None else jnp.asarray(valid)
    if plain and others and filtered.pays(features, others):
        best, _ = filtered.search_others(features, k=others, progress=progress)
        return finish(Rows(features, valid, 0), best, include_self=include_self)
    rows, tile_size = whole_tiles(Rows(features, valid, 0), tile_size)
    num_tiles = len(rows.valid) // tile_size
    best = tiles.empty_topk(others, len(rows.valid), features.dtype)
    if others:
        if isinstance(features, Tracer):
            best = sweep(rows, best, 0, num_tiles, tile_size=tile_size)
        else:
            best = _sweep_within_memory(rows, best, tile_size, progress)
    return finish(Rows(features, valid, 0), best, include_self=include_self)


def whole_tiles(rows: Rows, tile_size: int | None) -> tuple[Rows, int]:
    """Pads rows with invalid ones to whole tiles; returns them and the tile size."""
    num_rows = len(rows.valid)
    if tile_size is None:
        tile_size = min(tiles.TILE, round_up(num_rows, tiles.GROUP))
    tiles.check_size("tile_size", tile_size)
    padding = round_up(num_rows, tile_size) - num_rows
    features = jnp.pad(rows.features, ((0, padding), (0, 0)))
    return Rows(features, jnp.pad(rows.valid, (0, padding)), rows.first), tile_size


@functools.partial(jax.jit, static_argnames="tile_size")
def sweep(
    rows: Rows,
    best: Best,
    start: jax.Array | int,
    stop: jax.Array | int,
    *,
    tile_size: int,
) -> Best:
    """Merges the tiles (i, j >= i) of row blocks start <= i < stop into the lists."""
    num_tiles = len(rows.valid) // tile_size

    def merge_tile(i, j, best):
        left, right = (tiles.take_rows(rows, b, tile_size) for b in (i, j))
        tile = tiles.multiply(left, right)
        best = tiles.merge_tile(best, i, tiles.merge_row_topk, tile, right)
        return _merge_columns(i != j, best, j, tile, left)

    def row_block(i, best):
        return lax.fori_loop(i, num_tiles, functools.partial(merge_tile, i), best)

    return lax.fori_loop(start, stop, row_block, best)


def _merge_columns(
    is_merged: jax.Array | bool, best: Best, j: jax.Array, tile: jax.Array, rows: Rows
) -> Best:
    def merge(best: Best) -> Best:
        return tiles.merge_tile(best, j, tiles.merge_column_topk, tile, rows)

    return lax.cond(is_merged, merge, lambda best: best, best)


def _sweep_within_memory(
    rows: Rows, best: Best, tile_size: int, progress: Callable | None
) -> Best:
    """Merges all tiles, smaller ones after the device has run out of memory."""
    # All blocks of rows are one call where there is no progress to show.
    step = tile_size if progress else len(rows.valid)
    blocks = range(len(rows.valid) // step)
    for block in track(progress, blocks, desc="neighbors"):
        swept = None
        while swept is None:
            tile_numbers = (i * step // tile_size for i in (block, block + 1))
            try:
                # Block so that the progress is real and Ctrl-C acts.
                swept = jax.block_until_ready(
                    sweep(rows, best, *tile_numbers, tile_size=tile_size)
                )
            except jax.errors.JaxRuntimeError as error:
                # The lists are as they were: a call makes new ones.
                tile_size = tiles.halve(tile_size, error)
        best = swept
    return best


@functools.partial(jax.jit, static_argnames="tile_size")
def merge_pair(
    rows: Rows,
    best: Best,
    others: Rows,
    theirs: Best,
    num_tiles: tuple[jax.Array | int, jax.Array | int],
    *,
    tile_size: int,
    mutual: jax.Array | bool = True,
) -> tuple[Best, Best]:
    """Merges the tiles of two different sets of rows into the lists of both.

    Of each, `num_tiles` count and the rest is padding; where the sets are not `mutual`,
    the others' lists stay.
    """

    def merge_tile(t, lists):
        best, theirs = lists
        i, j = t // num_tiles[1], t % num_tiles[1]
        left = tiles.take_rows(rows, i, tile_size)
        right = tiles.take_rows(others, j, tile_size)
        tile = tiles.multiply(left, right)
        best = tiles.merge_tile(best, i, tiles.merge_row_topk, tile, right)
        return best, _merge_columns(mutual, theirs, j, tile, left)

    return lax.fori_loop(0, num_tiles[0] * num_tiles[1], merge_tile, (best, theirs))


@functools.partial(jax.jit, static_argnames="include_self")
def finish(rows: Rows, best: Best, *, include_self: bool) -> Neighbors:
    """Turns the lists into [N, k] arrays, the row itself first where it counts."""
    num_rows = len(rows.valid)
    indices = best.indices[:, :num_rows].T
    similarity = best.similarity[:, :num_rows].T
    if include_self:
        row = jnp.where(rows.valid, tiles.numbers(rows), -1)
        itself = numerics.dot("nd,nd->n", rows.features, rows.features)
        itself = jnp.where(rows.valid, itself, -jnp.inf)
        indices = jnp.concatenate([row[:, None], indices], axis=1)
        similarity = jnp.concatenate([itself[:, None], similarity], axis=1)
    # Rounding carries cosines of copies beyond 1, where an angle would be NaN.
    rounded = jnp.abs(similarity) < 1 + _ROUNDING
    return Neighbors(
        indices, jnp.where(rounded, jnp.clip(similarity, -1, 1), similarity)
    )


def round_up(number: int, multiple: int) -> int:
    """Returns the least multiple that is not below the number."""
    return -(-number // multiple) * multiple
