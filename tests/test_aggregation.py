"""`aggregate` against the dense oracle, and the properties that the method has."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.test_util import check_grads

import gfa_jax as gfa
from gfa_jax import Options
from gfa_jax.types import GRAPHS, MASKS, WEIGHTINGS
from tests import oracle
from tests.conftest import X64
from tests.problems import (
    TOLERANCE,
    as_neighbors,
    clustered_features,
    gathered,
    recorded,
)

OPTIONS = st.fixed_dictionaries(
    {
        "mask": st.sampled_from(MASKS),
        "weighting": st.sampled_from(WEIGHTINGS),
        "graph": st.sampled_from(GRAPHS),
        "include_self": st.booleans(),
        "renormalize": st.booleans(),
        "num_steps": st.integers(0, 4),
        "weights": st.none() | st.integers(0, 2**32 - 1),
    }
)


def random_candidates(rng, num_rows, k):
    """Any rows, themselves among them or not, some slots empty."""
    indices = np.stack([rng.permutation(num_rows)[:k] for _ in range(num_rows)])
    return np.where(rng.random(indices.shape) < 0.2, -1, indices)


def random_weights(rng, indices):
    """A weight in each slot, the empty ones too; some are 0."""
    weights = rng.random(indices.shape).astype(np.float64 if X64 else np.float32)
    return np.where(rng.random(indices.shape) < 0.3, 0, weights)


def run(features, neighbors, *params, num_steps, **options):
    """Aggregates with gamma, threshold, ... and the options one by one."""
    return gfa.aggregate(
        features,
        neighbors,
        gfa.Params(*params),
        num_steps=num_steps,
        options=Options(**options),
    )


@hypothesis.settings(max_examples=80)
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(3, 40),
    dim=st.integers(2, 12),
    params=st.tuples(
        st.floats(0, 1), st.floats(-0.9, 0.9), st.floats(0.02, 1), st.floats(0.5, 4)
    ),
    block_size=st.sampled_from([None, 1, 7, 64]),
    options=OPTIONS,
)
def test_equals_the_dense_oracle(seed, num_rows, dim, params, block_size, options):
    rng = np.random.default_rng(seed)
    features = clustered_features(rng, num_rows=num_rows, dim=dim)
    indices = random_candidates(rng, num_rows, k=rng.integers(1, num_rows))
    if options["weights"] is not None:
        options |= {"weights": random_weights(rng, indices)}
    expected = oracle.aggregate(features, indices, *params, **options)
    result = gfa.aggregate(
        features,
        as_neighbors(indices),
        gfa.Params(*params),
        **gathered(options | {"block_size": block_size}),
    )
    assert result.features.dtype == features.dtype
    if options["num_steps"] == 0:
        expected = expected._replace(degree=np.zeros(num_rows))
    for got, want in zip(result, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)


def test_gradients_in_the_weights_given(rng):
    features = jnp.asarray(clustered_features(rng, num_rows=12, dim=4))
    indices = random_candidates(rng, 12, 4)
    # A center is a quotient: it has no derivative where all weights are 0.
    weights = jnp.asarray(random_weights(rng, indices) + 0.1)
    target = rng.standard_normal(features.shape)

    def loss(features, weights):
        result = gfa.aggregate(
            features,
            as_neighbors(indices),
            gfa.Params(0.7, 0.0),
            num_steps=3,
            weights=weights,
        )
        return jnp.vdot(result.features, target)

    tolerance = 1e-6 if X64 else 3e-2
    check_grads(loss, (features, weights), order=1, rtol=tolerance, atol=tolerance)
    own = jax.grad(loss, argnums=1)(features, weights)
    assert not np.any(np.asarray(own)[indices < 0])


def test_a_loop_searches_the_moved_features(rng):
    features = expected = clustered_features(rng, num_rows=60, dim=8)
    params = gfa.Params(0.7, 0.5)
    for _ in range(4):
        neighbors = gfa.exact_neighbors(features, k=6)
        features = gfa.aggregate(features, neighbors, params, num_steps=1).features
        indices = oracle.exact_neighbors(expected, 6).indices
        expected = oracle.aggregate(
            expected, indices, 0.7, 0.5, weighting="affinity", num_steps=1
        ).features
    np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE)


def test_the_preset_is_the_paper_as_printed():
    assert Options(**oracle.PAPER) == gfa.PAPER
    assert Options(**oracle.SAFE) == Options()


def test_jit_and_no_jit_give_the_same(rng):
    features = clustered_features(rng, num_rows=12, dim=4)
    neighbors = gfa.exact_neighbors(features, k=4)
    params = gfa.Params(0.5, 0.3)
    run = functools.partial(gfa.aggregate, num_steps=2)
    found = run(features, neighbors, params)
    scanned = jax.jit(run)(features, neighbors, params)
    with jax.disable_jit():
        plain = run(features, neighbors, params)
    chex.assert_trees_all_close(found, scanned, plain, rtol=0, atol=TOLERANCE)


def test_vmap_over_parameters_and_over_pools(rng):
    pools = np.stack([clustered_features(rng, num_rows=20, dim=5) for _ in range(3)])
    thresholds = jnp.array([0.1, 0.4, 0.7])

    def run(features, threshold):
        neighbors = gfa.exact_neighbors(features, k=5)
        params = gfa.Params(0.5, threshold)
        return gfa.aggregate(features, neighbors, params, num_steps=2).features

    batched = jax.vmap(run)(pools, thresholds)
    single = jnp.stack([run(f, t) for f, t in zip(pools, thresholds, strict=True)])
    chex.assert_trees_all_close(batched, single, rtol=0, atol=TOLERANCE)


def test_progress_compiles_nothing_and_changes_no_bit(rng):
    features = clustered_features(rng, num_rows=50, dim=6)
    neighbors = gfa.exact_neighbors(features, k=6)
    calls, progress = recorded()
    for graph in GRAPHS:
        run = functools.partial(
            gfa.aggregate,
            features,
            neighbors,
            gfa.Params(0.5, 0.4),
            num_steps=3,
            options=Options(graph=graph),
        )
        run()
        with jax.no_tracing():
            chex.assert_trees_all_equal(run(), run(progress=progress))
    assert calls == [(3, "updates")] * 2


# --- properties of the method ---------------------------------------------------


def test_gamma_zero_is_the_identity(rng):
    features = clustered_features(rng, num_rows=30, dim=6)
    neighbors = gfa.exact_neighbors(features, k=6)
    result = run(features, neighbors, 0.0, 0.2, num_steps=3, renormalize=False)
    np.testing.assert_array_equal(result.features, features)
    np.testing.assert_array_equal(result.residual, 0)


@pytest.mark.parametrize("mask", MASKS)
def test_rows_without_an_edge_stay(rng, mask):
    features, alone = clustered_features(rng, num_rows=10, dim=6), np.full((10, 3), -1)
    options = {"mask": mask, "renormalize": False}
    result = run(features, as_neighbors(alone), 1.0, 0.2, num_steps=2, **options)
    np.testing.assert_array_equal(result.features, features)
    np.testing.assert_array_equal(result.degree, 0)


def test_the_threshold_is_strict():
    # Cosines that are exact in binary: 0.5 is not above 0.5.
    features = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]], np.float32)
    for threshold, degree in ((0.5, 0), (0.4999, 1)):
        result = run(features, as_neighbors([[1], [0]]), 1.0, threshold, num_steps=1)
        np.testing.assert_array_equal(result.degree, degree)


def test_copies_of_one_vector_are_a_fixed_point(rng):
    features = np.repeat(clustered_features(rng, num_rows=2, dim=6)[:1], 8, axis=0)
    result = run(features, gfa.exact_neighbors(features, k=4), 0.8, 0.2, num_steps=5)
    np.testing.assert_allclose(result.features, features, rtol=0, atol=TOLERANCE)


def test_permutation_and_rotation_equivariance(rng):
    features = clustered_features(rng, num_rows=40, dim=8)
    permutation = rng.permutation(40)
    rotation, _ = np.linalg.qr(rng.standard_normal((8, 8)))
    rotation = rotation.astype(features.dtype)

    def refined(rows):
        near = gfa.exact_neighbors(rows, k=6)
        return np.asarray(run(rows, near, 0.6, 0.45, num_steps=3).features)

    want = refined(features)
    np.testing.assert_allclose(
        refined(features[permutation]), want[permutation], rtol=0, atol=TOLERANCE
    )
    np.testing.assert_allclose(
        refined(features @ rotation), want @ rotation, rtol=0, atol=10 * TOLERANCE
    )


def test_stays_in_the_convex_hull_without_renormalising(rng):
    features = clustered_features(rng, num_rows=40, dim=5)
    neighbors = gfa.exact_neighbors(features, k=8)
    result = run(features, neighbors, 0.9, 0.1, num_steps=6, renormalize=False)
    # In the hull, no direction reaches further than some input does.
    directions = rng.standard_normal((5, 200))
    reach = np.asarray(result.features) @ directions
    assert np.all(reach.max(0) <= (features @ directions).max(0) + TOLERANCE)
    assert np.all(reach.min(0) >= (features @ directions).min(0) - TOLERANCE)


def test_a_fixed_graph_is_a_matrix_power(rng):
    features = clustered_features(rng, num_rows=30, dim=6)
    neighbors = gfa.exact_neighbors(features, k=6)
    result = run(features, neighbors, 0.6, 0.3, num_steps=4, renormalize=False)
    affinity = features @ features.T
    weight = np.zeros((30, 30))
    np.put_along_axis(weight, np.asarray(neighbors.indices), 1.0, axis=1)
    # The row itself is listed, so no sum is 0.
    weight *= (affinity > 0.3) * np.maximum(affinity, 0) ** 3
    transition = weight / weight.sum(1, keepdims=True)
    power = np.linalg.matrix_power(0.4 * np.eye(30) + 0.6 * transition, 4)
    np.testing.assert_allclose(
        result.features, power @ features, rtol=0, atol=TOLERANCE
    )


def test_components_never_mix(rng):
    # Two orthogonal subspaces: no edge crosses, so no coordinate leaks.
    half = clustered_features(rng, num_rows=20, dim=4)
    features = np.zeros((40, 8), half.dtype)
    features[:20, :4], features[20:, 4:] = half, half
    result = run(features, gfa.exact_neighbors(features, k=30), 0.7, 0.2, num_steps=5)
    np.testing.assert_array_equal(result.features[:20, 4:], 0)
    np.testing.assert_array_equal(result.features[20:, :4], 0)


def test_two_mutual_neighbours_swap_for_ever(rng):
    features = clustered_features(rng, num_rows=2, dim=4)
    given, options = (
        (features, as_neighbors([[1], [0]]), 1.0, -1.0),
        {"weighting": "uniform"},
    )
    odd, even = (run(*given, num_steps=T, **options) for T in (5, 6))
    np.testing.assert_allclose(odd.features, features[::-1], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(even.features, features, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(odd.residual, odd.residual[0], rtol=1e-5)


def test_all_candidates_equal_the_threshold_alone(rng):
    features = clustered_features(rng, num_rows=25, dim=5)
    everyone = as_neighbors(np.tile(np.arange(25), (25, 1)))
    options = {"weighting": "uniform", "renormalize": False}
    result = run(features, everyone, 1.0, 0.5, num_steps=1, **options)
    mean = [features[features @ f > 0.5].mean(0) for f in features]
    np.testing.assert_allclose(result.features, mean, rtol=0, atol=TOLERANCE)


# --- dtypes, memory and bad input --------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_float32(rng, dtype):
    features = jnp.asarray(clustered_features(rng, num_rows=30, dim=6), dtype)
    neighbors = gfa.exact_neighbors(features, k=6)
    result = gfa.aggregate(features, neighbors, gfa.Params(0.5, 0.4), num_steps=2)
    assert result.features.dtype == jnp.float32
    wide = features.astype(jnp.float32)
    expected = gfa.aggregate(wide, neighbors, gfa.Params(0.5, 0.4), num_steps=2)
    chex.assert_trees_all_equal(result, expected)


@pytest.mark.parametrize("graph", GRAPHS)
def test_memory_holds_no_neighbourhood_of_all_rows(graph):
    num_rows, k, dim = 4000, 16, 64
    features = jnp.zeros((num_rows, dim), jnp.float32)
    neighbors = as_neighbors(np.zeros((num_rows, k), int))
    run = functools.partial(gfa.aggregate, num_steps=20, options=Options(graph=graph))
    params = gfa.Params(0.5, 0.4)

    def temporaries(function):
        compiled = jax.jit(function).lower(features, neighbors, params).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    matrix = num_rows * dim * 4
    assert temporaries(run) < 6 * matrix  # all neighbourhoods would be 16
    gradient = jax.grad(lambda *a: run(*a).features.sum(), argnums=(0, 2))
    # One matrix a step is kept; the others hold no K.
    assert temporaries(gradient) < (20 + 15) * matrix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": -1}, "num_steps is -1"),
        ({"params": gfa.Params(1.5, 0.5)}, r"gamma is 1.5; expected a value in \[0, 1"),
        ({"neighbors": as_neighbors(np.zeros((8, 0), int))}, "at least one row"),
        ({"weights": np.zeros((8, 3), np.float32)}, r"expected \(8, 2\), one for each"),
        ({"weights": np.zeros((8, 2), int)}, "int64; expected a floating dtype"),
        ({"weights": np.full((8, 2), -0.5)}, "weights is -0.5; expected"),
        ({"weights": np.full((8, 2), np.nan)}, "weights is nan; expected"),
        ({"features": np.zeros(5, np.float32)}, "do not fit"),
        ({"features": np.zeros((5, 2), np.float32)}, "do not fit"),
        ({"features": np.zeros((8, 2), np.int32)}, "expected a floating dtype"),
        ({"neighbors": gfa.Neighbors(np.zeros((8, 2)), np.zeros((8, 2)))}, "integers"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {
        "features": np.ones((8, 2), np.float32),
        "neighbors": as_neighbors(np.zeros((8, 2), int)),
        "params": gfa.Params(0.5, 0.5),
        "num_steps": 1,
    } | change
    positional = [arguments.pop(name) for name in ("features", "neighbors", "params")]
    with pytest.raises(ValueError, match=message):
        gfa.aggregate(*positional, **arguments)


@pytest.mark.skipif(not X64, reason="the figures were made in float64 and float32")
@pytest.mark.parametrize("name", ["cfp_dev.npz", "lfw.npz"])
def test_real_features_equal_the_oracle(real_data, name):
    features = real_data(name)["features"][:3000].astype(np.float64)
    neighbors = gfa.exact_neighbors(features, k=15)
    for preset in (oracle.SAFE, oracle.PAPER):
        result = gfa.aggregate(
            features,
            neighbors,
            gfa.Params(0.5, 0.5),
            **gathered(preset | {"num_steps": 4}),
        )
        expected = oracle.aggregate(
            features, np.asarray(neighbors.indices), 0.5, 0.5, num_steps=4, **preset
        )
        np.testing.assert_allclose(
            result.features, expected.features, rtol=0, atol=1e-10
        )
