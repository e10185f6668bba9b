"""Many devices find what one finds. Run by `test_eight_devices.py`, on eight."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import gfa_jax as gfa
from gfa_jax import sharding
from tests import oracle
from tests.problems import clustered_features, quantised_features, recorded
from tests.sharding.meshes import mesh


@pytest.mark.parametrize(
    ("num_rows", "num_devices"),
    [(61, 8), (61, 2), (61, 1), (150, 3)],
)
def test_neighbors_equal_the_oracle_with_ties(rng, num_rows, num_devices):
    features = quantised_features(rng, num_rows=num_rows, dim=3)
    got = sharding.exact_neighbors(
        features, k=12, mesh=mesh(num_devices), axis_name="rows", tile_size=32
    )
    want = oracle.exact_neighbors(features, 12)
    assert got.indices.dtype == jnp.int32
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_array_equal(got.similarity, want.similarity)


def test_the_smallest_k_is_the_row_itself(rng):
    features = clustered_features(rng, num_rows=61, dim=8)
    got = sharding.exact_neighbors(features, k=1, mesh=mesh(), axis_name="rows")
    np.testing.assert_array_equal(got.indices[:, 0], np.arange(61))


@pytest.mark.parametrize("num_devices", [3, 4])
def test_progress_goes_round_the_hops_and_changes_no_bit(rng, num_devices):
    features = clustered_features(rng, num_rows=61, dim=8)
    calls, progress = recorded()
    search = functools.partial(
        sharding.exact_neighbors,
        features,
        k=5,
        mesh=mesh(num_devices),
        axis_name="rows",
    )
    chex.assert_trees_all_equal(search(progress=progress), search())
    assert calls == [(num_devices // 2, "neighbors")]


def test_neighbors_of_rows_placed_beforehand(rng):
    features = clustered_features(rng, num_rows=61, dim=8)
    placed = sharding.shard_rows(features, mesh=mesh(), axis_name="rows")
    got = sharding.exact_neighbors(
        placed, k=5, mesh=mesh(), axis_name="rows", num_rows=61
    )
    np.testing.assert_array_equal(
        got.indices[:61], gfa.exact_neighbors(features, k=5).indices
    )
    np.testing.assert_array_equal(got.indices[61:], -1)


def test_the_search_holds_no_pool_on_a_device():
    num_rows, dim = 8192, 64
    rows = NamedSharding(mesh(), PartitionSpec("rows"))
    features = jax.ShapeDtypeStruct((num_rows, dim), jnp.float32, sharding=rows)
    run = functools.partial(
        sharding.exact_neighbors,
        k=4,
        mesh=mesh(),
        axis_name="rows",
        tile_size=256,
    )
    analysis = jax.jit(run).lower(features).compile().memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes < num_rows * dim * 4
