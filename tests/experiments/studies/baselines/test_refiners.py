"""The refining baselines against their papers' formulas, dense and in float64."""

import numpy as np
import pytest

from experiments.studies import baselines
from tests import oracle


@pytest.fixture
def problem(rng):
    """Rows around a few centers, float64, with their whole affinity A."""
    centers = rng.standard_normal((6, 7))
    rows = centers[rng.integers(6, size=40)] + 0.5 * rng.standard_normal((40, 7))
    features = oracle.unit_rows(rows)
    return features, features @ features.T, oracle.exact_neighbors(features, 12)


def nearest(A: np.ndarray, k: int) -> np.ndarray:
    """[N, N] bool: the k largest of each row, and no candidate list."""
    return np.sort(A, axis=1)[:, [-k]] <= A


# Sums in another order, in float64.
def same(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_average_query_expansion_is_the_mean_of_the_nearest(problem, k):
    features, A, neighbors = problem
    want = oracle.unit_rows(nearest(A, k).astype(float) @ features)
    same(baselines.average_query_expansion(features, neighbors, k=k), want)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.5])
def test_alpha_query_expansion_weighs_by_a_power_of_the_cosine(problem, alpha):
    features, A, neighbors = problem
    weights = np.where(nearest(A, 9), np.maximum(A, 0) ** alpha, 0)
    got = baselines.alpha_query_expansion(features, neighbors, k=9, alpha=alpha)
    same(got, oracle.unit_rows(weights @ features))


def test_database_augmentation_weighs_by_rank(problem):
    features, A, neighbors = problem
    rank = np.argsort(np.argsort(-A, axis=1), axis=1)  # 0 for the row itself
    weights = np.maximum(6 - rank, 0) / 6
    got = baselines.database_augmentation(features, neighbors, k=6)
    same(got, oracle.unit_rows(weights @ features))


@pytest.mark.parametrize("num_steps", [0, 1, 4])
def test_mean_shift_moves_points_over_data_that_stay(problem, num_steps):
    features, A, neighbors = problem
    points, candidates = features, nearest(A, 12)
    for _ in range(num_steps):
        inside = candidates & (points @ features.T > 0.6)
        points = np.where(
            inside.any(axis=1)[:, None], oracle.unit_rows(inside @ features), points
        )
    got = baselines.mean_shift(
        features, neighbors, k=12, threshold=0.6, num_steps=num_steps
    )
    same(got, points)
    if num_steps == 4:  # it is not the blurring kind, where the data move along
        blurring = oracle.aggregate(
            features, neighbors.indices, 1.0, 0.6, num_steps=4, graph="rescore"
        )
        assert np.abs(got - blurring.features).max() > 1e-3


def test_mean_shift_leaves_a_point_without_data_and_skips_empty_slots(problem):
    features, _, neighbors = problem
    alone = np.where(np.arange(12) < 3, neighbors.indices, -1)
    neighbors = neighbors._replace(indices=alone)
    options = {"k": 12, "num_steps": 3}
    same(baselines.mean_shift(features, neighbors, threshold=1.0, **options), features)
    three = neighbors._replace(indices=alone[:, :3])
    same(
        baselines.mean_shift(features, neighbors, threshold=0.2, **options),
        baselines.mean_shift(features, three, k=3, threshold=0.2, num_steps=3),
    )


def test_faiss_and_csr_are_the_paper(problem):
    features, _, neighbors = problem
    got = baselines.csr_aggregate(
        features, neighbors, k=9, gamma=0.7, threshold=0.5, num_steps=3
    )
    want = oracle.aggregate(
        features, neighbors.indices[:, :9], 0.7, 0.5, num_steps=3, graph="rescore"
    )
    # The masks and their inverse sums are float32, as a user would have them.
    np.testing.assert_allclose(got, want.features, rtol=0, atol=1e-6)


def test_faiss_finds_the_neighbours_of_the_oracle(problem):
    pytest.importorskip("faiss")
    features, _, neighbors = problem
    found = baselines.faiss_search(features, k=12)
    np.testing.assert_array_equal(found.indices, neighbors.indices)
    # FAISS multiplies in float32.
    np.testing.assert_allclose(found.similarity, neighbors.similarity, atol=1e-6)


@pytest.mark.parametrize("k", [0, 13])
def test_more_neighbours_than_candidates_are_refused(problem, k):
    features, _, neighbors = problem
    with pytest.raises(ValueError, match=f"k is {k}; expected 1 to 12"):
        baselines.average_query_expansion(features, neighbors, k=k)
