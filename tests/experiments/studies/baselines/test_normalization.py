"""Normalised scores against their formulas in float64, pair by pair and counted."""

import numpy as np
import pytest

from experiments.studies import baselines
from gfa_jax import metrics
from tests import oracle, problems


@pytest.fixture
def problem(rng):
    features = problems.clustered_features(rng, num_rows=90, dim=8).astype(np.float64)
    features = oracle.unit_rows(features)
    A = features @ features.T
    return features, A, oracle.exact_neighbors(features, 60)


def by_the_paper(A, name):
    """[N, N] scores; the cosines of each row, its own left out, in order."""
    ordered = -np.sort(-np.where(np.eye(len(A), dtype=bool), -np.inf, A), axis=1)
    if name == "csls":
        common = ordered[:, :4].mean(axis=1)
        return 2 * A - common[:, None] - common
    cohort = ordered[:, 4:34]
    z = (A - cohort.mean(axis=1)[:, None]) / cohort.std(axis=1)[:, None]
    return (z + z.T) / 2


def normalized(name, features, neighbors):
    if name == "csls":
        return baselines.csls(features, neighbors, k=5)
    return baselines.as_norm(features, neighbors, k=5, cohort=30)


@pytest.mark.parametrize("name", ["csls", "as_norm"])
def test_scores_are_the_papers_up_to_their_bound(problem, name):
    features, A, neighbors = problem
    scores = normalized(name, features, neighbors)
    rows, columns = np.nonzero(~np.eye(90, dtype=bool))
    got, want = scores(rows, columns), by_the_paper(A, name)[rows, columns]
    factor = want[0] / got[0]
    assert factor > 0
    np.testing.assert_allclose(got * factor, want, rtol=0, atol=1e-12 * factor)
    assert np.abs(got).max() <= 1


@pytest.mark.parametrize("name", ["csls", "as_norm"])
def test_all_pairs_are_counted_without_their_matrix(problem, rng, name):
    features, A, neighbors = problem
    labels = rng.integers(12, size=90)
    scores = normalized(name, features, neighbors)
    roc = scores.measure(labels, tail_size=2**16).roc
    first, second = np.triu_indices(90, 1)
    whole = by_the_paper(A, name)[first, second]
    want = metrics.roc_curve(whole, labels[first] == labels[second])
    targets = (1e-2, 1e-1, 0.5)
    got, want = (metrics.tpr_at_fpr(each, targets) for each in (roc, want))
    assert [p.tpr for p in got] == pytest.approx([p.tpr for p in want], abs=1e-12)


def test_a_row_of_copies_has_a_spread(problem):
    features, _, neighbors = problem
    similarity = np.array(neighbors.similarity)
    similarity[3, 5:] = 1.0
    scores = baselines.as_norm(
        features, neighbors._replace(similarity=similarity), k=5, cohort=30
    )
    assert np.isfinite(scores.scale).all() and np.isfinite(scores.offset).all()
