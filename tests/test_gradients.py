"""Gradients through the iterations, by finite differences and by a second path.

The second path is a dense [N, N] JAX program in float64 that shares nothing with the
library: it differentiates the equations as they are printed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import gfa_jax as gfa
from tests.conftest import X64
from tests.problems import as_neighbors, clustered_features

pytestmark = pytest.mark.skipif(not X64, reason="differences need float64")

PARAMS = gfa.Params(0.6, 0.4, 0.1, 2.5)


def dense(features, indices, params, *, num_steps, graph, weighting, renormalize):
    """Eq. 5, 6 and 2 with whole matrices and the soft mask."""
    listed = jnp.zeros((len(features),) * 2)
    rows = jnp.broadcast_to(jnp.arange(len(features))[:, None], indices.shape)
    listed = listed.at[rows, indices].set(1.0)

    def transition(F):
        A = F @ F.T
        W = listed * jax.nn.sigmoid((A - params.threshold) / params.temperature)
        if weighting == "affinity":
            W = W * jnp.where(A > 0, jnp.abs(A) ** params.exponent, 0)
        return W / W.sum(1, keepdims=True)

    F, P = features, transition(features)
    for _ in range(num_steps):
        if graph == "rescore":
            P = transition(F)
        F = F + params.gamma * (P @ F - F)
        if renormalize:
            F = F / jnp.linalg.norm(F, axis=1, keepdims=True)
    return F


def loss_of(indices, target, *, num_steps, **options):
    """A loss of features and params: refined features beside a target."""

    def loss(features, params):
        near, chosen = as_neighbors(indices), gfa.Options(**options)
        refined = gfa.aggregate(
            features, near, params, num_steps=num_steps, options=chosen
        )
        return jnp.vdot(refined.features, target)

    return loss


@pytest.fixture
def problem(rng):
    features = clustered_features(rng, num_rows=24, dim=5)
    indices = np.asarray(gfa.exact_neighbors(features, k=6).indices)
    target = rng.standard_normal(features.shape)
    return jnp.asarray(features), indices, target


@pytest.mark.parametrize("graph", ["fixed", "rescore"])
@pytest.mark.parametrize("weighting", ["uniform", "affinity"])
@pytest.mark.parametrize("renormalize", [True, False])
def test_gradient_equals_the_dense_program(problem, graph, weighting, renormalize):
    features, indices, target = problem
    options = {"graph": graph, "weighting": weighting, "renormalize": renormalize}

    def theirs(features, params):
        refined = dense(features, indices, params, num_steps=4, **options)
        return jnp.vdot(refined, target)

    ours = loss_of(indices, target, num_steps=4, mask="soft", **options)
    got = jax.grad(ours, argnums=(0, 1))(features, PARAMS)
    want = jax.grad(theirs, argnums=(0, 1))(features, PARAMS)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("graph", ["fixed", "rescore"])
def test_forward_mode_equals_reverse_mode(problem, graph):
    features, *rest = problem
    loss = loss_of(*rest, num_steps=4, mask="soft", graph=graph)
    loss, params = functools.partial(loss, features), jax.tree.map(jnp.float64, PARAMS)
    forward, reverse = jax.jacfwd(loss)(params), jax.jacrev(loss)(params)
    np.testing.assert_allclose(jnp.stack(forward), jnp.stack(reverse), rtol=1e-9)


@pytest.mark.parametrize("mask", ["soft", "hard"])
def test_gradient_equals_finite_differences(problem, mask):
    features, *rest = problem
    loss = jax.jit(loss_of(*rest, num_steps=3, mask=mask, graph="rescore"))
    # One direction at a time: of all rows, and of each parameter alone.
    differ = {"order": 1, "modes": ["rev"], "eps": 1e-6, "rtol": 1e-6, "atol": 1e-8}
    check_grads(lambda f: loss(f, PARAMS), (features,), **differ)
    for name, value in PARAMS._asdict().items():
        of_one = functools.partial(_replace_in, loss, features, name)
        check_grads(of_one, (value,), **differ)


def _replace_in(loss, features, name, value):
    return loss(features, PARAMS._replace(**{name: value}))


@pytest.mark.parametrize("mask", ["soft", "hard"])
@pytest.mark.parametrize("weighting", ["uniform", "affinity"])
@pytest.mark.parametrize("graph", ["fixed", "rescore"])
def test_gradient_is_finite_at_zero_rows_and_empty_masks(rng, mask, weighting, graph):
    features = clustered_features(rng, num_rows=12, dim=4)
    features[3] = 0
    indices = np.asarray(gfa.exact_neighbors(features, k=4).indices).copy()
    indices[5] = -1
    options = gfa.Options(mask=mask, weighting=weighting, graph=graph)
    run = functools.partial(gfa.aggregate, num_steps=3, options=options)

    def loss(features, params):
        result = run(features, as_neighbors(indices), params)
        return jnp.sum(result.features**2) + jnp.sum(result.residual)

    for params in (PARAMS, gfa.Params(0.0, 0.99, 1e-3, 0.0), gfa.Params(1.0, 1.0)):
        gradient = jax.grad(loss, argnums=(0, 1))(jnp.asarray(features), params)
        assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))


def test_the_search_has_no_gradient(rng):
    features = jnp.asarray(clustered_features(rng, num_rows=12, dim=4))
    gradient = jax.grad(lambda f: gfa.exact_neighbors(f, k=4).similarity.sum())
    np.testing.assert_array_equal(gradient(features), 0)
