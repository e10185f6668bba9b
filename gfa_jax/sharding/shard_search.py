"""The search of one shard: tiles of F Fᵀ, the other shards' blocks in a ring.

A = Aᵀ, so a pair of shards is multiplied once, by one of the two. Every block goes
half way round the ring with the lists of its K best; each device on its way merges its
own rows into those lists and the block's rows into its own. Then the lists go home and
are merged. With an even number of devices the two opposite ones both
multiply their pair, each for its own lists.

The order of the lists is total (`gfa_jax.neighbors.tiles`), so the result does not
depend on the order in which blocks arrive.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfa_jax.neighbors import tiles
from gfa_jax.neighbors.exact import finish, merge_pair, sweep, whole_tiles
from gfa_jax.neighbors.tiles import Best, Rows
from gfa_jax.sharding.ring import owner, rotate
from gfa_jax.types import Neighbors


class Setting(NamedTuple):
    """The static choices; rows from `num_rows` on are padding."""

    axis_name: str
    num_rows: int
    k: int
    tile_size: int | None


class State(NamedTuple):
    """What a shard holds between two ring steps; n is rounded up to whole tiles."""

    features: jax.Array  # [n, D] floating rows of the block that is here
    block_best: Best  # [n, K] lists of that block, without its own part of them
    best: Best  # [n, K] lists of this shard


def begin(features: jax.Array, *, setting: Setting) -> State:
    """Searches this shard's rows among themselves; they are the first block."""
    rows, tile_size = _own_tiles(features, setting)
    best = empty = tiles.empty_topk(setting.k - 1, len(rows.valid), features.dtype)
    if setting.k > 1:
        num_tiles = len(rows.valid) // tile_size
        best = sweep(rows, empty, 0, num_tiles, tile_size=tile_size)
    return State(rows.features, _transposed(empty), _transposed(best))


def ring_step(
    features: jax.Array, state: State, hops: jax.Array, *, setting: Setting
) -> State:
    """Passes the block on, and merges the pair with the one that arrives.

    `hops` is how far the arriving block has come, in [1, P // 2].
    """
    name = setting.axis_name
    block, block_best = rotate((state.features, state.block_best), axis_name=name)
    rows, tile_size = _own_tiles(features, setting)
    arrived = _number(block, owner(hops, axis_name=name), len(features), setting)
    # Half way round, both devices of a pair multiply it, each for its own lists.
    mutual = 2 * hops != lax.axis_size(name)
    num_tiles = len(rows.valid) // tile_size
    best, block_best = merge_pair(
        rows,
        _transposed(state.best),
        arrived,
        _transposed(block_best),
        (num_tiles, num_tiles),
        tile_size=tile_size,
        mutual=mutual,
    )
    return State(block, _transposed(block_best), _transposed(best))


def end(features: jax.Array, state: State, *, setting: Setting) -> Neighbors:
    """Sends the lists of the blocks home and merges them: [n, k]."""
    best = _transposed(state.best)
    if setting.k > 1:
        home = -(lax.axis_size(setting.axis_name) // 2)
        lists = rotate(state.block_best, axis_name=setting.axis_name, hops=home)
        best = tiles.merge(best, _transposed(lists))
    return finish(_own_rows(features, setting), best, include_self=True)


def _number(features: jax.Array, shard: jax.Array, size: int, setting: Setting) -> Rows:
    """Numbers the rows of a shard among all; padding does not count."""
    place = jnp.arange(len(features))
    first = shard * size
    counts = (place < size) & (first + place < setting.num_rows)
    return Rows(features, counts, first)


def _own_rows(features: jax.Array, setting: Setting) -> Rows:
    shard = lax.axis_index(setting.axis_name)
    return _number(lax.stop_gradient(features), shard, len(features), setting)


def _own_tiles(features, setting) -> tuple[Rows, int]:
    return whole_tiles(_own_rows(features, setting), setting.tile_size)


def _transposed(best: Best) -> Best:
    """Puts the rows first, the axis that is spread over the shards; and back."""
    return Best(*(x.T for x in best))
