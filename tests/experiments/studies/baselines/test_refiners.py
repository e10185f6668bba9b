"""The refining baselines against their papers' formulas, dense and in float64."""

from typing import Any

import numpy as np
import pytest

from experiments.studies import baselines
from tests import oracle


@pytest.fixture
def problem(rng) -> Any:
    """Rows around a few centers, float64, with their whole affinity A."""
    centers = rng.standard_normal((6, 7))
    rows = centers[rng.integers(6, size=40)] + 0.5 * rng.standard_normal((40, 7))
    features = oracle.unit_rows(rows)
    return features, features @ features.T, oracle.exact_neighbors(features, 12)


def searched(features: np.ndarray, k: int) -> Any:
    return oracle.exact_neighbors(features, k)


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


@pytest.mark.parametrize("k", [0, 13])
def test_more_neighbours_than_candidates_are_refused(problem, k):
    features, _, neighbors = problem
    with pytest.raises(ValueError, match=f"k is {k}; expected 1 to 12"):
        baselines.average_query_expansion(features, neighbors, k=k)


@pytest.mark.parametrize(("k", "num_steps"), [(1, 1), (5, 1), (9, 3)])
def test_propagation_weighs_by_both_sums(problem, k, num_steps):
    features, A, neighbors = problem
    want, is_near = features, nearest(A, k)
    for _ in range(num_steps):
        S = np.where(is_near, np.exp(want @ want.T / 0.2), 0)
        rows, columns = S.sum(axis=1), S.sum(axis=0)
        want = oracle.unit_rows(S / np.sqrt(np.outer(rows, columns)) @ want)
    options = {"k": k, "beta": 0.2, "num_steps": num_steps}
    same(baselines.propagation(features, neighbors, **options), want)


def test_super_global_refines_the_descriptor(problem):
    features, A, neighbors = problem
    others = np.where(nearest(A, 7) & ~np.eye(40, dtype=bool), np.maximum(A, 0), 0)
    want = features + 0.3 * others @ features
    got = baselines.super_global(features, neighbors, k=7, beta=0.3)
    same(got, oracle.unit_rows(want))


@pytest.mark.parametrize("whitened", [False, True])
def test_half_whitening_chooses_and_weighs_neighbours(rng, problem, whitened):
    features, A, neighbors = problem
    features = oracle.unit_rows(features * np.linspace(0.2, 3, 7) + 0.3)
    A, neighbors = features @ features.T, searched(features, 12)
    centered = features - features.mean(axis=0)
    variances, axes = np.linalg.eigh(centered.T @ centered / 40)
    share = 7 / 40  # of the mean variance, as the pool's own metric shrinks it
    variances = (1 - share) * variances / variances.mean() + share
    views = oracle.unit_rows(centered @ axes * variances**-0.25 @ axes.T)
    a = np.where(nearest(A, 12), views @ views.T, -np.inf)
    weights = np.where(nearest(a, 5), np.maximum(a, 0) ** 2, 0)
    want = oracle.unit_rows(weights @ (views if whitened else features))
    got = baselines.half_whitened_expansion(
        features, neighbors, k=5, alpha=2.0, whitened=whitened
    )
    # The pool's metric is float32.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


def test_recognizable_rows_are_far_from_the_largest_component(rng):
    nobody = oracle.unit_rows(np.eye(7)[0] + 0.1 * rng.standard_normal((15, 7)))
    people = oracle.unit_rows(rng.standard_normal((25, 7)) - 2 * np.eye(7)[0])
    features = np.concatenate([nobody, people])
    A, neighbors = features @ features.T, searched(features, 12)
    center = nobody.mean(axis=0) / np.linalg.norm(nobody.mean(axis=0))
    scores = np.minimum(1 - features @ center, 1)
    weights = np.where(nearest(A, 6), np.maximum(A, 0) ** 1.5, 0) * scores
    got = baselines.recognizable_expansion(
        features, neighbors, k=6, alpha=1.5, threshold=0.9
    )
    same(got, oracle.unit_rows(weights @ features))
