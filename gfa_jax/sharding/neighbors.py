"""`gfa_jax.exact_neighbors` over many devices: the same ids, the rows spread."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from gfa_jax import numerics
from gfa_jax.neighbors.exact import check_k
from gfa_jax.sharding import layout, shard_search
from gfa_jax.sharding.shard_search import Setting
from gfa_jax.types import Array, Neighbors


def exact_neighbors(
    features: Array,
    *,
    k: int,
    mesh: Mesh,
    axis_name: str,
    include_self: bool = True,
    valid: Array | None = None,
    num_rows: int | None = None,
    tile_size: int | None = None,
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product with each row, on a mesh.

    KNN_i = the K largest of A_ij = F_i · F_j over j      (paper, Eq. 5 and 6)

    Args:
        features: [N, D] floating rows, or [P ⌈N/P⌉, D] as `shard_rows` places them;
            the same in every process.
        k: number of neighbours in [1, N), the row itself counted where
            `include_self`.
        mesh: the devices.
        axis_name: the axis of the mesh, of P devices, that the rows are spread over.
        include_self: see `gfa_jax.exact_neighbors`.
        valid: bool, one for each row of `features`; see `gfa_jax.exact_neighbors`.
        num_rows: N, where `features` hold the padding of `shard_rows`.
        tile_size: rows of a tile, a multiple of 32.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the P // 2 ring steps. Not while tracing.

    Returns:
        Neighbors with as many rows as `features`, the ids of `gfa_jax.exact_neighbors`,
        spread over the axis where P divides their number. No gradient flows through
        the search.

    Raises:
        ValueError: k outside [1, N), shapes that do not fit, zero rows on a device.

    Cost a device: N² D / (2 P) multiply-adds, and N² D / (2 P²) more where P is even;
    N D / 2 elements of blocks and N K of lists over the link to the next device.
    Memory: three blocks of N D / P, the lists of 2 K N / P twice, each carried
    twice, and a [tile, tile] block.
    """
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}; expected [N, D]")
    given_rows = len(features)
    check_k(k, given_rows if num_rows is None else num_rows)
    shards = layout.make_shards(
        mesh, axis_name, given_rows=given_rows, num_rows=num_rows
    )
    valid = np.ones(given_rows, bool) if valid is None else valid
    if valid.shape != (given_rows,):
        raise ValueError(f"valid has shape {valid.shape}; expected ({given_rows},)")
    rows = (
        numerics.to_compute_dtype(layout.place(features, shards, 0)),
        layout.place(valid, shards, False),
    )
    setting = Setting(axis_name, shards.num_rows, k, include_self, tile_size)
    search, begin, ring_step, end = stages(shards.mesh, setting)
    if progress is None or not setting.others:
        found = search(*rows)
    else:
        state = begin(*rows)
        num_hops = shards.num_shards // 2
        for hops in progress(range(num_hops), total=num_hops, desc="neighbors"):
            # Block so that the progress is real and Ctrl-C acts.
            state = jax.block_until_ready(ring_step(*rows, state, hops + 1))
        found = end(*rows, state)
    return jax.tree.map(lambda x: layout.without_padding(x, shards, given_rows), found)


# Mapped anew, a function would be compiled anew.
@functools.lru_cache(maxsize=32)
def stages(mesh: Mesh, setting: Setting) -> tuple[Callable, ...]:
    """Maps the per-shard functions: the search, and its three parts."""
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
        mapped(shard_search.search, rows, rows),
        mapped(shard_search.begin, rows, rows),
        mapped(shard_search.ring_step, rows, rows, rows, same),
        mapped(shard_search.end, rows, rows, rows),
    )
