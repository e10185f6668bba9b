"""`gfa_jax.aggregate` over many devices: pmap on one host, shard_map on any mesh.

Both doors cut the rows into equal shares, map `score_shard` and `advance_shard` over
them, and hand back what `gfa_jax.aggregate` gives on one device.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gfa_jax import numerics
from gfa_jax.affinity import given_edges
from gfa_jax.aggregation import run_steps
from gfa_jax.sharding import layout
from gfa_jax.sharding.exchange import Exchange, resolve_exchange
from gfa_jax.sharding.shard_update import Setting, advance_shard, score_shard
from gfa_jax.types import (
    DEFAULT,
    Aggregation,
    Array,
    Neighbors,
    Options,
    Params,
    check_arguments,
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
    memory_limit: int | None = None,
    progress: Callable | None = None,
) -> Aggregation:
    """Pulls every feature towards its neighbours, the rows spread over a mesh.

    The equations, the result and the gradients are those of `gfa_jax.aggregate`;
    through a ring the gradient is in reverse mode only. Every process of
    `jax.distributed` calls this with the same arguments.

    Args:
        features: [N, D] floating rows of unit length, or [P ⌈N/P⌉, D] as
            `shard_rows` places them.
        neighbors: candidates with as many rows as `features`; padding has -1.
        params: see `gfa_jax.aggregate`.
        mesh: the devices.
        axis_name: the axis of the mesh, of P devices, that the rows are spread over.
        num_steps: T >= 0, the number of updates.
        weights: see `gfa_jax.aggregate`; as many rows as `features`.
        options: see `gfa_jax.Options`.
        num_rows: N, where `features` hold the padding of `shard_rows`.
        exchange: "gather" to have the whole pool on every device during an update,
            "ring" to have one arriving block after the other; by default as
            `choose_exchange` says.
        memory_limit: bytes that an update may take on a device, for that choice;
            8 GiB by default.
        progress: see `gfa_jax.aggregate`.

    Returns:
        Aggregation with as many rows as `features`. They stay spread over the axis
        where P divides their number; otherwise the padding is cut off, which puts
        all rows on every device: for pools that no device can hold, give
        `shard_rows` and `num_rows`.

    Raises:
        ValueError: what `gfa_jax.aggregate` refuses; an axis that the mesh lacks; zero
            rows on a device.

    Cost a device and a step: (P − 1)/P N D elements over the links either way.
    Gathered, N K D / P multiply-adds (twice that when edges are rescored); in a
    ring, up to P times as many, since each of the P blocks is read at the places of
    all candidates. Memory: `exchange_memory`.
    """
    shards = _shards(features, mesh, axis_name, num_rows)
    return _aggregate(
        layout.map_on_mesh,
        shards,
        features,
        neighbors,
        params,
        num_steps=num_steps,
        weights=weights,
        exchange=exchange,
        memory_limit=memory_limit,
        options=options,
        progress=progress,
    )


def aggregate_pmap(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None = None,
    options: Options = DEFAULT,
    devices: Sequence[layout.Device] | int | None = None,
    axis_name: str = "rows",
    exchange: Exchange | None = None,
    memory_limit: int | None = None,
    progress: Callable | None = None,
) -> Aggregation:
    """Pulls every feature towards its neighbours, on the devices of one host.

    The result and the gradients are those of `gfa_jax.aggregate`; `jax.pmap` runs the
    same per-shard function as `aggregate`, whose costs hold.

    Args:
        features: [N, D] floating rows of unit length.
        neighbors: [N, K] candidates.
        params: see `gfa_jax.aggregate`.
        num_steps: T >= 0, the number of updates.
        weights: see `gfa_jax.aggregate`.
        options: see `gfa_jax.Options`.
        devices: the devices, or how many; all of this host by default.
        axis_name: name of the mapped axis.
        exchange: see `aggregate`.
        memory_limit: see `aggregate`.
        progress: see `gfa_jax.aggregate`.

    Returns:
        Aggregation: features [N, D], residual [T], degree [N].

    Raises:
        ValueError: what `gfa_jax.aggregate` refuses; more devices asked than there are;
            zero rows on a device.
    """
    mesh = layout.pmap_mesh(devices, axis_name=axis_name)
    shards = _shards(features, mesh, axis_name, None)
    return _aggregate(
        layout.map_on_devices,
        shards,
        features,
        neighbors,
        params,
        num_steps=num_steps,
        weights=weights,
        exchange=exchange,
        memory_limit=memory_limit,
        options=options,
        progress=progress,
    )


def _shards(features, mesh, axis_name, num_rows) -> layout.Shards:
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}; expected [N, D]")
    return layout.make_shards(
        mesh, axis_name, given_rows=len(features), num_rows=num_rows
    )


def _aggregate(
    map_over: Callable,
    shards: layout.Shards,
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None,
    exchange: Exchange | None,
    memory_limit: int | None,
    options: Options,
    progress: Callable | None,
) -> Aggregation:
    """Runs the stages of `gfa_jax.aggregate`, each mapped over the shards."""
    check_arguments(
        features,
        neighbors,
        params,
        num_steps=num_steps,
        weights=weights,
    )
    rows = numerics.to_compute_dtype(layout.place(features, shards, 0))
    indices = layout.place(neighbors.indices, shards, -1).astype(jnp.int32)
    params = Params(*(jnp.asarray(x, rows.dtype) for x in params))
    setting = Setting(
        axis_name=shards.axis_name,
        num_rows=shards.num_rows,
        exchange=resolve_exchange(
            exchange,
            features_shape=rows.shape,
            k=indices.shape[1],
            num_devices=shards.num_shards,
            dtype=rows.dtype,
            memory_limit=memory_limit,
        ),
        options=options,
    )
    score, advance = stages(map_over, shards.mesh, setting)
    if weights is not None:
        weights = layout.place(weights, shards, 0).astype(rows.dtype)
        edges = given_edges(weights, indices)
    else:
        edges = score(rows, indices, params) if options.graph == "fixed" else None
    state, residual = run_steps(
        advance, rows, (indices, params, edges), num_steps, progress=progress
    )
    refined, degree = jax.tree.map(
        lambda x: layout.without_padding(x, shards, len(features)), state
    )
    return Aggregation(refined, residual, degree)


# Mapped anew, a function would be compiled anew.
@functools.lru_cache(maxsize=64)
def stages(
    map_over: Callable, mesh: Mesh, setting: Setting
) -> tuple[Callable, Callable]:
    """Maps the per-shard functions: scoring, and the steps."""
    rows, same = True, False
    options = {"mesh": mesh, "axis_name": setting.axis_name}
    score = functools.partial(score_shard, setting=setting)
    advance = functools.partial(advance_shard, setting=setting)
    return (
        map_over(score, (rows, rows, same), rows, **options),
        map_over(advance, (rows, same, rows, same, rows), (rows, same), **options),
    )
