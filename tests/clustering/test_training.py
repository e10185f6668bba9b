"""`pseudo_labels` by hand and as a property."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from gfa_jax.clustering import Clusters, cluster, pseudo_labels
from tests.clustering.problems import problems

CLUSTERS = Clusters(
    labels=np.array([1, 0, 0, -1, 0, 1, 2, 2], np.int32),
    sizes=np.array([3, 2, 2]),
    confidence=np.array([0.9, 0.8, 0.1, 0.0, 0.7, 0.2, 0.6, 0.5], np.float32),
)


def test_every_labelled_row_of_a_pair_or_more_by_default():
    result = pseudo_labels(CLUSTERS)
    np.testing.assert_array_equal(result.rows, [0, 1, 2, 4, 5, 6, 7])
    np.testing.assert_array_equal(result.labels, [1, 0, 0, 0, 1, 2, 2])
    np.testing.assert_array_equal(result.weights, CLUSTERS.confidence[result.rows])
    assert result.num_classes == 3


def test_doubtful_rows_go_before_small_classes():
    # Without its doubtful row the cluster 1 is too small, and 2 takes its number.
    result = pseudo_labels(CLUSTERS, min_confidence=0.5, first_label=100)
    np.testing.assert_array_equal(result.rows, [1, 4, 6, 7])
    np.testing.assert_array_equal(result.labels, [100, 100, 101, 101])
    assert result.num_classes == 2


def test_nothing_qualifies():
    result = pseudo_labels(CLUSTERS, min_size=4)
    assert (result.rows.size, result.labels.size, result.weights.size) == (0, 0, 0)
    assert result.num_classes == 0


@hypothesis.given(
    problem=problems(),
    min_size=st.integers(1, 4),
    min_confidence=st.sampled_from([0.0, 0.4, 0.8, 1.0]),
    first_label=st.integers(0, 10),
)
def test_properties(problem, min_size, min_confidence, first_label):
    clusters = cluster(*problem, threshold=0.5)
    result = pseudo_labels(
        clusters,
        min_size=min_size,
        min_confidence=min_confidence,
        first_label=first_label,
    )
    passes = clusters.confidence >= min_confidence
    kept = [
        row
        for row, label in enumerate(clusters.labels)
        if passes[row] and np.sum(passes & (clusters.labels == label)) >= min_size
    ]
    np.testing.assert_array_equal(result.rows, kept)
    # The numbers are dense, and keep the order of the clusters.
    expected = np.unique(clusters.labels[kept], return_inverse=True)[1]
    np.testing.assert_array_equal(result.labels, first_label + expected)
    assert result.num_classes == len(set(result.labels.tolist()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_size": 0}, "min_size is 0; expected at least 1"),
        ({"min_confidence": 1.5}, r"min_confidence is 1.5; expected a value in \[0"),
        ({"min_confidence": float("nan")}, "min_confidence is nan"),
        ({"first_label": -1}, "first_label is -1; expected at least 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pseudo_labels(CLUSTERS, **options)
