"""Parameters of each update: beside updates made one by one, and where they are not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import gfa_jax as gfa
from gfa_jax.checks import check_params
from gfa_jax.types import at_step
from tests.conftest import X64

GAMMAS = jnp.array([0.9, 0.2, 0.5], float)
THRESHOLDS = jnp.array([0.1, 0.4, -0.2], float)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    features = rows.astype(np.float64 if X64 else np.float32)
    return features, gfa.exact_neighbors(features, k=6)


def one_by_one(features, neighbors, params, *, options):
    """Three calls of one update, each with its own numbers."""
    for t in range(3):
        now = at_step(params, t)
        features = gfa.aggregate(
            features, neighbors, now, num_steps=1, options=options
        ).features
    return np.asarray(features)


@pytest.mark.parametrize("mask", ["hard", "soft"])
def test_each_update_takes_its_own(problem, mask):
    params = gfa.Params(
        GAMMAS, THRESHOLDS, jnp.array([0.1, 0.2, 0.3]), jnp.array([1.0, 2.0, 3.0])
    )
    options = gfa.Options(graph="rescore", mask=mask)
    got = gfa.aggregate(problem[0], problem[1], params, num_steps=3, options=options)
    want = one_by_one(problem[0], problem[1], params, options=options)
    np.testing.assert_allclose(got.features, want, atol=1e-12 if X64 else 1e-6)
    # The same in one scan.
    refine = functools.partial(gfa.aggregate, num_steps=3, options=options)
    scanned = jax.jit(refine)(*problem, params)
    np.testing.assert_allclose(scanned.features, want, atol=1e-12 if X64 else 1e-6)


def test_a_fixed_graph_is_that_of_the_first_step(problem):
    features, neighbors = problem
    got = gfa.aggregate(
        features, neighbors, gfa.Params(GAMMAS, THRESHOLDS), num_steps=3
    )
    # F_T = Π (1 − γ_t) F + γ_t P F, with the weights at the first threshold.
    indices = np.asarray(neighbors.indices)
    cosines = np.einsum("nd,nkd->nk", features, features[indices])
    weights = np.where(cosines > float(THRESHOLDS[0]), np.maximum(cosines, 0) ** 3, 0)
    want = features.astype(np.float64)
    for gamma in np.asarray(GAMMAS):
        center = np.einsum("nk,nkd->nd", weights, want[indices])
        center /= weights.sum(axis=1, keepdims=True)
        want = want + gamma * (center - want)
        want /= np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(got.features, want, atol=1e-12 if X64 else 1e-5)


@pytest.mark.skipif(not X64, reason="differences need float64")
def test_gradients_equal_finite_differences(problem):
    goal = np.random.default_rng(1).normal(size=problem[0].shape)
    options = gfa.Options(graph="rescore", mask="soft")

    def value(gammas, thresholds):
        params = gfa.Params(gammas, thresholds, 0.2)
        refined = gfa.aggregate(
            problem[0], problem[1], params, num_steps=3, options=options
        )
        return jnp.sum(goal * refined.features)

    check_grads(value, (GAMMAS, THRESHOLDS), order=1, eps=1e-6, rtol=1e-5)


def test_shapes_and_values_are_checked(problem):
    def run(params, num_steps=3):
        return gfa.aggregate(problem[0], problem[1], params, num_steps=num_steps)

    for params, message in (
        (gfa.Params(GAMMAS[:2], 0.2), r"gamma has shape \(2,\).*or 3 of them"),
        (gfa.Params(0.5, THRESHOLDS[None]), r"threshold has shape \(1, 3\)"),
        (gfa.Params(jnp.array([0.5, 1.5, 0.5]), 0.2), "gamma is 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            run(params)
    with pytest.raises(ValueError, match="gamma has shape"):
        run(gfa.Params(jnp.zeros(0), 0.2), num_steps=0)
    with pytest.raises(ValueError, match="gamma has shape"):
        jax.jit(run)(gfa.Params(jnp.zeros(2), 0.2))  # traced


def test_elsewhere_they_are_refused(problem, tmp_path):
    params = gfa.Params(GAMMAS, 0.2)
    with pytest.raises(ValueError, match="only `aggregate` on one device"):
        check_params(params)
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    for run, options in (
        (gfa.sharding.aggregate, {"mesh": mesh, "axis_name": "i"}),
        (gfa.sharding.aggregate_pmap, {}),
        (gfa.streaming.aggregate, {"path": tmp_path / "rows.npy"}),
    ):
        with pytest.raises(ValueError, match="gamma has shape"):
            run(problem[0], problem[1], params, num_steps=3, **options)
