"""Rows against a pool that is not themselves: parts of the pool add up to the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import affinity, aggregation
from gfa_jax.blocks import Pool, map_neighborhoods
from tests.problems import TOLERANCE, clustered_features

PARAMS = gfa.Params(0.6, 0.3)
OPTIONS = gfa.Options(include_self=False)


@pytest.fixture
def problem(rng):
    features = jnp.asarray(clustered_features(rng, num_rows=40, dim=6))
    indices = np.stack([rng.permutation(40)[:9] for _ in range(40)])
    indices[:, 0] = np.arange(40)
    indices[rng.random(indices.shape) < 0.2] = -1
    return features, jnp.asarray(indices, jnp.int32)


def test_some_rows_move_as_they_do_among_all(problem):
    features, indices = problem
    whole = aggregation.update(features, indices, PARAMS, options=OPTIONS)
    part = aggregation.update(
        features[25:],
        indices[25:],
        PARAMS,
        pool=Pool(features),
        first_row=25,
        options=OPTIONS,
    )
    for got, want in zip(*map(jax.tree.leaves, (part, whole)), strict=True):
        np.testing.assert_allclose(got, want[25:], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("scored_before", [True, False])
def test_the_sums_over_parts_of_the_pool_add_up(problem, scored_before):
    features, indices = problem
    edges = None
    if scored_before:
        edges = affinity.score(features, indices, PARAMS, options=OPTIONS)
    add = functools.partial(
        aggregation.add_neighbors, first_row=0, params=PARAMS, options=OPTIONS
    )
    weight = None if edges is None else edges.weight
    parts = [
        map_neighborhoods(
            functools.partial(add, pool=Pool(features[start:stop], start)),
            features,
            indices,
            weight,
        )
        for start, stop in ((0, 7), (7, 30), (30, 40))
    ]
    sums = jax.tree.map(lambda *x: sum(x), *parts)
    updated, moved = aggregation.step(features, sums, PARAMS, renormalize=True)
    degree = sums.degree if edges is None else edges.degree
    got = updated, degree, moved
    want = aggregation.update(features, indices, PARAMS, options=OPTIONS)
    assert np.any(np.asarray(want[0].degree) > 1)
    for g, w in zip(got, jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=TOLERANCE)


def test_the_scores_of_parts_of_the_pool_add_up(problem):
    features, indices = problem
    score = functools.partial(
        affinity.score, features, indices, PARAMS, options=OPTIONS
    )
    parts = [
        score(pool=Pool(features[start : start + 10], start))
        for start in range(0, 40, 10)
    ]
    for got, want in zip(zip(*parts, strict=True), score(), strict=True):
        np.testing.assert_allclose(sum(got), want, rtol=0, atol=TOLERANCE)
