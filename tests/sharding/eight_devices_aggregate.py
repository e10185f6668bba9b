"""Many devices refine as one does. Run by `test_eight_devices.py`, on eight."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import gfa_jax as gfa
from gfa_jax import sharding
from gfa_jax.sharding.exchange import EXCHANGES
from tests.problems import as_neighbors, clustered_features, recorded, refused
from tests.sharding.meshes import DOORS, PARAMS, TOLERANCE, mesh, on_mesh


@pytest.fixture
def problem(rng):
    """61 rows, so that eight devices do not divide them; some slots are empty."""
    features = clustered_features(rng, num_rows=61, dim=8)
    indices = np.stack([rng.permutation(61)[:7] for _ in range(61)])
    indices[:, 0] = np.arange(61)
    indices[rng.random(indices.shape) < 0.2] = -1
    return features, as_neighbors(indices), PARAMS


@pytest.mark.parametrize(
    ("door", "exchange"),
    [("shard_map", "gather"), ("shard_map", "ring"), ("pmap", "ring")],
)
@pytest.mark.parametrize(
    "options",
    [
        gfa.Options(),
        gfa.PAPER,
        gfa.Options(mask="soft", include_self=False, renormalize=False),
        gfa.Options(mask="soft", graph="rescore", include_self=False, block_size=3),
    ],
)
def test_equals_one_device(problem, door, exchange, options):
    want = gfa.aggregate(*problem, num_steps=3, options=options)
    got = DOORS[door](*problem, num_steps=3, exchange=exchange, options=options)
    assert got.features.dtype == want.features.dtype
    chex.assert_trees_all_close(got, want, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_weights_given_equal_one_device(problem, rng, door, exchange):
    shape = problem[1].indices.shape
    weights = rng.random(shape).astype(problem[0].dtype) * (rng.random(shape) < 0.7)

    def run(aggregate, weights):
        return aggregate(*problem, num_steps=3, weights=weights)

    def gradient(aggregate):
        target = np.cos(np.arange(problem[0].size)).reshape(problem[0].shape)
        return jax.grad(lambda w: jnp.vdot(run(aggregate, w).features, target))(
            jnp.asarray(weights + 0.1)
        )

    mapped = functools.partial(DOORS[door], exchange=exchange)
    chex.assert_trees_all_close(
        run(mapped, weights), run(gfa.aggregate, weights), rtol=0, atol=TOLERANCE
    )
    chex.assert_trees_all_close(
        gradient(mapped), gradient(gfa.aggregate), rtol=0, atol=10 * TOLERANCE
    )


@pytest.mark.parametrize("num_devices", [1, 3])
def test_any_number_of_devices(problem, num_devices):
    want = gfa.aggregate(*problem, num_steps=2)
    got = on_mesh(num_devices)(*problem, num_steps=2, exchange="ring")
    chex.assert_trees_all_close(got, want, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("door", "graph", "exchange"),
    [
        ("shard_map", "rescore", "gather"),
        ("shard_map", "fixed", "ring"),
        ("pmap", "rescore", "ring"),
        ("pmap", "fixed", "gather"),
    ],
)
def test_gradients_equal_those_of_one_device(problem, rng, door, graph, exchange):
    features, neighbors, _ = problem
    target = rng.standard_normal(features.shape).astype(features.dtype)

    def gradient(aggregate):
        def loss(features, params):
            result = aggregate(
                features,
                neighbors,
                params,
                num_steps=2,
                options=gfa.Options(mask="soft", graph=graph),
            )
            return jnp.vdot(result.features, target) + jnp.sum(result.residual)

        return jax.grad(loss, argnums=(0, 1))(jnp.asarray(features), PARAMS)

    got = gradient(functools.partial(DOORS[door], exchange=exchange))
    want = gradient(gfa.aggregate)
    # A gradient in the parameters adds up 61 rows: relative, where it is above 1.
    chex.assert_trees_all_close(got, want, rtol=TOLERANCE * 10, atol=TOLERANCE * 10)


def test_forward_mode_through_the_gathered_form(problem):
    def jacobian(aggregate):
        def refined(params):
            soft = gfa.Options(mask="soft")
            return aggregate(*problem[:2], params, num_steps=2, options=soft).features

        return jax.jvp(refined, (PARAMS,), (gfa.Params(1.0, 1.0, 1.0, 1.0),))

    got = jacobian(functools.partial(on_mesh(), exchange="gather"))
    chex.assert_trees_all_close(got, jacobian(gfa.aggregate), atol=10 * TOLERANCE)


def test_pmap_on_some_devices(problem):
    devices = jax.devices()[-2:]
    want = gfa.aggregate(*problem, num_steps=2)
    got = sharding.aggregate_pmap(*problem, num_steps=2, devices=devices)
    chex.assert_trees_all_close(got, want, rtol=0, atol=TOLERANCE)


def test_half_precision_is_computed_in_float32(problem):
    features, *rest = problem
    features = jnp.asarray(features, jnp.bfloat16)
    got = on_mesh()(features, *rest, num_steps=2)
    want = gfa.aggregate(features, *rest, num_steps=2)
    assert got.features.dtype == jnp.float32
    chex.assert_trees_all_close(got, want, rtol=0, atol=1e-6)


def test_inside_jit_with_progress_and_again(problem):
    run = functools.partial(on_mesh(), num_steps=3, exchange="ring")
    want = run(*problem)
    calls, progress = recorded()
    stepped = run(*problem, progress=progress)
    chex.assert_trees_all_close(stepped, want, rtol=0, atol=TOLERANCE)
    assert calls == [(3, "updates")]
    chex.assert_trees_all_close(jax.jit(run)(*problem), want, rtol=0, atol=TOLERANCE)
    chex.assert_trees_all_equal(run(*problem), want)


def test_rows_placed_beforehand_stay_spread(problem):
    features, neighbors, _ = problem
    spread = functools.partial(sharding.shard_rows, mesh=mesh(), axis_name="rows")
    placed = spread(features)
    assert placed.shape == (64, 8)
    assert {s.data.shape for s in placed.addressable_shards} == {(8, 8)}
    found = gfa.Neighbors(
        spread(neighbors.indices, fill=-1), spread(neighbors.similarity)
    )
    for exchange in EXCHANGES:
        got = on_mesh()(
            placed, found, PARAMS, num_steps=2, num_rows=61, exchange=exchange
        )
        want = gfa.aggregate(*problem, num_steps=2)
        assert {s.data.shape for s in got.features.addressable_shards} == {(8, 8)}
        np.testing.assert_array_equal(got.features[61:], 0)
        np.testing.assert_array_equal(got.degree[61:], 0)
        got = got._replace(features=got.features[:61], degree=got.degree[:61])
        chex.assert_trees_all_close(got, want, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_one_axis_of_a_larger_mesh(problem, axis_type):
    grid = jax.make_mesh((2, 4), ("copies", "rows"), axis_types=(axis_type,) * 2)
    got = sharding.aggregate(
        *problem, num_steps=2, mesh=grid, axis_name="rows", exchange="ring"
    )
    want = gfa.aggregate(*problem, num_steps=2)
    chex.assert_trees_all_close(got, want, rtol=0, atol=TOLERANCE)


# --- bad input ------------------------------------------------------------------------


def test_bad_devices_are_refused(problem):
    few = [x[:9] for x in (problem[0], problem[1].indices)]
    few = few[0], as_neighbors(few[1]), PARAMS
    steps = {"num_steps": 1}
    refused("9 devices asked; expected 1 to 8", sharding.row_mesh, 9)
    refused("0 devices asked; expected 1 to 8", sharding.row_mesh, 0)
    pmap = sharding.aggregate_pmap
    refused("9 devices asked", pmap, *problem, devices=9, **steps)
    refused("devices is empty", pmap, *problem, devices=[], **steps)
    zero = "9 rows over 8 devices leave device 5 with zero rows; expected at most 5"
    refused(zero, pmap, *few, **steps)
    refused(zero, on_mesh(), *few, **steps)
    search = functools.partial(sharding.exact_neighbors, k=2)
    refused(zero, search, few[0], mesh=mesh(), axis_name="rows")
    refused(
        "axis_name is 'x'; expected one of rows",
        search,
        few[0],
        mesh=mesh(),
        axis_name="x",
    )


def test_bad_options_are_refused(problem):
    run = functools.partial(on_mesh(), *problem[:2])
    refused("exchange is 'x'; expected one of", run, PARAMS, num_steps=1, exchange="x")
    refused("num_steps is -1", run, PARAMS, num_steps=-1)
    refused("gamma is 2", run, gfa.Params(2.0, 0.5), num_steps=1)
    refused(
        "61 rows with num_rows=57; expected 57, or 64",
        run,
        PARAMS,
        num_steps=1,
        num_rows=57,
    )
    search = functools.partial(sharding.exact_neighbors, mesh=mesh(), axis_name="rows")
    refused("k is 61 with 61 rows", search, problem[0], k=61)
    refused("expected a floating dtype", search, np.ones((61, 2), int), k=4)
