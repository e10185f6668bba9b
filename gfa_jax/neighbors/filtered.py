"""Exact nearest neighbours for an accelerator: half-precision products filter rows.

    â_ij = h_i · h_j, h the rows in float16        every j, on the matrix units
    S_i = the K + margin largest â_ij               by maxima of groups of columns
    a_ij = F_i · F_j in full precision              j in S_i alone
    KNN_i = the K largest a_ij

|â_ij − a_ij| is at most ε_i, known from what the rounding took from every row, and the
largest â_ij outside of S_i is known too, b_i. So where

    K-th largest a_ij > b_i + ε_i

no row is missed, and the list is certified. The few rows where it is not, for clumps
of copies or a K-th neighbour in a dense place, are searched again in full precision.
Which lists those are changes the time, never the result.

Every column is read by all rows in turn: merging tiles into both lists, as `exact`
does, would save half of the products but keep N lists in work, and it is the traffic
of the products, 2 N² bytes written and read, that takes the longer here.
"""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gfa_jax import numerics
from gfa_jax.blocks import gather_rows
from gfa_jax.neighbors import tiles
from gfa_jax.neighbors.tiles import Best, Rows
from gfa_jax.types import track

# Fewer rows are searched before this pays; more neighbours share a group.
FEWEST_ROWS, MOST_NEIGHBORS = 16_384, 128
# float16 ends at 65,504, and products of such rows are far below.
LONGEST = 100.0

_ROWS = 2048  # of a block; its products are 2 GB
_GROUPS, _DEPTH = 16_384, 2  # groups of columns, and the best of each that are kept
_LATER_GROUPS, _LATER_DEPTH = 1024, 3  # of those, folded again
_MOST_FOLDED = 32  # columns of a group that one pass multiplies
_LEAST_MARGIN = 16
_AGAIN_ROWS, _AGAIN_COLUMNS = 1024, 8192  # of a tile in full precision
_SECONDS = 1.0  # between two looks at the device

# A key orders float16 numbers as int32, with the place in the group below them.
_LOWEST, _TAGS = -(2**31), 2**16 - 1


class Plan(NamedTuple):
    """How the columns are folded into groups: column j is in group j mod L; static."""

    num_rows: int  # N
    groups: int  # L
    folded: int  # columns of a group that one pass multiplies
    passes: int
    survivors: int  # K + margin + 1, for the row itself survives

    @property
    def columns(self) -> int:
        """Columns of all passes, N or a little more."""
        return self.groups * self.folded * self.passes


class Rounded(NamedTuple):
    """The rows as the matrix units multiply them, and what that may change."""

    features: jax.Array  # [plan.columns, D] float16, zeros beyond N
    error: jax.Array  # [N] ε_i


class Found(NamedTuple):
    """The lists of a block of rows."""

    similarity: jax.Array  # [R, K] floating, descending
    indices: jax.Array  # [R, K] int32, ascending among equals
    certified: jax.Array  # [R] bool


def pays(features: jax.Array, k: int) -> bool:
    """Tells whether K others of each row are found faster here than by tiles."""
    return (
        jax.default_backend() != "cpu"
        and len(features) >= FEWEST_ROWS
        and k <= MOST_NEIGHBORS
        and bool(jnp.max(jnp.linalg.norm(features, axis=1)) < LONGEST)
    )


def search_others(
    features: jax.Array,
    *,
    k: int,
    block_size: int = _ROWS,
    progress: Callable | None = None,
) -> tuple[Best, int]:
    """Finds the K other rows with the largest inner product with each row.

    Rows are [N, D], shorter than `LONGEST`, and K in [1, min(N, 129)). A block of so
    many rows, a multiple of 32, is halved, with a RuntimeWarning, where the device has
    no memory for it. Gives the lists as `tiles.Best`, those of `exact` but for ties
    within the rounding of the dtype; and the number of rows that were searched a second
    time.

    Cost: 2 N² D operations in float16, 2 N² bytes written and as many read; 2 N (K +
    margin) D operations in full precision. Memory beyond the features: half of them
    again, two [K, N] arrays, and the products and groups of a block, 1.3 GB for every
    1,024 of its rows where N is a million.
    """
    num_rows = len(features)
    plan = make_plan(num_rows, k)
    rounded = round_rows(features, plan=plan)
    parts: list[Found] = []
    start, size, looked = 0, min(block_size, num_rows), time.monotonic()
    for aim in track(progress, range(size, num_rows + size, size), desc="neighbors"):
        while start < min(aim, num_rows):
            # The last block begins earlier, so that all are one compiled program.
            first = min(start, num_rows - size)
            try:
                found = search_block(
                    features, rounded, first, k=k, plan=plan, block_size=size
                )
                # More often, and the device would have nothing to do meanwhile.
                if len(parts) < 2 or time.monotonic() - looked > _SECONDS:
                    jax.block_until_ready(found)
                    looked = time.monotonic()
            except jax.errors.JaxRuntimeError as error:
                size = tiles.halve(size, error)
                continue
            parts.append(Found(*(x[start - first :] for x in found)))
            start = first + size
    similarity, indices, certified = (
        jnp.concatenate(x) for x in zip(*parts, strict=True)
    )
    best = Best(similarity.T, indices.T)
    again = np.flatnonzero(~np.asarray(certified))
    return _search_again(features, best, again, progress), len(again)


