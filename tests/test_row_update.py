"""Rows against a pool that is not themselves: parts of the pool add up to the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import row_update
from gfa_jax.row_update import Pool
from tests.problems import TOLERANCE, clustered_features

PARAMS = gfa.Params(0.6, 0.3)
OPTIONS = {
    "mask": "hard",
    "weighting": "affinity",
    "include_self": False,
    "block_size": None,
}


@pytest.fixture
def problem(rng):
    features = jnp.asarray(clustered_features(rng, num_rows=40, dim=6))
    indices = np.stack([rng.permutation(40)[:9] for _ in range(40)])
    indices[:, 0] = np.arange(40)
    indices[rng.random(indices.shape) < 0.2] = -1
    return features, jnp.asarray(indices, jnp.int32)


def test_some_rows_move_as_they_do_among_all(problem):
    features, indices = problem
    whole = row_update.update(features, indices, PARAMS, include_self=False)
    part = row_update.update(
        features[25:],
        indices[25:],
        PARAMS,
        pool=features,
        first_row=25,
        include_self=False,
    )
    for got, want in zip(part, whole, strict=True):
        np.testing.assert_allclose(got, want[25:], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("scored_before", [True, False])
def test_the_sums_over_parts_of_the_pool_add_up(problem, scored_before):
    features, indices = problem
    edges = None
    if scored_before:
        edges = row_update.score(features, indices, PARAMS, **OPTIONS)
    attract = functools.partial(
        row_update.attract,
        features,
        indices,
        PARAMS,
        first_row=0,
        edges=edges,
        **OPTIONS,
    )
    parts = [
        attract(pool=Pool(features[start:stop], start))
        for start, stop in ((0, 7), (7, 30), (30, 40))
    ]
    attraction = jax.tree.map(lambda *x: sum(x), *parts)
    got = row_update.move(features, attraction, PARAMS, renormalize=True)
    want = row_update.update(features, indices, PARAMS, include_self=False)
    assert np.any(np.asarray(want[2]) > 1)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=TOLERANCE)


def test_the_scores_of_parts_of_the_pool_add_up(problem):
    features, indices = problem
    score = functools.partial(row_update.score, features, indices, PARAMS, **OPTIONS)
    parts = [
        score(pool=Pool(features[start : start + 10], start))
        for start in range(0, 40, 10)
    ]
    for got, want in zip(zip(*parts, strict=True), score(), strict=True):
        assert want is not None
        np.testing.assert_allclose(sum(got), want, rtol=0, atol=TOLERANCE)
