"""Cluster scores against scikit-learn, and BCubed against its definition."""

import math
import warnings

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies as st
from sklearn.metrics.cluster import pair_confusion_matrix

from gfa_jax.metrics.clustering import (
    PrecisionRecall,
    cluster_purity,
    cluster_scores,
)

# Sums of at most 60 terms of order 1 in float64, in another order.
EXACT = {"rtol": 0, "atol": 1e-12}


@st.composite
def labelings(draw):
    """Two labelings of the same rows, from all alone to all together."""
    size = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = st.sampled_from([1, 2, 5, 1000])
    true = rng.integers(draw(counts), size=size)
    pred = rng.integers(draw(counts), size=size)
    return true, np.where(
        rng.random(size) < draw(st.sampled_from([0, 0.7])), true, pred
    )


def brute_bcubed(true, pred):
    """Mean over the rows, straight from the definition."""
    precision, recall = [], []
    for i in range(len(true)):
        both = np.sum((true == true[i]) & (pred == pred[i]))
        precision.append(both / np.sum(pred == pred[i]))
        recall.append(both / np.sum(true == true[i]))
    return np.mean(precision), np.mean(recall)


@hypothesis.settings(max_examples=200)
@hypothesis.given(labelings())
def test_equals_scikit_learn_and_brute_force(labeling):
    true, pred = labeling
    scores = cluster_scores(true, pred)

    (_, false_pairs), (missed_pairs, true_pairs) = pair_confusion_matrix(true, pred)
    joined, genuine = true_pairs + false_pairs, true_pairs + missed_pairs
    assert scores.pairwise.precision == (true_pairs / joined if joined else 1)
    assert scores.pairwise.recall == (true_pairs / genuine if genuine else 1)
    np.testing.assert_allclose(scores.bcubed, brute_bcubed(true, pred), **EXACT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of many classes
        nmi = sklearn.metrics.normalized_mutual_info_score(true, pred)
    np.testing.assert_allclose(scores.nmi_arithmetic, nmi, **EXACT)
    assert scores.num_identities == np.unique(true).size
    assert scores.num_clusters == np.unique(pred).size


@hypothesis.given(labelings(), st.integers(0, 2**32 - 1))
def test_only_the_partition_counts(labeling, seed):
    true, pred = labeling
    rng = np.random.default_rng(seed)
    order = rng.permutation(true.size)
    names = np.array([f"name {number}" for number in rng.permutation(1000)])
    shuffled = cluster_scores(names[true[order]], (names[pred[order]]).tolist())
    for got, want in zip(shuffled, cluster_scores(true, pred), strict=True):
        np.testing.assert_allclose(got, want, **EXACT)


@hypothesis.given(labelings())
def test_changing_sides_changes_precision_and_recall(labeling):
    scores, swapped = cluster_scores(*labeling), cluster_scores(*labeling[::-1])
    for got, want in (
        (swapped.pairwise, scores.pairwise[::-1]),
        (swapped.bcubed, scores.bcubed[::-1]),
        (swapped.nmi_arithmetic, scores.nmi_arithmetic),
    ):
        np.testing.assert_allclose(got, want, **EXACT)


@hypothesis.given(labelings(), st.integers(0, 2**32 - 1))
def test_rows_without_a_cluster(labeling, seed):
    true, pred = labeling
    is_unlabeled = np.random.default_rng(seed).random(true.size) < 0.4
    marked = np.where(is_unlabeled, -1, pred)
    fresh = np.where(is_unlabeled, 10_000 + np.arange(true.size), pred)

    assert cluster_scores(true, marked) == cluster_scores(true, fresh)


def test_by_hand():
    # One identity of 3 in two clusters, one of 2 whole, joined by a wrong row.
    scores = cluster_scores([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    assert scores.pairwise == PrecisionRecall(2 / 4, 2 / 4)
    assert scores.pairwise.f_score == 0.5
    precision = (1 + 1 + 1 / 3 + 2 / 3 + 2 / 3) / 5
    recall = (2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5
    np.testing.assert_allclose(scores.bcubed, (precision, recall), **EXACT)


def test_clusters_that_join_nothing():
    alone = cluster_scores([0, 0, 1, 1], [0, 1, 2, 3])
    assert alone.pairwise == PrecisionRecall(1.0, 0.0)
    assert alone.pairwise.f_score == 0.0
    assert alone.bcubed == PrecisionRecall(1.0, 0.5)
    assert alone.num_clusters == 4
    # No identity has a pair either: the partitions agree.
    agree = cluster_scores([0, 1, 2], [5, 4, 3])
    assert agree.pairwise == agree.bcubed == PrecisionRecall(1.0, 1.0)
    assert agree.pairwise.f_score == agree.nmi_arithmetic == 1
    one = cluster_scores([7, 7, 7], [7, 7, 7])
    assert one.pairwise == one.bcubed == PrecisionRecall(1.0, 1.0)
    assert one.nmi_arithmetic == 1
    # Identities without a pair: nothing to recall, and every joined pair is wrong.
    joined = cluster_scores([0, 1, 2], [0, 0, 0])
    assert joined.pairwise == PrecisionRecall(0.0, 1.0)
    assert joined.nmi_arithmetic == 0


def test_squares_do_not_overflow():
    size = 100_000  # its square is beyond int32
    labels = np.zeros(2 * size, np.int32)
    labels[size:] = 1
    scores = cluster_scores(labels, np.zeros(2 * size, np.int16))
    assert scores.pairwise == PrecisionRecall((size - 1) / (2 * size - 1), 1.0)
    assert math.isclose(scores.bcubed.precision, 0.5)


def test_labels_as_large_as_they_get():
    ends = np.iinfo(np.int64)
    scores = cluster_scores([0, 0, 1], [ends.min, ends.min, ends.max])
    assert scores.pairwise.f_score == scores.bcubed.f_score == 1
    # An unsigned label cannot be -1, whatever its bits.
    top = np.full(2, 2**64 - 1, np.uint64)
    assert cluster_scores([0, 0], top).num_clusters == 1


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        ([0, 1], [0], r"labels_pred are int64 of shape \(1,\); expected .* \(2,\)"),
        ([[0, 1]], [0, 1], r"labels_true are int64 of shape \(1, 2\); expected"),
        ([0, 1], [0.0, 1.0], "labels_pred are float64 .* expected integers or str"),
        ([0, 1], np.array([0, "a"], object), "labels_pred are object"),
        (np.empty(0, int), np.empty(0, int), "no row is left to score"),
    ],
)
def test_bad_input_is_refused(true, pred, message):
    with pytest.raises(ValueError, match=message):
        cluster_scores(true, pred)


def test_purity_is_the_share_of_the_largest_identity():
    true = np.array(["a", "a", "b", "b", "b", "c", "d"])
    clusters = np.array([0, 0, 0, 1, 1, -1, 2])
    np.testing.assert_allclose(
        cluster_purity(true, clusters), [2 / 3, 1.0, 1.0], rtol=1e-15
    )
