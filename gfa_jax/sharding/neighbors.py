"""`gfa_jax.exact_neighbors` over many devices: the same ids, the rows spread."""

import functools
from collections.abc import Callable

import jax
from jax.core import Tracer
from jax.sharding import Mesh

from gfa_jax import numerics
from gfa_jax.checks import check_search
from gfa_jax.sharding import layout, processes, shard_search
from gfa_jax.sharding.shard_search import Setting
from gfa_jax.types import Array, Neighbors, track


def exact_neighbors(
    features: Array,
    *,
    k: int,
    mesh: Mesh,
    axis_name: str,
    num_rows: int | None = None,
    tile_size: int | None = None,
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product with each row, on a mesh.

        KNN_i = the K largest of A_ij = F_i · F_j over j      (paper, Eq. 5 and 6)

    Args:
        features: the rows, mesh, axis_name and num_rows as for
            `gfa_jax.sharding.aggregate`; k and the others as for
            `gfa_jax.exact_neighbors`.
        progress: goes round the P // 2 ring steps.

    Returns:
        Neighbors with as many rows as `features`, the ids of `gfa_jax.exact_neighbors`,
        spread over the axis where P divides their number.

    Raises:
        ValueError: k outside [1, N), shapes that do not fit, zero rows on a device.

    Cost a device: N² D / (2 P) multiply-adds, and N² D / (2 P²) more where P is even;
    N D / 2 elements of blocks and N K of lists over the link to the next device.
    Memory: three blocks of N D / P, the lists of 2 K N / P twice, each carried
    twice, and a [tile, tile] block.
    """
    where = layout.layout_of(features, mesh, axis_name, num_rows)
    check = functools.partial(check_search, k=k, num_rows=where.num_rows)
    processes.check_own(where, check, features)
    rows = numerics.to_compute_dtype(where.place(features))
    setting = Setting(axis_name, where.num_rows, k, tile_size)
    begin, ring_step, end = stages(where.mesh, setting)
    state = begin(rows)
    hops = range(where.num_shards // 2 if k > 1 else 0)
    for hop in track(progress, hops, desc="neighbors"):
        state = ring_step(rows, state, hop + 1)
        if not isinstance(state.features, Tracer):
            # Block so that the progress is real and Ctrl-C acts.
            jax.block_until_ready(state)
    return where.without_padding(end(rows, state), len(features))


# Mapped anew, a function would be compiled anew.
@functools.lru_cache(maxsize=32)
def stages(mesh: Mesh, setting: Setting) -> tuple[Callable, ...]:
    """Maps the three per-shard parts of the search."""
    rows, same = True, False

    def mapped(function, *inputs):
        return layout.map_on_mesh(
            functools.partial(function, setting=setting),
            inputs,
            rows,
            mesh=mesh,
            axis_name=setting.axis_name,
        )

    return (
        mapped(shard_search.begin, rows),
        mapped(shard_search.ring_step, rows, rows, same),
        mapped(shard_search.end, rows, rows),
    )
