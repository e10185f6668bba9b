"""Eq. 5, the two masks and the weights, one function at a time."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.special import expit

import gfa_jax as gfa
from gfa_jax.affinity import (
    affinity,
    affinity_power,
    edge_weights,
    given_edges,
    hard_mask,
    score,
    soft_mask,
)
from gfa_jax.blocks import Pool
from gfa_jax.types import MASKS, WEIGHTINGS, Options
from tests.problems import TOLERANCE, clustered_features


def test_affinity_is_the_inner_product(rng):
    features = jnp.asarray(clustered_features(rng, num_rows=6, dim=4))
    neighborhood = features[jnp.array([[1, 2, 0], [5, 5, 3]])]
    got = affinity(features[:2], neighborhood)
    want = [[features[0] @ features[j] for j in (1, 2, 0)]]
    want.append([features[1] @ features[j] for j in (5, 5, 3)])
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)
    # The equation of one row, without a batch, is the same.
    np.testing.assert_allclose(
        affinity(features[0], neighborhood[0]), want[0], rtol=0, atol=TOLERANCE
    )


def at(threshold, temperature=0.05):
    return gfa.Params(0.5, threshold, temperature)


# --- masks ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
def test_hard_mask_is_strict_and_keeps_the_dtype(dtype):
    similarity = jnp.array([0.25, 0.5, 0.75, -1.0], dtype)
    got = hard_mask(similarity, at(0.5))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, [0, 0, 1, 0])


def test_hard_mask_has_no_gradient():
    def count(similarity, threshold):
        return jnp.sum(hard_mask(similarity, at(threshold)))

    slopes = jax.grad(count, argnums=(0, 1))(jnp.array([0.2, 0.5, 0.9]), 0.5)
    np.testing.assert_array_equal(slopes[0], 0)
    np.testing.assert_array_equal(slopes[1], 0)


def test_soft_mask_tends_to_the_hard_one(rng):
    similarity = jnp.asarray(rng.uniform(-1, 1, 200))
    # Nearer than 0.01 to the threshold, the smallest of these widths still shows.
    away = np.abs(similarity - 0.3) > 0.01
    hard = hard_mask(similarity, at(0.3))
    errors = [
        np.max(np.abs(soft_mask(similarity, at(0.3, temperature)) - hard)[away])
        for temperature in (0.1, 0.01, 0.0005)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-8


def test_gradient_of_the_soft_mask():
    A, t, tau = 0.6, 0.5, 0.2
    slopes = jax.grad(lambda A, t, tau: soft_mask(A, at(t, tau)), argnums=(0, 1, 2))(
        A, t, tau
    )
    s = expit((A - t) / tau)
    steepness = s * (1 - s) / tau
    want = [steepness, -steepness, -steepness * (A - t) / tau]
    np.testing.assert_allclose(slopes, want, rtol=1e-6)


def test_soft_mask_far_from_the_threshold_is_finite():
    similarity = jnp.array([-1.0, 1.0])
    value, slope = jax.value_and_grad(
        lambda tau: jnp.sum(soft_mask(similarity, at(0.0, tau)))
    )(1e-6)
    assert value == 1
    assert slope == 0


# --- weights ----------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 3.0])
def test_gradient_of_affinity_power(exponent):
    slope = jax.vmap(jax.grad(affinity_power, argnums=(0, 1)), (0, None))
    of_similarity, of_exponent = slope(jnp.array([0.5, 0.0, -0.5]), exponent)
    np.testing.assert_allclose(
        of_similarity, [exponent * 0.5 ** (exponent - 1), 0, 0], rtol=1e-6
    )
    np.testing.assert_allclose(
        of_exponent, [np.log(0.5) * 0.5**exponent, 0, 0], rtol=1e-6
    )


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.floats(-1, 1),
    temperature=st.floats(0.02, 1),
    exponent=st.floats(0, 4),
    mask=st.sampled_from(MASKS),
    weighting=st.sampled_from(WEIGHTINGS),
)
def test_edge_weights_by_their_equations(
    seed, threshold, temperature, exponent, mask, weighting
):
    rng = np.random.default_rng(seed)
    # Multiples of 1/8 meet thresholds exactly, and are negative and zero too.
    similarity = rng.integers(-8, 9, size=(5, 4)) / 8
    threshold = round(8 * threshold) / 8
    counted = rng.random((5, 4)) < 0.7
    got_mask, got_weight = edge_weights(
        jnp.asarray(similarity),
        gfa.Params(0.5, threshold, temperature, exponent),
        counted=jnp.asarray(counted),
        options=Options(mask=mask, weighting=weighting),
    )
    if mask == "hard":
        survives = (similarity > threshold).astype(float)
    else:
        survives = expit((similarity - threshold) / temperature)
    survives = survives * counted
    weight = survives
    if weighting == "affinity":
        weight = survives * np.where(similarity > 0, np.abs(similarity) ** exponent, 0)
    # Float32 carries exponents of up to 100 into a relative error of 1e-5.
    np.testing.assert_allclose(got_mask, survives, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(got_weight, weight, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mask", MASKS)
def test_what_is_not_counted_has_no_gradient(mask):
    counted = jnp.array([True, False, True])

    def total(similarity):
        _, weight = edge_weights(
            similarity, at(0.1), counted=counted, options=Options(mask=mask)
        )
        return jnp.sum(weight)

    slope = np.asarray(jax.grad(total)(jnp.array([0.5, 0.5, 0.0])))
    assert slope[0] > 0
    np.testing.assert_array_equal(slope[1:], 0)


# --- edges ------------------------------------------------------------------------


@pytest.mark.parametrize("include_self", [True, False])
def test_edges_of_all_candidates(include_self):
    """A part of the pool, rows 4 to 7 of it, and of candidates what lies in it."""
    angles = 0.3 * np.arange(8)
    rows = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    indices = jnp.array([[4, 5, -1], [5, 0, 7], [6, 5, 7], [1, -1, -1]])
    edges = score(
        rows[4:],
        indices,
        at(0.9),
        pool=Pool(rows[4:], 4),
        first_row=4,
        options=Options(mask="hard", weighting="affinity", include_self=include_self),
    )
    near, own = np.cos(0.3) ** 3, float(include_self)
    want = [[own, near, 0], [own, 0, 0], [own, near, near], [0, 0, 0]]
    np.testing.assert_allclose(edges.weight, want, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(edges.degree, np.count_nonzero(want, axis=1))
    # Of all rows, the first is row 0.
    own = score(
        rows,
        jnp.arange(8)[:, None],
        at(0.9),
        options=Options(include_self=include_self),
    )
    np.testing.assert_array_equal(own.degree, np.full(8, include_self))


def test_edges_of_weights_that_are_given():
    weights = np.array([[0.5, 0.0, 2.0], [1.0, 3.0, 0.25]], np.float32)
    edges = given_edges(weights, np.array([[0, 1, 2], [-1, 0, 5]]))
    assert edges.degree.dtype == np.float32
    np.testing.assert_array_equal(edges.degree, [2, 2])
