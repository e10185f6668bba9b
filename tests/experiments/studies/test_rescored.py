"""The ROC of rescored pairs against `roc_curve` of the list of all of them."""

import numpy as np
import pytest

from experiments.studies.comparison.rescored import rescore_pairs
from gfa_jax import metrics
from gfa_jax.metrics.scored_pairs import ScoredPairs
from tests import problems

_FPRS = (1e-3, 1e-2, 1e-1, 0.5)


@pytest.fixture
def problem(rng):
    """Features, labels, every pair, and b for a fifth of the pairs."""
    features = problems.clustered_features(rng, num_rows=90, dim=8)
    labels = rng.integers(12, size=90)
    pairs = np.stack(np.triu_indices(90, 1), axis=1).astype(np.int32)
    listed = np.flatnonzero(rng.random(len(pairs)) < 0.2)
    rng.shuffle(listed)
    added = ScoredPairs(rng.uniform(-0.1, 0.9, len(listed)), pairs[listed])
    b = np.zeros(len(pairs))
    b[listed] = added.scores
    return features, labels, pairs, added, b


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("tail_size", [40, 700, 2**20])
def test_it_is_the_curve_of_the_list(problem, weight, tail_size):
    features, labels, pairs, added, b = problem
    result = rescore_pairs(
        metrics.all_pairs_roc(features, labels, tail_size=tail_size, block_size=32),
        features,
        added,
        weight=weight,
    )
    scores = weight * metrics.pair_scores(features, pairs).astype(float) + b
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    # At every threshold of the curve the counts are those of the list.
    for name, kind in (("false_accepts", ~same), ("true_accepts", same)):
        want = [(scores[kind] >= t - 1e-6).sum() for t in result.roc.thresholds]
        got = getattr(result.roc, name)
        # Scores of a tile and of a list may round to either side of a threshold.
        assert np.abs(np.asarray(got) - want).max() <= 2
        assert np.all(np.diff(got) >= 0)
    assert result.roc.false_accepts[-1] == (~same).sum()
    assert result.roc.true_accepts[-1] == same.sum()
    assert result.histogram.impostor.sum() == (~same).sum()
    assert result.histogram.impostor.min() >= 0

    want = metrics.tpr_at_fpr(metrics.roc_curve(scores, same), _FPRS)
    got = metrics.tpr_at_fpr(result.roc, _FPRS)
    for a, b_ in zip(got, want, strict=True):
        # Below the floor the curve has a point a bin only; the bins are fine.
        assert a.tpr == pytest.approx(b_.tpr, abs=2 / same.sum())
    if tail_size == 2**20:
        assert result.tail_floor == -np.inf
        whole = np.sort(scores[~same])[::-1]
        np.testing.assert_allclose(result.impostor_tail.scores, whole, atol=1e-6)


def test_genuine_pairs_left_out_stay_out(problem):
    features, labels, pairs, added, b = problem
    keep = labels > 3
    result = rescore_pairs(
        metrics.restrict_genuine(metrics.all_pairs_roc(features, labels), keep),
        features,
        added,
        weight=0.5,
    )
    scores = 0.5 * metrics.pair_scores(features, pairs).astype(float) + b
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    kept = ~same | keep[pairs].all(axis=1)
    want = metrics.tpr_at_fpr(metrics.roc_curve(scores[kept], same[kept]), _FPRS)
    got = metrics.tpr_at_fpr(result.roc, _FPRS)
    assert result.roc.num_genuine == (same & kept).sum()
    for a, b_ in zip(got, want, strict=True):
        assert a.tpr == pytest.approx(b_.tpr, abs=2 / (same & kept).sum())


def test_no_listed_pair_and_weight_one_change_nothing(problem):
    features, labels, *_ = problem
    before = metrics.all_pairs_roc(features, labels, tail_size=500)
    nothing = ScoredPairs(np.empty(0), np.empty((0, 2), np.int32))
    after = rescore_pairs(before, features, nothing, weight=1.0)
    for a, b in zip(before.roc, after.roc, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: (a, 0.0), "weight is 0.0"),
        (lambda a: (a._replace(rows=a.rows[:, ::-1]), 1.0), "i >= j"),
        (
            lambda a: (a._replace(rows=np.tile(a.rows[:1], (len(a.rows), 1))), 1),
            "twice",
        ),
        (lambda a: (a._replace(scores=a.scores * np.nan), 1.0), "not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(problem, change, message):
    features, labels, _, added, _ = problem
    result = metrics.all_pairs_roc(features, labels)
    added, weight = change(added)
    with pytest.raises(ValueError, match=message):
        rescore_pairs(result, features, added, weight=weight)
