"""`gfa_jax.cluster` over many devices: a forest each, and the union of the forests.

At every threshold a minimum spanning forest has the components of the graph it spans,
and the components of a union of graphs are those of the union of their forests. A
shard therefore hands on only the edges of its forest, and their union gives the
clusters of `gfa_jax.cluster`, also where large ones are cut (`split_large`):
the forests keep the similarity at which any two rows are connected.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gfa_jax import numerics
from gfa_jax.affinity import affinity
from gfa_jax.blocks import gather_rows, map_neighborhoods
from gfa_jax.clustering.clusters import (
    Clusters,
    agreement,
    check_options,
    number_clusters,
    reachable,
)
from gfa_jax.clustering.components import connected, split_large
from gfa_jax.sharding import layout, processes
from gfa_jax.sharding.exchange import Exchange, resolve_exchange
from gfa_jax.sharding.shard_update import Setting, sum_over_pools
from gfa_jax.types import DEFAULT, Array, Neighbors


def cluster(
    features: Array,
    neighbors: Neighbors,
    *,
    threshold: float,
    mesh: Mesh,
    axis_name: str,
    num_rows: int | None = None,
    min_size: int = 1,
    max_size: int | None = None,
    exchange: Exchange | None = None,
    memory_limit: int | None = None,
) -> Clusters:
    """Clusters rows that are spread over a mesh by their similar pairs.

    y_i = y_j  ⟺  a path of pairs with S >= t_s leads from i to j  (paper, section 3.4)

    Args:
        features: [N, D] floating rows of unit length, or [P ⌈N/P⌉, D] as
            `shard_rows` places them.
        neighbors: candidates with as many rows as `features`; padding has -1.
        threshold: t_s in [−1, 1]; see `gfa_jax.cluster`.
        mesh: the devices.
        axis_name: the axis of the mesh that the rows are spread over.
        num_rows: N, where `features` hold the padding of `shard_rows`.
        min_size: see `gfa_jax.cluster`.
        max_size: see `gfa_jax.cluster`.
        exchange: see `aggregate`.
        memory_limit: see `aggregate`.

    Returns:
        Clusters of all N rows, the same in every process: what `gfa_jax.cluster`
        returns with single linkage, but for pairs within rounding of t_s.

    Raises:
        ValueError: what `gfa_jax.cluster` refuses; zero rows on a device.

    Cost a device: N K D / P multiply-adds, in a ring up to P times as many; on the
    host O(n K log(n K)) for the forest of each shard of n rows, then O(N K') for their
    union, K' <= K the most edges that a row keeps. Memory: n K cosines and edges a
    shard; in every process the union, about 20 bytes for each of N K' slots.
    """
    check_options(threshold=threshold, min_size=min_size, max_size=max_size)
    if features.ndim != 2 or neighbors.indices.ndim != 2:
        raise ValueError(
            f"features {features.shape} and neighbors.indices "
            f"{neighbors.indices.shape} do not fit; expected [N, D] and [N, K]"
        )
    shards = layout.make_shards(
        mesh, axis_name, given_rows=len(features), num_rows=num_rows
    )
    rows = numerics.to_compute_dtype(layout.place(features, shards, 0))
    candidates = layout.place(neighbors.indices, shards, -1).astype(jnp.int32)
    take = functools.partial(
        processes.take_own_rows,
        mesh=mesh,
        axis_name=axis_name,
        num_rows=shards.num_rows,
    )
    _check_rows(take(rows))
    similarity = take(
        score_candidates(
            rows,
            candidates,
            mesh=mesh,
            axis_name=axis_name,
            num_rows=shards.num_rows,
            exchange=exchange,
            memory_limit=memory_limit,
        )
    )
    indices = take(candidates)
    first = processes.own_rows(
        mesh=mesh, axis_name=axis_name, num_rows=shards.num_rows
    ).start
    number = first + np.arange(len(indices))
    is_other = (indices >= 0) & (indices != number[:, None])
    survives = is_other & (similarity >= reachable(threshold, similarity.dtype))
    components = _unite(
        indices,
        similarity,
        _forests(indices, similarity, survives, first, shards),
        max_size=max_size,
    )
    labels, sizes = number_clusters(components, min_size=min_size)
    confidence = agreement(labels, labels[number], sizes, indices, is_other, similarity)
    gathered = processes.gather_arrays({"confidence": confidence})
    return Clusters(labels, sizes, np.concatenate([x["confidence"] for x in gathered]))


def score_candidates(
    features: Array,
    indices: Array,
    *,
    mesh: Mesh,
    axis_name: str,
    num_rows: int | None = None,
    exchange: Exchange | None = None,
    memory_limit: int | None = None,
) -> jax.Array:
    """Evaluates the cosine of every row with each of its candidates (Eq. 5).

    Rows, candidates and options as for `cluster`. Returns [P ⌈N/P⌉, K] floating
    cosines, 0 in an empty slot, spread over the mesh. N K D / P multiply-adds a device,
    in a ring up to P times as many.

    Args:
        features: see `cluster`.
        indices: [N, K] candidates.
        mesh: see `cluster`.
        axis_name: see `cluster`.
        num_rows: see `cluster`.
        exchange: see `cluster`.
        memory_limit: see `cluster`.

    Returns:
        [P ⌈N/P⌉, K] cosines.
    """
    shards = layout.make_shards(
        mesh, axis_name, given_rows=len(features), num_rows=num_rows
    )
    rows = numerics.to_compute_dtype(layout.place(features, shards, 0))
    candidates = layout.place(indices, shards, -1).astype(jnp.int32)
    setting = Setting(
        axis_name,
        shards.num_rows,
        resolve_exchange(
            exchange,
            features_shape=rows.shape,
            k=candidates.shape[1],
            num_devices=shards.num_shards,
            dtype=rows.dtype,
            memory_limit=memory_limit,
        ),
        DEFAULT,
    )
    return _similarity(shards.mesh, setting)(rows, candidates)


def _check_rows(own: np.ndarray) -> None:
    """Refuses rows that are not of unit length, in every process where in one."""
    error = None
    try:
        numerics.check_unit_rows(own)
    except ValueError as raised:
        error = str(raised)
    processes.collective_errors(error)


# Mapped anew, a function would be compiled anew.
@functools.lru_cache(maxsize=32)
def _similarity(mesh: Mesh, setting: Setting) -> Callable:
    """Maps the cosines of every row with each of its candidates, [N, K]; Eq. 5."""

    def similarity_in(pool, features, indices):
        def score_row(_, feature, candidates):
            places = pool.places(candidates)
            cosines = affinity(feature, gather_rows(pool.features, places))
            return jnp.where(places >= 0, cosines, 0)

        return map_neighborhoods(score_row, features, indices)

    def similarity(features: jax.Array, indices: jax.Array) -> jax.Array:
        return sum_over_pools(similarity_in, features, features, indices, setting)

    return layout.map_on_mesh(
        similarity, (True, True), True, mesh=mesh, axis_name=setting.axis_name
    )


def _forests(
    indices: np.ndarray,
    similarity: np.ndarray,
    survives: np.ndarray,
    first_row: int,
    shards: layout.Shards,
) -> np.ndarray:
    """Marks the edges that a forest of each shard keeps: [n, K] bool."""
    kept = np.zeros_like(survives)
    for start in range(0, len(indices), shards.size):
        rows = slice(start, start + shards.size)
        kept[rows] = _forest(
            indices[rows],
            similarity[rows],
            survives[rows],
            first_row + start,
        )
    return kept


def _forest(
    indices: np.ndarray, similarity: np.ndarray, survives: np.ndarray, first_row: int
) -> np.ndarray:
    """Marks the edges of a minimum spanning forest of one shard: [n, K] bool."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    number, slot = np.nonzero(survives)
    # Only rows with an edge take part: the forest must not grow with N.
    nodes, ends = np.unique(
        np.stack([first_row + number, indices[number, slot]]), return_inverse=True
    )
    sources, targets = ends.reshape(2, -1)
    # A weight of zero would mean no edge, and S reaches 1 but not 2.
    levels = 2 - similarity[number, slot].astype(np.float64)
    graph = csr_array((levels, (sources, targets)), shape=(len(nodes),) * 2)
    tree = minimum_spanning_tree(graph).tocoo()
    in_tree = np.isin(
        sources.astype(np.int64) * len(nodes) + targets,
        tree.row.astype(np.int64) * len(nodes) + tree.col,
    )
    kept = np.zeros_like(survives)
    kept[number, slot] = in_tree
    return kept


def _unite(
    indices: np.ndarray,
    similarity: np.ndarray,
    kept: np.ndarray,
    *,
    max_size: int | None,
) -> np.ndarray:
    """Unites the forests of all processes: [N] component of each row."""
    width = np.array([np.count_nonzero(kept, axis=1).max(initial=1)], np.int32)
    width = int(processes.gather_blocks(width).max())
    # The slots that stay move to the front, so that few columns travel.
    front = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    kept = np.take_along_axis(kept, front, axis=1)
    edges = processes.gather_arrays(
        {
            "indices": np.where(kept, np.take_along_axis(indices, front, axis=1), -1),
            "similarity": np.take_along_axis(similarity, front, axis=1),
        }
    )
    indices, similarity = (
        np.concatenate([part[name] for part in edges])
        for name in ("indices", "similarity")
    )
    survives = indices >= 0
    components = connected(indices, survives)
    if max_size is None:
        return components
    return split_large(components, indices, similarity, survives, max_size=max_size)