def make_plan(num_rows: int, k: int) -> Plan:
    """Lays out the groups for N rows and K others."""
    folded = min(max(-(-num_rows // _GROUPS), _DEPTH), _MOST_FOLDED)
    passes = -(-num_rows // (_GROUPS * folded))
    groups = -(-num_rows // (folded * passes))
    survivors = k + max(_LEAST_MARGIN, k // 2) + 1
    return Plan(num_rows, groups, folded, passes, min(survivors, num_rows))


@functools.partial(jax.jit, static_argnames="plan")
def round_rows(features: jax.Array, *, plan: Plan) -> Rounded:
    """Rounds rows [N, D] to float16 and bounds what that does to a product.

    ε_i = ‖F_i − h_i‖ max‖F_j‖ + ‖h_i‖ max‖F_j − h_j‖, by Cauchy and Schwarz, and
    2 D 2⁻²³ ‖F_i‖ max‖F_j‖ for sums in float32, whatever their order.
    """
    half = features.astype(jnp.float16)
    lost = jnp.linalg.norm(features - half.astype(features.dtype), axis=1)
    length = jnp.linalg.norm(features, axis=1)
    sums = features.shape[1] * 2.0**-22 * length * jnp.max(length)
    error = lost * jnp.max(length) + (length + lost) * jnp.max(lost) + sums
    padded = jnp.pad(half, ((0, plan.columns - plan.num_rows), (0, 0)))
    return Rounded(padded, 1.001 * error)  # its own sums are rounded too


@functools.partial(jax.jit, static_argnames=("k", "plan", "block_size"))
def search_block(
    features: jax.Array,
    rounded: Rounded,
    first: jax.Array | int,
    *,
    k: int,
    plan: Plan,
    block_size: int,
) -> Found:
    """Searches the rows from `first` on, as `search_others` explains."""
    rows = lax.dynamic_slice_in_dim(rounded.features, first, block_size)
    # Else a single pass is computed anew within the maximum of what it dropped.
    folded = lax.optimization_barrier(_fold_products(rows, rounded.features, plan))
    keys, columns, dropped = _fold_again(*folded)
    # Of float32, for which there are faster programs than for integers.
    best, places = lax.top_k(_product(keys), min(plan.survivors + 1, keys.shape[1]))
    columns = jnp.take_along_axis(columns, places, axis=1)[:, : plan.survivors]
    # All that does not survive is at most b_i.
    bound = _product(jnp.max(dropped, axis=1))
    if best.shape[1] > plan.survivors:
        bound = jnp.maximum(bound, best[:, -1])
    # Before it was rounded to float16.
    bound = jnp.maximum(bound * (1 + 2.0**-10), bound * (1 - 2.0**-10)) + 2.0**-24

    numbers = first + jnp.arange(block_size, dtype=jnp.int32)
    own = lax.dynamic_slice_in_dim(features, first, block_size)
    survivors = features.at[columns].get(mode="clip")
    similarity = numerics.dot("rd,rsd->rs", own, survivors)
    counts = (columns >= 0) & (columns < plan.num_rows)
    counts &= columns != numbers[:, None]
    similarity = jnp.where(counts, similarity, -jnp.inf)
    descending, columns = lax.sort((-similarity, columns), num_keys=2)
    similarity, columns = -descending[:, :k], columns[:, :k]
    error = lax.dynamic_slice_in_dim(rounded.error, first, block_size)
    return Found(similarity, columns, similarity[:, -1] > bound + error)


def _fold_products(
    rows: jax.Array, columns: jax.Array, plan: Plan
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Multiplies rows [R, D] and all columns; keeps the best two of every group.

    Returns:
        keys [R, 2 L] of what is kept, column numbers likewise, and [R, L] the largest
        key of every group that is not.
    """
    width = plan.groups * plan.folded
    group = jnp.arange(plan.groups, dtype=jnp.int32)[None]

    def multiply_and_fold(number, state):
        part = lax.dynamic_slice_in_dim(columns, number * width, width)
        products = multiply(rows, part).reshape(len(rows), plan.folded, plan.groups)
        for place in range(plan.folded):
            turn = number * plan.folded + place
            key = _ordered(products[:, place]) << 16 | (_TAGS - turn)
            key = jnp.where(turn * plan.groups + group < plan.num_rows, key, _LOWEST)
            state = _insert(state, key)
        return state

    empty = jnp.full((len(rows), plan.groups), _LOWEST, jnp.int32)
    *best, dropped = lax.fori_loop(
        0, plan.passes, multiply_and_fold, (empty,) * (_DEPTH + 1)
    )
    keys = jnp.concatenate(best, axis=1)
    turns = _TAGS - (keys & _TAGS)
    return keys, turns * plan.groups + jnp.tile(group, (1, _DEPTH)), dropped


def _insert(state: tuple[jax.Array, ...], key: jax.Array) -> tuple[jax.Array, ...]:
    """Inserts one key a group; the last of the state is the largest that fell out."""
    kept = []
    for place in state[:-1]:
        kept.append(jnp.maximum(place, key))
        key = jnp.minimum(place, key)
    return *kept, jnp.maximum(state[-1], key)


def _fold_again(
    keys: jax.Array, columns: jax.Array, dropped: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keeps the best three of every few keys: those to sort are fewer by ten times."""
    turns = -(-keys.shape[1] // _LATER_GROUPS)
    if turns <= 2 * _LATER_DEPTH:
        return keys, columns, dropped
    padding = ((0, 0), (0, turns * _LATER_GROUPS - keys.shape[1]))
    keys, columns = (
        jnp.pad(x, padding, constant_values=_LOWEST).reshape(len(x), turns, -1)
        for x in (keys, columns)
    )
    empty = jnp.full_like(keys[:, 0], _LOWEST)
    best = [(empty, empty)] * _LATER_DEPTH
    last = empty
    for turn in range(turns):
        key, column = keys[:, turn], columns[:, turn]
        for place, (kept, kept_column) in enumerate(best):
            above = key > kept
            best[place] = (
                jnp.where(above, key, kept),
                jnp.where(above, column, kept_column),
            )
            column = jnp.where(above, kept_column, column)
            key = jnp.minimum(key, kept)
        last = jnp.maximum(last, key)
    keys, columns = (jnp.concatenate(x, axis=1) for x in zip(*best, strict=True))
    return keys, columns, jnp.concatenate([dropped, last], axis=1)


def multiply(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Multiplies float16 rows with sums in float32; the products are float16."""
    if jax.default_backend() == "cpu":  # whose float16 sums may be float16
        rows, columns = rows.astype(jnp.float32), columns.astype(jnp.float32)
        products = numerics.dot("rd,cd->rc", rows, columns)
    else:
        products = jnp.einsum(
            "rd,cd->rc", rows, columns, precision=lax.DotAlgorithmPreset.F16_F16_F32
        )
    return products.astype(jnp.float16)


def _ordered(half: jax.Array) -> jax.Array:
    """Maps float16 numbers to int32 in the same order."""
    bits = lax.bitcast_convert_type(half, jnp.int16).astype(jnp.int32)
    return bits ^ ((bits >> 15) & 0x7FFF)


def _product(key: jax.Array) -> jax.Array:
    """Reads the product that a key orders, as float32; -inf where there is none."""
    ordered = key >> 16
    bits = (ordered ^ ((ordered >> 15) & 0x7FFF)).astype(jnp.int16)
    product = lax.bitcast_convert_type(bits, jnp.float16).astype(jnp.float32)
    return jnp.where(key == _LOWEST, -jnp.inf, product)


def _search_again(
    features: jax.Array, best: Best, again: np.ndarray, progress: Callable | None
) -> Best:
    """Searches some rows [M] in full precision, and puts their lists in place."""
    starts = range(0, len(again), _AGAIN_ROWS)
    for start in track(progress, starts, desc="neighbors again"):
        numbers = again[start : start + _AGAIN_ROWS]
        # Repeated up to a whole block, so that one program is compiled.
        numbers = jnp.asarray(np.resize(numbers, _AGAIN_ROWS), jnp.int32)
        found = _search_rows(features, numbers, k=len(best.indices))
        best = Best(
            *(x.at[:, numbers].set(y) for x, y in zip(best, found, strict=True))
        )
    return best


@functools.partial(jax.jit, static_argnames="k")
def _search_rows(features: jax.Array, numbers: jax.Array, *, k: int) -> Best:
    """Finds the K others of rows [R] among all, tile by tile in full precision."""
    rows = gather_rows(features, numbers)
    width = min(_AGAIN_COLUMNS, len(features) // tiles.GROUP * tiles.GROUP)

    def merge(t, best):
        # The last tile begins earlier; what it repeats does not count again.
        start = jnp.minimum(t * width, len(features) - width)
        part = Rows(lax.dynamic_slice_in_dim(features, start, width), rows, start)
        columns = start + jnp.arange(width, dtype=jnp.int32)
        tile = numerics.dot("rd,cd->rc", rows, part.features)
        counts = (columns >= t * width)[None] & (columns[None] != numbers[:, None])
        return tiles.merge_row_topk(best, jnp.where(counts, tile, -jnp.inf), part)

    best = tiles.empty_topk(k, len(numbers), features.dtype)
    return lax.fori_loop(0, -(-len(features) // width), merge, best)
