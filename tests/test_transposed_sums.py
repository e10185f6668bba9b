"""Sums and transposed sums against dense matrices, and their derivatives."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

import gfa_jax as gfa
from gfa_jax.transposed_sums import (
    neighbor_sums,
    reverse_neighbors,
    transposed_neighbor_sums,
)
from tests.problems import TOLERANCE, as_neighbors, clustered_features

NUM_ROWS, K, DIM = 21, 5, 4


@pytest.fixture
def problem(rng):
    """A hub that all list, rows that few do, empty and repeated slots."""
    indices = rng.integers(0, NUM_ROWS, (NUM_ROWS, K))
    indices[:, 0] = 3
    indices[4] = -1
    indices[7, 2:] = indices[7, 2]
    indices[rng.random(indices.shape) < 0.1] = -1
    return (
        jnp.asarray(rng.standard_normal((NUM_ROWS, K))),
        jnp.asarray(rng.standard_normal((NUM_ROWS, DIM))),
        jnp.asarray(indices, jnp.int32),
        reverse_neighbors(indices),
    )


def products(indices, reverse):
    """Each product as a function of two arrays, and what it is with dense matrices."""
    listed = np.asarray(indices)[:, :, None] == np.arange(NUM_ROWS)
    return {
        "sums": (
            lambda weight, rows: neighbor_sums(
                jnp.where(indices >= 0, weight, 0), rows, indices, reverse
            ),
            lambda weight, rows: jnp.einsum("nk,md,nkm->nd", weight, rows, listed),
        ),
        "transposed": (
            lambda weight, rows: transposed_neighbor_sums(weight, rows, reverse),
            lambda weight, rows: jnp.einsum("nk,nd,nkm->md", weight, rows, listed),
        ),
    }


NAMES = ("sums", "transposed")


@pytest.mark.parametrize("name", NAMES)
def test_they_are_products_with_the_dense_graph(problem, name):
    given = problem[:2]
    ours, dense = products(*problem[2:])[name]
    np.testing.assert_allclose(ours(*given), dense(*given), rtol=0, atol=10 * TOLERANCE)
    got = jax.jacrev(ours, argnums=(0, 1))(*given)
    want = jax.jacrev(dense, argnums=(0, 1))(*given)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=10 * TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_differentiated_twice(problem, name):
    given = problem[:2]
    ours, dense = products(*problem[2:])[name]

    def curvature(product):
        slope = jax.grad(lambda *x: jnp.sum(jnp.sin(product(*x))), argnums=(0, 1))
        return jax.jit(jax.jacrev(slope, argnums=(0, 1)))

    got, want = curvature(ours)(*given), curvature(dense)(*given)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=100 * TOLERANCE)


# Every shape is compiled anew.
@hypothesis.settings(max_examples=20)
@hypothesis.given(
    strategies.integers(0, 2**32 - 1),
    strategies.integers(1, 40),
    strategies.integers(1, 12),
    strategies.integers(1, 40),
)
def test_every_slot_is_found_once_at_the_row_it_lists(seed, num_rows, k, listed):
    random = np.random.default_rng(seed)
    indices = random.integers(-1, min(listed, num_rows), (num_rows, k))
    slots, rows = map(np.asarray, reverse_neighbors(indices))
    assert slots.shape == (num_rows + num_rows * k // 8, 8)
    assert np.all(np.diff(rows) >= 0)
    part, column = np.nonzero(slots < num_rows * k)
    found = slots[part, column]
    np.testing.assert_array_equal(np.sort(found), np.flatnonzero(indices >= 0))
    np.testing.assert_array_equal(indices.reshape(-1)[found], rows[part])


@pytest.fixture
def aggregation(rng):
    """Sums up refined features, a function of features, params and options."""
    features = jnp.asarray(clustered_features(rng, num_rows=40, dim=6))
    indices = np.array(gfa.exact_neighbors(features, k=9).indices)
    indices[rng.random(indices.shape) < 0.2] = -1
    indices[4] = -1
    neighbors = as_neighbors(indices)

    def loss(features, params, **options):
        refined = gfa.aggregate(
            features,
            neighbors,
            params,
            num_steps=3,
            options=gfa.Options(mask="soft"),
            **options,
        )
        return jnp.sum(refined.features**3) + jnp.sum(refined.residual)

    params = gfa.Params(*map(jnp.asarray, (0.6, 0.3, 0.1, 2.5)))
    return loss, features, params, reverse_neighbors(neighbors.indices)


def test_an_aggregation_has_the_same_gradients_with_them(aggregation):
    loss, *given, reverse = aggregation
    got = jax.grad(functools.partial(loss, reverse=reverse), (0, 1))(*given)
    want = jax.grad(loss, (0, 1))(*given)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=100 * TOLERANCE)


def test_forward_mode_does_not_go_through_them(aggregation):
    loss, *given, reverse = aggregation
    with pytest.raises(TypeError, match="forward"):
        jax.jacfwd(functools.partial(loss, reverse=reverse))(*given)


def test_a_reverse_that_does_not_fit_is_refused(rng):
    features = clustered_features(rng, num_rows=40, dim=6)
    neighbors = gfa.exact_neighbors(features, k=5)
    reverse = reverse_neighbors(neighbors.indices)
    run = functools.partial(
        gfa.aggregate, features, params=gfa.Params(0.5, 0.3), num_steps=1
    )
    with pytest.raises(ValueError, match="graph='rescore'; expected graph='fixed'"):
        run(neighbors, options=gfa.PAPER, reverse=reverse)
    with pytest.raises(ValueError, match=r"reverse, .* expected shape \(60, 8\)"):
        run(as_neighbors(np.asarray(neighbors.indices)[:, :4]), reverse=reverse)


def test_more_slots_than_can_be_numbered_are_refused():
    indices = jax.ShapeDtypeStruct((2**27, 16), jnp.int32)
    with pytest.raises(ValueError, match="2,147,483,648 slots"):
        jax.eval_shape(reverse_neighbors, indices)
