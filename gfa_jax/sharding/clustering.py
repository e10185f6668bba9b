"""`gfa_jax.cluster` over many devices: each scores the candidates of its own rows.

The features, N D, stay where they are; ids and cosines of the candidates, N K, which
one host holds for as many rows as it can cluster, go to every process.
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
from gfa_jax.checks import check_kind, check_neighbors, check_rows, row_numbers
from gfa_jax.clustering.clusters import (
    Clusters,
    check_options,
    cluster_scored,
)
from gfa_jax.sharding import layout, processes
from gfa_jax.sharding.exchange import Exchange, resolve_exchange
from gfa_jax.sharding.shard_update import Setting, sum_over_pools
from gfa_jax.types import Array, Neighbors


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
) -> Clusters:
    """Clusters rows that are spread over a mesh by their similar pairs.

        y_i = y_j  ⟺  a path of pairs with S >= t_s leads from i to j  (section 3.4)

    Args:
        features: [N, D], or P ⌈N/P⌉ rows as `shard_rows` places them with `num_rows` N;
            mesh, axis_name, num_rows and exchange as for `gfa_jax.sharding.aggregate`.
        neighbors: as many rows; threshold and sizes as for `gfa_jax.cluster`.

    Returns:
        Clusters of all N rows, the same in every process: what `gfa_jax.cluster` gives
        of components, but for pairs within rounding of t_s.

    Raises:
        ValueError: what `gfa_jax.cluster` refuses; zero rows on a device.

    Cost a device: that of `score_candidates`; then, in every process, O(N K) time and
    about 50 bytes a candidate, as on one device.
    """
    check_options(threshold=threshold, min_size=min_size, max_size=max_size)
    shape = (len(features) if num_rows is None else num_rows, *features.shape[1:])
    where = layout.Layout(mesh, axis_name, shape[0])

    def of_all(rows: Array) -> np.ndarray:
        return processes.join_rows(where.take_own(rows))

    check_kind("neighbors", neighbors, Neighbors)
    gathered = Neighbors(of_all(neighbors.indices), neighbors.similarity)
    outline = jax.ShapeDtypeStruct(shape, features.dtype)
    indices = np.asarray(check_neighbors(outline, gathered))
    processes.check_own(where, check_rows, features)
    similarity = score_candidates(
        features, neighbors.indices, exchange=exchange, **where.arguments
    )
    return cluster_scored(
        indices,
        of_all(similarity),
        threshold=threshold,
        min_size=min_size,
        max_size=max_size,
    )


def score_candidates(
    features: Array,
    indices: Array,
    *,
    mesh: Mesh,
    axis_name: str,
    num_rows: int | None = None,
    exchange: Exchange | None = None,
) -> jax.Array:
    """Evaluates the cosine of every row with each of its candidates (Eq. 5).

    Args:
        features: the rows; this and the others as for `gfa_jax.sharding.cluster`.
        indices: [N, K] candidates.

    Returns:
        [P ⌈N/P⌉, K] floating cosines, 0 in an empty slot, spread over the mesh.

    Cost a device: N K D / P multiply-adds, in a ring up to P times as many.
    """
    where = layout.layout_of(features, mesh, axis_name, num_rows)
    rows = numerics.to_compute_dtype(where.place(features))
    check = functools.partial(row_numbers, num_rows=where.num_rows, name="indices")
    processes.check_own(where, check, indices)
    candidates = where.place(indices, -1).astype(jnp.int32)
    exchange = resolve_exchange(exchange, rows, candidates, where)
    setting = Setting(axis_name, where.num_rows, exchange)
    return _similarity(where.mesh, setting)(rows, candidates)


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
