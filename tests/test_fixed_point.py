"""The fixed point: a dense solve beside it, and three ways to the same gradient.

The second paths: for the fixed graph without renormalising, F* is a linear system that
NumPy solves; for the others a long scan of the update, differentiated in reverse and in
forward mode, which knows nothing of implicit functions.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax.affinity import score
from gfa_jax.fixed_point.iteration import solve, update_from_start
from tests.conftest import X64
from tests.problems import as_neighbors, clustered_features, gathered

pytest.importorskip("optimistix")

DTYPE = np.float64 if X64 else np.float32
PARAMS = gfa.Params(*(jnp.asarray(p, DTYPE) for p in (0.6, 0.4, 0.1, 2.5)))
# Far beyond the slowest of the cases below, which converges after 160 updates.
LONG = 250
# Both stop where steps are 32 units of rounding: 1e-14 and 4e-6, and the rest of a
# geometric series weighs some ten times its first term.
TOLERANCE = 1e-10 if X64 else 2e-4


@pytest.fixture
def problem(rng):
    features = clustered_features(rng, num_rows=24, dim=5)
    neighbors = gfa.exact_neighbors(features, k=6)
    target = rng.standard_normal(features.shape).astype(features.dtype)
    return jnp.asarray(features), neighbors, target


def rest(features, neighbors, params, **options):
    return solve(features, neighbors, params, **gathered(options | {"mask": "soft"}))


def scan(features, neighbors, params, *, graph, renormalize, num_steps=LONG):
    """The same updates, so many times, as a reverse or forward mode goes through."""
    indices, edges = neighbors.indices, None
    options = gfa.Options(mask="soft", renormalize=renormalize)
    if graph == "fixed":
        edges = score(features, indices, params, options=options)

    def step(rows, _):
        return update_from_start(
            rows,
            features,
            indices,
            params,
            edges=edges,
            options=options,
        ), None

    return jax.lax.scan(jax.checkpoint(step), features, length=num_steps)[0]


def test_the_fixed_graph_solves_a_linear_system(problem):
    features, neighbors, _ = problem
    found = rest(features, neighbors, PARAMS, renormalize=False)
    F, P = np.asarray(features, np.float64), np.zeros((24, 24))
    for i, candidates in enumerate(np.asarray(neighbors.indices)):
        for j in candidates:
            A = F[i] @ F[j]
            P[i, j] = max(A, 0) ** 2.5 / (1 + np.exp(-(A - 0.4) / 0.1))
    P /= P.sum(1, keepdims=True)
    want = np.linalg.solve(np.eye(24) - 0.6 * P, 0.4 * F)
    np.testing.assert_allclose(found.features, want, atol=TOLERANCE, rtol=0)
    assert found.converged and 1 < found.num_steps < 100
    assert found.residual < TOLERANCE


def test_the_first_step_is_that_of_the_method(problem):
    features, neighbors, _ = problem
    options = gfa.Options(mask="soft")
    once = gfa.aggregate(features, neighbors, PARAMS, num_steps=1, options=options)
    ours = scan(
        features, neighbors, PARAMS, graph="rescore", renormalize=True, num_steps=1
    )
    np.testing.assert_array_equal(ours, once.features)


@pytest.mark.parametrize(
    ("graph", "renormalize"), [("fixed", True), ("rescore", True), ("rescore", False)]
)
def test_three_modes_agree(problem, graph, renormalize):
    features, neighbors, target = problem
    options = {"graph": graph, "renormalize": renormalize}

    def implicit(features, params):
        return jnp.vdot(rest(features, neighbors, params, **options).features, target)

    def long(features, params):
        return jnp.vdot(scan(features, neighbors, params, **options), target)

    @jax.jit
    def differentiate(features, params):
        gradient = functools.partial(jax.grad, argnums=(0, 1))
        forward = [jax.jacfwd(f, argnums=1)(features, params) for f in (implicit, long)]
        return (
            gradient(implicit)(features, params),
            gradient(long)(features, params),
            forward,
        )

    got, want, forward = differentiate(features, PARAMS)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(want))
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, atol=TOLERANCE * scale, rtol=0)
    for found in forward:
        np.testing.assert_allclose(
            np.stack(found), np.stack(want[1]), atol=TOLERANCE * scale, rtol=0
        )
    assert np.abs(want[1].threshold) > 1e-3  # the agreement is not of zeros


def test_memory_does_not_grow_with_the_steps(problem):
    features, neighbors, target = problem

    def reverse(num_steps):
        def loss(params):
            rows = scan(
                features,
                neighbors,
                params,
                graph="fixed",
                renormalize=True,
                num_steps=num_steps,
            )
            return jnp.vdot(rows, target)

        return jax.grad(loss)

    def implicit(max_steps):
        def loss(params):
            found = rest(features, neighbors, params, max_steps=max_steps)
            return jnp.vdot(found.features, target)

        return jax.grad(loss)

    def temporaries(gradient):
        compiled = jax.jit(gradient).lower(PARAMS).compile()
        analysis = compiled.memory_analysis()
        if analysis is None:
            pytest.skip("this compiler does not tell its temporaries")
        return analysis.temp_size_in_bytes

    few, many = (temporaries(reverse(T)) for T in (20, 80))
    assert many - few >= 60 * features.nbytes
    assert temporaries(implicit(20)) == temporaries(implicit(80)) < many


def test_small_and_zero_cotangents_keep_their_gradient(problem):
    features, neighbors, target = problem

    def loss(params, scale):
        return scale * jnp.vdot(rest(features, neighbors, params).features, target)

    gradient = jax.jit(jax.grad(loss))
    whole = np.stack(gradient(PARAMS, DTYPE(1)))
    # The mean of many pairs has a slope this small in each row.
    tiny = np.stack(gradient(PARAMS, DTYPE(1e-12)))
    np.testing.assert_allclose(tiny / 1e-12, whole, rtol=1e-4)
    np.testing.assert_array_equal(np.stack(gradient(PARAMS, DTYPE(0))), 0)


def test_rows_without_edges_and_zero_rows_stay(problem):
    features, neighbors, target = problem
    features = features.at[3].set(0)
    indices = np.asarray(neighbors.indices).copy()
    indices[5] = -1

    def loss(features, params):
        found = rest(features, as_neighbors(indices), params)
        return jnp.vdot(found.features, target), found.features

    gradient, rows = jax.grad(loss, argnums=(0, 1), has_aux=True)(features, PARAMS)
    np.testing.assert_allclose(rows[5], features[5], rtol=4e-7)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))


def test_no_convergence_is_said(problem):
    features, neighbors, _ = problem
    with pytest.raises(ValueError, match="no fixed point after 3 updates: rows still"):
        rest(features, neighbors, PARAMS, max_steps=3)
    found = jax.jit(functools.partial(rest, max_steps=3))(features, neighbors, PARAMS)
    assert not found.converged and np.all(np.isfinite(found.features))


def test_bad_input_is_refused(problem):
    features, neighbors, _ = problem
    several = PARAMS._replace(gamma=jnp.array([0.5, 0.6]))
    for rows, params, options, message in (
        (
            features,
            PARAMS,
            {"tolerance": 0.0},
            "tolerance is 0; expected a value above 0",
        ),
        (features, PARAMS, {"max_steps": 0}, "max_steps is 0"),
        (features, PARAMS._replace(gamma=1.0), {}, "gamma is 1; expected less"),
        (features, several, {}, r"gamma has shape \(2,\); expected a number"),
        (features[:-1], PARAMS, {}, "do not fit"),
    ):
        with pytest.raises(ValueError, match=message):
            rest(rows, neighbors, params, **options)


def test_without_optimistix_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optimistix", None)
    alone = as_neighbors(np.zeros((2, 1)))
    with pytest.raises(ImportError, match=r"pip install 'gfa_jax\[train\]'"):
        rest(jnp.ones((2, 1)), alone, PARAMS)
