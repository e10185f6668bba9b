import numpy as np

import gfa_jax as gfa
from gfa_jax.selection.expansion import EXPANSION_K, expand, expansion_weights
from tests.problems import clustered_features


def test_it_is_the_weighted_mean(rng):
    features = clustered_features(rng, num_rows=60, dim=16).astype(np.float32)
    near = gfa.exact_neighbors(features, k=14)
    indices = np.array(near.indices)
    indices[::7, 3:] = -1
    near = gfa.Neighbors(indices, np.where(indices < 0, -np.inf, near.similarity))
    for options, k, exponent in (
        ({}, EXPANSION_K, 3.0),
        ({"k": 4, "exponent": 1.5}, 4, 1.5),
    ):
        expected = []
        for own, cosines in zip(near.indices, near.similarity, strict=True):
            own, cosines = own[:k], np.asarray(cosines[:k], np.float64)
            weights = np.maximum(cosines[own >= 0], 0) ** exponent
            mean = weights @ features[own[own >= 0]].astype(np.float64)
            expected.append(mean / np.linalg.norm(mean))
        got = expand(features, near, **options)
        np.testing.assert_allclose(got, expected, atol=2e-6)  # of float32 rows


def test_weights_of_few_and_of_opposite_candidates():
    near = gfa.Neighbors(
        np.array([[0, 1, 2], [1, 0, -1]]),
        np.array([[1, 0.5, -0.5], [1, 0.5, -1]], np.float32),
    )
    kept, weights = expansion_weights(near)
    np.testing.assert_array_equal(kept.indices, near.indices)
    np.testing.assert_array_equal(weights, [[1, 0.125, 0], [1, 0.125, 0]])
    assert weights.dtype == np.float32 and EXPANSION_K == 10
