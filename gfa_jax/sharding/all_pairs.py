"""`metrics.all_pairs_roc` over many devices: each scores its share of the tiles.

The tiles go to the devices round-robin, so that each has its share of the short rows of
tiles too. What they count adds up without error: bins are sums of integers, and the
largest of all scores are the largest of the largest of each part.
"""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import jax
import numpy.typing as npt
from jax.sharding import Mesh

from gfa_jax.metrics.all_pairs import (
    AllPairs,
    Counts,
    count_tiles,
    join_counts,
    plan_pairs,
)
from gfa_jax.sharding import processes


def all_pairs_roc(
    features: Any,
    labels: npt.ArrayLike,
    *,
    mesh: Mesh,
    progress: Callable | None = None,
    **options: int,
) -> AllPairs:
    """Measures the ROC over all unordered pairs of rows, on the devices of a mesh.

    Every process of `jax.distributed` calls this with the same arguments, and has some
    devices of the mesh.

    Args:
        features: [N, D] on the host, for example a memory map of a file that all can
            read; labels and progress likewise as for `gfa_jax.metrics.all_pairs_roc`.
        mesh: see `row_mesh`.
        **options: its other arguments.

    Returns:
        AllPairs; pairs of equal score may stand in another order than on one device.

    Raises:
        ValueError: what `metrics.all_pairs_roc` refuses.

    Cost a device: N² D / (2 P) multiply-adds, and one histogram increment a pair on
    one core of its host. Memory a device: what `metrics.all_pairs_roc` needs beyond
    the features; the host also holds the pairs kept by all devices.
    """
    plan = plan_pairs(features, labels, **options)
    devices = list(mesh.devices.flat)
    own = [
        part
        for part, device in enumerate(devices)
        if device.process_index == jax.process_index()
    ]

    def count(part: int) -> Counts:
        shown = progress if part == own[0] else None
        with jax.default_device(devices[part]):
            return count_tiles(plan, part=part, num_parts=len(devices), progress=shown)

    with concurrent.futures.ThreadPoolExecutor(len(own)) as pool:
        parts = list(pool.map(count, own))
    return join_counts(plan, _of_all_processes(parts))


def _of_all_processes(parts: list[Counts]) -> list[Counts]:
    """Gathers the parts of all processes, which may be of other numbers."""
    leaves = [leaf for part in parts for leaf in jax.tree.leaves(part)]
    each = jax.tree.structure(parts[0])
    gathered = processes.gather_arrays({str(i): x for i, x in enumerate(leaves)})
    return [
        jax.tree.unflatten(each, [own[str(i + j)] for j in range(each.num_leaves)])
        for own in gathered
        for i in range(0, len(own), each.num_leaves)
    ]
