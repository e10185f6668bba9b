"""`map_rows` is `vmap`, whatever the size of a block."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfa_jax.blocks import gather_rows, map_rows
from tests.problems import TOLERANCE, as_neighbors, clustered_features

NUM_ROWS = 23
BLOCK_SIZES = [None, 1, 7, 22, 23, 1000]


def mean_of_candidates(features):
    """A row function of the kind that an update has: it gathers other rows."""

    def of_row(row, feature, candidates):
        mean = jnp.mean(gather_rows(features, candidates), axis=0)
        return {"moved": mean - feature, "row": row}

    return of_row


@pytest.fixture
def problem(rng):
    features = jnp.asarray(clustered_features(rng, num_rows=NUM_ROWS, dim=4))
    candidates = jnp.asarray(rng.integers(NUM_ROWS, size=(NUM_ROWS, 3)))
    return features, candidates


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_equals_vmap(problem, block_size):
    features, candidates = problem
    of_row = mean_of_candidates(features)
    got = map_rows(of_row, problem, row_bytes=96, block_size=block_size)
    want = jax.vmap(of_row)(jnp.arange(NUM_ROWS), features, candidates)
    np.testing.assert_array_equal(got["row"], np.arange(NUM_ROWS))
    np.testing.assert_allclose(got["moved"], want["moved"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_gradient_equals_that_of_vmap(problem, rng, block_size):
    features, candidates = problem
    target = jnp.asarray(rng.standard_normal(features.shape))

    def loss(features, apply):
        moved = apply(mean_of_candidates(features), (features, candidates))["moved"]
        return jnp.vdot(jnp.tanh(moved), target)

    def in_blocks(of_row, operands):
        return map_rows(of_row, operands, row_bytes=96, block_size=block_size)

    def at_once(of_row, operands):
        return jax.vmap(of_row)(jnp.arange(NUM_ROWS), *operands)

    # A row that the last block repeats must not count twice.
    np.testing.assert_allclose(
        jax.grad(loss)(features, in_blocks),
        jax.grad(loss)(features, at_once),
        rtol=0,
        atol=TOLERANCE,
    )


def test_operands_are_any_trees(rng):
    matrix = rng.standard_normal((NUM_ROWS, 2))
    operands = (as_neighbors(np.zeros((NUM_ROWS, 3), int)), None, matrix)

    def of_row(row, neighbors, nothing, x):
        assert nothing is None
        return neighbors._replace(similarity=neighbors.similarity + jnp.sum(x))

    got = map_rows(of_row, operands, row_bytes=20, block_size=5)
    np.testing.assert_array_equal(got.indices, operands[0].indices)
    want = np.repeat(matrix.sum(1, keepdims=True), 3, axis=1)
    np.testing.assert_allclose(got.similarity, want, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("backend", "row_bytes", "num_blocks"),
    [
        ("cpu", 2**20 // 50, 2),
        ("cpu", 2**20 // 30, 4),
        ("cpu", 2**20 // 60, 2),
        ("cpu", 2**30, 10),
        ("cpu", 1, 1),
        ("gpu", 2**20, 2),
    ],
)
def test_a_block_about_fits_and_divides_the_rows(
    monkeypatch, backend, row_bytes, num_blocks
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    program = jax.make_jaxpr(
        lambda x: map_rows(lambda row, x: x + row, (x,), row_bytes=row_bytes)
    )(jnp.zeros(100))
    assert re.findall(r"\blength=(\d+)", str(program)) == [str(num_blocks)]
