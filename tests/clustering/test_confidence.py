"""Confidence by its equation, relabelling by hand, review and answers on two sets."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.clustering import Clusters, Review, answer, cluster, relabel, review
from gfa_jax.metrics.clustering import cluster_scores
from tests.clustering.problems import circle, everyone
from tests.clustering.test_linkage import partition, random_problem

SEEDS = st.integers(0, 2**32 - 1)


@hypothesis.given(seed=SEEDS)
def test_confidence_compares_the_means_of_two_clusters(seed):
    features, neighbors = random_problem(seed, 20, 4)
    found = cluster(features, neighbors, threshold=0.4, method="average")
    cosines = features.astype(np.float64) @ features.T
    for i, label in enumerate(found.labels):
        own = found.labels == label
        own[i] = False
        if not own.any():
            assert found.confidence[i] == 0
            continue
        outside = [
            j
            for j in neighbors.indices[i]
            if j >= 0 and j != i and found.labels[j] != label
        ]
        other = 0.0
        if outside:
            nearest = max(outside, key=lambda j: cosines[i, j])
            other = cosines[i, found.labels == found.labels[nearest]].mean()
        near, far = (1 - np.clip(s, 0, 0.99) for s in (cosines[i, own].mean(), other))
        expected = far**2 / (far**2 + near**2)
        np.testing.assert_allclose(found.confidence[i], expected, rtol=0, atol=1e-4)


def test_the_confidence_of_a_cluster_is_the_mean_of_its_rows():
    found = Clusters(
        np.array([1, 0, 0, -1, 1, 0]), np.array([3, 2]), np.array([1, 0.5, 1, 0, 0, 0])
    )
    np.testing.assert_allclose(found.cluster_confidence, [0.5, 0.5])


def test_numbers_stay_where_clusters_persist():
    #             old 5 grows, 2 is split, 7 ends in 5, and -1 has no number.
    previous = np.array([5, 5, 5, 2, 2, 2, 2, 2, 7, -1])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 0, 3, 3, 0, -1])
    got = relabel(labels, previous)
    np.testing.assert_array_equal(got, [5, 5, 5, 2, 2, 2, 8, 8, 5, 9, 9, 5, -1])
    got = relabel(labels, previous, first_free=20)
    np.testing.assert_array_equal(got[[6, 9]], [20, 21])
    np.testing.assert_array_equal(relabel(labels, np.empty(0, int)), labels)
    with pytest.raises(ValueError, match="previous has 10 rows; expected at most 4"):
        relabel(labels[:4], previous)
    with pytest.raises(ValueError, match="previous are float64"):
        relabel(labels, previous / 2)


@hypothesis.given(seed=SEEDS)
def test_numbers_of_a_growing_pool(seed):
    rng = np.random.default_rng(seed)
    used, previous, free = set(), np.empty(0, int), 0
    for num_rows in (5, 12, 12, 20):
        labels = rng.integers(-1, 4, num_rows)
        got = relabel(labels, previous, first_free=free)
        assert partition(got[got >= 0]) == partition(labels[labels >= 0])
        old = set(previous.tolist())
        assert not (set(got.tolist()) - {-1}) & (used - old)
        used |= set(got.tolist()) - {-1}
        free = max(used, default=-1) + 1
        np.testing.assert_array_equal(relabel(labels, got, first_free=free), got)
        previous = got


def test_the_default_keeps_its_numbers_as_a_pool_grows():
    sample = datasets.synthetic_features(num_rows=900, dim=32, seed=1)
    labels = np.empty(0, int)
    for num_rows in (600, 900):
        features = sample.features[:num_rows]
        found = cluster(features, gfa.exact_neighbors(features, k=15)).labels
        previous, labels = labels, relabel(found, labels)
    kept = np.mean(labels[:600] == previous)
    assert kept > 0.9
    assert set(labels.tolist()) - set(previous.tolist())  # someone came


def test_review_asks_about_a_bridge_first_and_answers_are_applied():
    # Three people, two of them joined, and one of them in two clusters.
    features = circle(0, 2, 4, 30, 32, 34, 90, 92, 110, 112)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    asked = review(features, everyone(10), labels, count=20)
    halves = asked.rows[asked.together & (labels[asked.rows[:, 0]] == 0)]
    assert len(halves) == 1 and sorted(halves[0] // 3) == [0, 1]
    assert np.all(np.diff(asked.change) <= 0)
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    same = truth[asked.rows[:, 0]] == truth[asked.rows[:, 1]]
    got = answer(labels, asked, same)
    assert partition(got) == partition(truth)
    unchanged = answer(labels, asked, asked.together)
    np.testing.assert_array_equal(unchanged, labels)
    with pytest.raises(ValueError, match=r"same has shape \(1,\); expected one answer"):
        answer(labels, asked, same[:1])
    with pytest.raises(ValueError, match="count is 0; expected at least 1"):
        review(features, everyone(10), labels, count=0)
    with pytest.raises(ValueError, match=r"labels are int64 \(9,\); expected \[10\]"):
        review(features, everyone(10), labels[:9], count=1)


def test_parts_of_what_candidates_do_not_connect():
    # One cluster of two pairs that nothing connects, and a row without one.
    features = circle(0, 1, 90, 91, 180)
    near = gfa.Neighbors(np.array([[1], [0], [3], [2], [-1]]), np.zeros((5, 1)))
    asked = review(features, near, np.array([0, 0, 0, 0, -1]), count=9)
    assert asked.together.all() and len(asked.rows) == 2
    got = answer(np.array([0, 0, 0, 0, -1]), asked, np.array([False, True]))
    assert len(np.unique(got)) == 3  # the row, one of a pair, and the rest


def test_answers_to_the_pairs_listed_help_most_on_real_texts(real_data):
    """More than the most uncertain pairs, and than random ones of the same questions.

    On fifteen sets: experiments.persistence.
    """
    stored = real_data("domains/cora_minilm.npz")
    identities = np.unique(stored["labels"], return_inverse=True)[1]
    refined = gfa.refine(stored["features"].astype(np.float32), cluster=True)
    assert refined.labels is not None
    labels, count = refined.labels, 10**6
    evidence = refined.settings.evidence
    everything = review(
        refined.features, refined.neighbors, labels, count=count, evidence=evidence
    )

    def gain(order: np.ndarray) -> float:
        chosen = order[:20]
        rows, together, probability, change = (c[chosen] for c in everything[:4])
        asked = Review(rows, together, probability, change, everything.parts)
        same = identities[asked.rows[:, 0]] == identities[asked.rows[:, 1]]
        found = answer(labels, asked, same)
        return cluster_scores(identities, found).pairwise.f_score

    rng, every = np.random.default_rng(0), np.arange(len(everything.rows))
    doubt = np.argsort(np.abs(everything.probability - 0.5), kind="stable")
    random = np.mean([gain(rng.permutation(every)) for _ in range(5)])
    assert gain(every) > max(gain(doubt), random) + 0.05
