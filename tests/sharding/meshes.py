"""Meshes of the eight devices, and both doors of `aggregate` on them."""

import functools

from jax.sharding import Mesh

import gfa_jax as gfa
from gfa_jax import sharding
from tests.conftest import X64

# The sums over shards run in another order: rounding, 2⁻²⁴ a sum in float32.
TOLERANCE = 1e-12 if X64 else 1e-6
PARAMS = gfa.Params(0.6, 0.4, 0.1, 2.5)


@functools.cache
def mesh(num_devices: int = 8) -> Mesh:
    return sharding.row_mesh(num_devices)


def on_mesh(num_devices: int = 8):
    return functools.partial(
        sharding.aggregate, mesh=mesh(num_devices), axis_name="rows"
    )


DOORS = {"shard_map": on_mesh(), "pmap": sharding.aggregate_pmap}
