"""`gfa_jax.aggregate` over many devices: pmap on one host, shard_map on any mesh.

Both cut the rows into equal shares, map `score_shard` and `advance_shard` over them,
and hand back what `gfa_jax.aggregate` gives on one device.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gfa_jax import numerics
from gfa_jax.affinity import given_edges
from gfa_jax.aggregation import run_steps
from gfa_jax.checks import check_kind, check_update
from gfa_jax.sharding import layout, processes
from gfa_jax.sharding.exchange import Exchange, resolve_exchange
from gfa_jax.sharding.layout import layout_of
from gfa_jax.sharding.shard_update import Setting, advance_shard, score_shard
from gfa_jax.types import (
    DEFAULT,
    Aggregation,
    Array,
    Neighbors,
    Options,
    Params,
)


def aggregate(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    mesh: Mesh,
    axis_name: str,
    num_steps: int,
    weights: Array | None = None,
    options: Options = DEFAULT,
    num_rows: int | None = None,
    exchange: Exchange | None = None,
    progress: Callable | None = None,
    map_over: Callable = layout.map_on_mesh,
) -> Aggregation:
    """Pulls every feature towards its neighbours, the rows spread over a mesh.

    The equations, the result and the gradients are those of `gfa_jax.aggregate`;
    through a ring the gradient is in reverse mode only. Every process of
    `jax.distributed` calls this with the same arguments.

    Args:
        features: [N, D], or [P ⌈N/P⌉, D] as `shard_rows` places them with `num_rows` N.
        neighbors: as many rows, padding -1; this, params, num_steps, weights, options
            and progress as for `gfa_jax.aggregate`.
        mesh: see `row_mesh`.
        axis_name: its axis that the rows are spread over.
        num_rows: N, where the features are padded.
        exchange: "gather" to have the whole pool on every device during an update,
            "ring" to have one arriving block after the other; by default as
            `choose_exchange` says.
        map_over: how a per-shard function is mapped.

    Returns:
        Aggregation of as many rows as `features`, spread over the axis where P divides
        their number; otherwise the padding is cut off, which puts all rows on every
        device: for pools that no device can hold, give `shard_rows` and `num_rows`.

    Raises:
        ValueError: what `gfa_jax.aggregate` refuses; an axis that the mesh lacks; zero
            rows on a device.

    Cost a device and a step: (P − 1)/P N D elements over the links either way.
    Gathered, N K D / P multiply-adds (twice that when edges are rescored); in a
    ring, up to P times as many, since each of the P blocks is read at the places of
    all candidates. Memory: `exchange_memory`.
    """
    where = layout_of(features, mesh, axis_name, num_rows)
    check_kind("neighbors", neighbors, Neighbors)

    def check(rows: Array, indices: Array, weights: Array | None) -> Array:
        return check_update(
            rows,
            Neighbors(indices, neighbors.similarity),
            params,
            num_steps=num_steps,
            weights=weights,
            options=options,
            num_rows=where.num_rows,
        )

    indices = processes.check_own(where, check, features, neighbors.indices, weights)
    place = where.place if len(indices) == len(features) else where.place_own
    indices = place(indices, -1)
    rows = numerics.to_compute_dtype(where.place(features))
    params = Params(*(jnp.asarray(x, rows.dtype) for x in params))
    exchange = resolve_exchange(exchange, rows, indices, where)
    score, advance = stages(
        map_over, where.mesh, Setting(axis_name, where.num_rows, exchange, options)
    )
    edges = None
    if weights is not None:
        weights = where.place(weights).astype(rows.dtype)
        edges = given_edges(weights, indices)
    elif options.graph == "fixed":
        edges = score(rows, indices, params)
    state, residual = run_steps(
        advance, rows, (indices, params, edges), num_steps, progress=progress
    )
    refined, degree = where.without_padding(state, len(features))
    return Aggregation(refined, residual, degree)


def aggregate_pmap(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    devices: Sequence[layout.Device] | int | None = None,
    **options: Any,
) -> Aggregation:
    """Pulls every feature towards its neighbours, on devices of one host by `jax.pmap`.

    Args:
        features: [N, D]; neighbors and params likewise as for
            `gfa_jax.sharding.aggregate`, as the costs are.
        devices: which, or how many; all of this host by default.
        **options: its other arguments.

    Returns:
        Aggregation.

    Raises:
        ValueError: what `aggregate` refuses; more devices asked than there are.
    """
    if devices is None or isinstance(devices, int):
        devices = layout.first_devices(jax.local_devices(), devices)
    if not len(devices):
        raise ValueError("devices is empty; expected at least one")
    return aggregate(
        features,
        neighbors,
        params,
        mesh=layout.line_mesh(devices),
        axis_name=layout.AXIS,
        map_over=layout.map_on_devices,
        **options,
    )


# Mapped anew, a function would be compiled anew.
@functools.lru_cache(maxsize=64)
def stages(
    map_over: Callable, mesh: Mesh, setting: Setting
) -> tuple[Callable, Callable]:
    """Maps the per-shard functions: scoring, and the steps."""
    rows, same = True, False
    axis = {"mesh": mesh, "axis_name": setting.axis_name}
    score = functools.partial(score_shard, setting=setting)
    advance = functools.partial(advance_shard, setting=setting)
    return (
        map_over(score, (rows, rows, same), rows, **axis),
        map_over(advance, (rows, same, rows, same, rows), (rows, same), **axis),
    )
