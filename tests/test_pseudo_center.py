"""Eq. 6 as a mean of the neighbours of one row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfa_jax import pseudo_center as sums
from tests.problems import TOLERANCE, clustered_features


def pseudo_center(neighborhood, weight, *, otherwise):
    """The whole of Eq. 6 on rows that were gathered."""
    given = sums.NeighborSums(
        sums.sum_gathered(neighborhood, weight), sums.total_weight(weight)
    )
    return sums.pseudo_center(given, otherwise=otherwise)


def test_rows_of_a_batch_are_apart(rng):
    rows = jnp.asarray(clustered_features(rng, num_rows=15, dim=3))
    neighborhood, otherwise = rows[:12].reshape(3, 4, 3), rows[12:]
    weight = rng.uniform(0, 1, (3, 4))
    weight[1] = 0
    got = pseudo_center(neighborhood, jnp.asarray(weight), otherwise=otherwise)
    want = [
        np.average(neighborhood[0], axis=0, weights=weight[0]),
        otherwise[1],
        np.average(neighborhood[2], axis=0, weights=weight[2]),
    ]
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)


def test_the_scale_of_the_weights_does_not_matter(rng):
    neighborhood = jnp.asarray(clustered_features(rng, num_rows=5, dim=3))
    weight = jnp.asarray(rng.uniform(0, 1, 5))
    one, scaled = (
        pseudo_center(neighborhood, scale * weight, otherwise=jnp.zeros(3))
        for scale in (1, 1e-6)
    )
    np.testing.assert_allclose(one, scaled, rtol=0, atol=TOLERANCE)


def test_gradient_with_and_without_weight(rng):
    neighborhood = jnp.asarray(clustered_features(rng, num_rows=4, dim=3))
    center = jax.jacrev(
        lambda n, w, o: pseudo_center(n, w, otherwise=o), argnums=(0, 1, 2)
    )
    weight = np.array([0.5, 0.0, 1.0, 0.25])
    share = weight / weight.sum()
    mean = share @ np.asarray(neighborhood)
    of_rows, of_weight, of_otherwise = center(
        neighborhood, jnp.asarray(weight), jnp.zeros(3)
    )
    # ∂C/∂F_j = w_j / Σ w and ∂C/∂w_j = (F_j − C) / Σ w.
    want_rows = np.einsum("k,de->dke", share, np.eye(3))
    want_weight = (np.asarray(neighborhood) - mean).T / weight.sum()
    np.testing.assert_allclose(of_rows, want_rows, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(of_weight, want_weight, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(of_otherwise, 0)

    of_rows, of_weight, of_otherwise = center(neighborhood, jnp.zeros(4), jnp.zeros(3))
    np.testing.assert_array_equal(of_rows, 0)
    np.testing.assert_array_equal(of_weight, 0)
    np.testing.assert_array_equal(of_otherwise, np.eye(3))


@pytest.mark.parametrize("k", [1, 6, 70])
def test_sums_in_place_equal_those_of_gathered_rows(rng, k):
    pool = clustered_features(rng, num_rows=30, dim=5)
    places = rng.integers(-1, 30, size=(12, k))
    weight = np.where(places < 0, 0, rng.random((12, k))).astype(pool.dtype)

    def in_place(pool, weight):
        of_row = functools.partial(sums.sum_in_place, pool)
        return jax.vmap(of_row)(weight, jnp.asarray(places))

    def gathered(pool, weight):
        return sums.sum_gathered(pool[jnp.asarray(places)], weight)

    got, want = (jax.jit(f)(pool, weight) for f in (in_place, gathered))
    np.testing.assert_allclose(got, want, rtol=0, atol=10 * TOLERANCE)
    target = jnp.asarray(rng.standard_normal(want.shape), pool.dtype)
    for mode in (jax.jacfwd, jax.jacrev):
        got, want = (
            mode(lambda *x, f=f: jnp.vdot(f(*x), target), argnums=(0, 1))(pool, weight)
            for f in (in_place, gathered)
        )
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=10 * TOLERANCE)


def test_long_sums_compile_as_one_product():
    """Up to 64 terms nothing is gathered for a product; both give the same sums."""
    pool = jnp.ones((3, 2))
    for k, is_product in ((63, False), (64, False), (65, True)):
        given = pool, jnp.ones(k), jnp.zeros(k, int)
        program = str(jax.make_jaxpr(sums.sum_in_place.fun)(*given))
        assert ("dot_general" in program) == is_product
