"""The steps of one shard: `update` on its own rows, with collectives over an axis.

What an update needs from the other shards comes in one of two forms (`exchange`):
all of their rows gathered, or one arriving block after another, whose sums add up.
The equations and the scan stand in `aggregation`.

Per shard, features are [n, D], indices [n, K] int32 numbers among all rows, and edges
weight [n, K] and degree [n].
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gfa_jax import affinity, aggregation
from gfa_jax.affinity import Edges
from gfa_jax.aggregation import State
from gfa_jax.blocks import Pool, map_neighborhoods
from gfa_jax.sharding.exchange import Exchange
from gfa_jax.sharding.ring import ring_sum
from gfa_jax.types import DEFAULT, Options, Params


class Setting(NamedTuple):
    """The static choices; rows from `num_rows` on are padding."""

    axis_name: str
    num_rows: int
    exchange: Exchange
    options: Options = DEFAULT


def score_shard(
    features: jax.Array, indices: jax.Array, params: Params, *, setting: Setting
) -> Edges:
    """Scores the candidates of one shard's rows; see `affinity.score`."""

    def score_in(pool, operands, indices):
        features, params = operands
        return affinity.score(
            features,
            indices,
            params,
            pool=pool,
            first_row=_first_row(features, setting),
            options=setting.options,
        )

    return sum_over_pools(score_in, features, (features, params), indices, setting)


def advance_shard(
    state: State,
    steps: jax.Array,
    indices: jax.Array,
    params: Params,
    edges: Edges | None,
    *,
    setting: Setting,
) -> tuple[State, jax.Array]:
    """Makes the steps [t] given on one shard's rows; edges None to score in each.

    Returns:
        The state after the steps; residual [t], the same on every shard.
    """

    def mean(moved):
        return lax.psum(jnp.sum(moved), setting.axis_name) / setting.num_rows

    def update(features, _):
        return _update_shard(features, indices, params, edges, setting)

    return aggregation.scan_steps(state, steps, update=update, mean=mean)


def _update_shard(features, indices, params, edges, setting):
    """Makes one update of this shard's rows: what `aggregation.update` gives."""
    options = setting.options
    if setting.exchange == "gather":
        return aggregation.update(
            features,
            indices,
            params,
            edges,
            pool=Pool(lax.all_gather(features, setting.axis_name, tiled=True)),
            first_row=_first_row(features, setting),
            options=options,
        )

    def sum_in(pool, operands, indices):
        features, params, edges = operands
        add = functools.partial(
            aggregation.add_neighbors,
            pool=pool,
            first_row=_first_row(features, setting),
            params=params,
            options=options,
        )
        weight = None if edges is None else edges.weight
        size = options.block_size
        return map_neighborhoods(add, features, indices, weight, block_size=size)

    sums: Any = sum_over_pools(
        sum_in, features, (features, params, edges), indices, setting
    )
    updated, moved = aggregation.step(
        features, sums, params, renormalize=options.renormalize
    )
    degree = sums.degree if edges is None else edges.degree
    return State(updated, degree), moved


def sum_over_pools(function, features, operands, indices, setting):
    """Adds up `function(pool, operands, indices)`: one pool, or one from each shard.

    The function gives a pytree of floating arrays, to which a candidate that is not in
    the pool adds 0, and closes over no traced value; operands are floating arrays.
    """
    if setting.exchange == "gather":
        gathered = lax.all_gather(features, setting.axis_name, tiled=True)
        return function(Pool(gathered), operands, indices)

    def contribution(block, operands, indices, shard):
        return function(Pool(block, shard * len(block)), operands, indices)

    return ring_sum(contribution, features, operands, indices, setting.axis_name)


def _first_row(features: jax.Array, setting: Setting) -> jax.Array:
    return lax.axis_index(setting.axis_name) * len(features)
