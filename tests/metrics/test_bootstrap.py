"""Intervals against lists in which every pair is repeated as often as it weighs."""

import numpy as np
import pytest
import scipy.stats

from gfa_jax.metrics import (
    all_pairs_roc,
    bootstrap,
    gain_intervals,
    pair_scores,
    resample_all_pairs_tpr,
    resample_tpr,
    restrict_genuine,
    roc_curve,
    tpr_at_fpr,
    tpr_intervals,
)

TARGETS = (0.0, 0.01, 0.1, 0.3, 1.0)


def pair_list(rng, num_identities=9, size=150):
    identities = rng.integers(0, num_identities, size=(size, 2))
    identities[: size // 3, 1] = identities[: size // 3, 0]
    same = identities[:, 0] == identities[:, 1]
    return np.round(rng.normal(size=size) + same, 1), same, identities


def repeated_tprs(scores, same, identities, targets, *, num_resamples, seed):
    """TPRs [R, T] from the definition: every draw written out as a list of pairs."""
    rng = np.random.default_rng(seed)
    num_identities = identities.max() + 1
    tprs = []
    while len(tprs) < num_resamples:
        drawn = rng.integers(num_identities, size=num_identities)
        draws = np.bincount(drawn, minlength=num_identities)
        first, second = draws[identities.T]
        weights = np.where(same, first, first * second)
        repeated_same = np.repeat(same, weights)
        if repeated_same.any() and not repeated_same.all():
            roc = roc_curve(np.repeat(scores, weights), repeated_same)
            tprs.append([point.tpr for point in tpr_at_fpr(roc, targets)])
    return np.array(tprs)


def assert_bounds(intervals, tprs, known=slice(None)):
    bounds = np.array([(i.lower, i.upper) for i in intervals])[known]
    quantiles = np.quantile(tprs, [(1 - 0.95) / 2, 0.975], axis=0)
    np.testing.assert_allclose(bounds, quantiles.T[known], rtol=1e-14)


@pytest.mark.parametrize("num_identities", [2, 3, 9])
def test_pair_list(rng, num_identities):
    scores, same, identities = pair_list(rng, num_identities)
    resampled = resample_tpr(
        scores, same, identities, TARGETS, num_resamples=40, seed=3
    )
    intervals = tpr_intervals(resampled)
    tprs = repeated_tprs(scores, same, identities, TARGETS, num_resamples=40, seed=3)
    assert_bounds(intervals, tprs)
    assert [i.fpr_target for i in intervals] == list(TARGETS)


def labelled_features(rng, num_rows=60, num_identities=12):
    labels = np.concatenate(
        [np.arange(num_identities), rng.integers(0, num_identities, num_rows)]
    )[:num_rows]
    centers = rng.normal(size=(num_identities, 64))
    # Corners of a cube: their products are exact in any order of summation.
    signs = np.sign(centers[labels] + 2 * rng.normal(size=(num_rows, 64)))
    return (signs / 8).astype(np.float32), labels


def all_in_a_list(features, labels):
    rows = np.stack(np.triu_indices(len(labels), k=1), axis=1)
    identities = labels[rows]
    return pair_scores(features, rows), identities[:, 0] == identities[:, 1], identities


@pytest.mark.parametrize("drawn_at_once", [2**24, 100])
def test_all_pairs_equal_their_list(rng, monkeypatch, drawn_at_once):
    monkeypatch.setattr(bootstrap, "_DRAWN_AT_ONCE", drawn_at_once)
    features, labels = labelled_features(rng)
    tprs = repeated_tprs(
        *all_in_a_list(features, labels), TARGETS, num_resamples=30, seed=5
    )
    result = all_pairs_roc(features, labels, block_size=25)
    intervals = tpr_intervals(
        resample_all_pairs_tpr(result, TARGETS, num_resamples=30, seed=5)
    )
    assert_bounds(intervals, tprs)
    # A short tail answers exactly, or not at all.
    result = all_pairs_roc(features, labels, tail_size=400)
    intervals = tpr_intervals(
        resample_all_pairs_tpr(result, TARGETS, num_resamples=30, seed=5)
    )
    # 400 of some 1650 impostors hold the thresholds of FPR 0 to 0.1 in every draw,
    # that of 0.3 and 1 in none.
    assert_bounds(intervals, tprs, known=slice(3))
    for interval in intervals[3:]:
        assert np.isnan([interval.lower, interval.upper]).all()


def test_a_target_that_some_draw_cannot_answer_is_not_answered(rng):
    features, labels = labelled_features(rng)
    result = all_pairs_roc(features, labels, tail_size=400)
    edge = 399 / result.roc.num_impostor
    (interval,) = tpr_intervals(
        resample_all_pairs_tpr(result, [edge], num_resamples=50)
    )
    assert np.isnan([interval.lower, interval.upper]).all()


def test_restricted_genuine_pairs(rng):
    features, labels = labelled_features(rng)
    result = restrict_genuine(all_pairs_roc(features, labels), labels < 6)
    scores, same, identities = all_in_a_list(features, labels)
    left = ~same | (identities[:, 0] < 6)
    tprs = repeated_tprs(
        scores[left], same[left], identities[left], TARGETS, num_resamples=30, seed=0
    )
    intervals = tpr_intervals(resample_all_pairs_tpr(result, TARGETS, num_resamples=30))
    assert_bounds(intervals, tprs)


def test_gain_on_the_same_draws(rng):
    scores, same, identities = pair_list(rng)
    better = np.round(scores + 0.5 * same, 1)
    options = {"num_resamples": 40, "seed": 3}
    before, after = (
        resample_tpr(each, same, identities, TARGETS, **options)
        for each in (scores, better)
    )
    repeated = [
        repeated_tprs(each, same, identities, TARGETS, **options)
        for each in (scores, better)
    ]
    np.testing.assert_allclose(before.tprs, repeated[0], rtol=1e-14)
    gains = gain_intervals(before, after)
    assert_bounds(gains, repeated[1] - repeated[0])
    # Nothing is gained over oneself, which the bounds of the TPR cannot say.
    for gain, own in zip(
        gain_intervals(before, before), tpr_intervals(before), strict=True
    ):
        assert gain[1:] == (0.0, 0.0)
        assert own.fpr_target in (0.0, 1.0) or own.lower < own.upper


def test_gains_on_other_draws_or_targets_are_refused(rng):
    problem = pair_list(rng)
    one = resample_tpr(*problem, TARGETS, num_resamples=20)
    with pytest.raises(ValueError, match="other draws"):
        gain_intervals(one, resample_tpr(*problem, TARGETS, num_resamples=20, seed=1))
    with pytest.raises(ValueError, match="other draws"):
        gain_intervals(one, resample_tpr(*problem, TARGETS, num_resamples=21))
    with pytest.raises(ValueError, match="at the same targets"):
        gain_intervals(one, resample_tpr(*problem, (0.1,), num_resamples=20))


def test_identities_may_be_strings(rng):
    scores, same, identities = pair_list(rng)
    names = np.array([f"person {i}" for i in range(9)])[identities]
    options = {"fpr_targets": TARGETS, "num_resamples": 20}
    np.testing.assert_array_equal(
        resample_tpr(scores, same, names, **options).tprs,
        resample_tpr(scores, same, identities, **options).tprs,
    )


def test_coverage_of_the_true_rate():
    # Scores with a share that belongs to the identity: genuine pairs of a score
    # 2.5 + u_a + noise, impostor pairs of a and b (v_a + v_b)/2 + noise, all normal
    # of unit variance. The true TPR at FPR 0.05 follows from the normal law.
    threshold = scipy.stats.norm.isf(0.05, scale=np.sqrt(1.5))
    true_tpr = scipy.stats.norm.sf(threshold, loc=2.5, scale=np.sqrt(2))
    num_identities, num_sets, per_identity = 60, 100, 6
    rng = np.random.default_rng(7)
    first, second = np.triu_indices(num_identities, k=1)
    own = np.repeat(np.arange(num_identities), per_identity)
    identities = np.concatenate(
        [np.stack([own, own], axis=1), np.stack([first, second], axis=1)]
    )
    same = identities[:, 0] == identities[:, 1]
    covered = 0
    for _ in range(num_sets):
        u, v = rng.normal(size=(2, num_identities))
        signal = np.concatenate([2.5 + u[own], (v[first] + v[second]) / 2])
        scores = signal + rng.normal(size=same.size)
        resampled = resample_tpr(scores, same, identities, [0.05], num_resamples=100)
        (interval,) = tpr_intervals(resampled)
        covered += interval.lower <= true_tpr <= interval.upper
    # Binomial(100, 0.95) is at least 88 with probability 0.998. Drawing pairs instead
    # of identities covers about 75.
    assert covered >= 88


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identities": [[0, 0], [0, 1]]}, "expected \\(3, 2\\)"),
        ({"identities": [[0, 1], [0, 1], [1, 2]]}, "1 of 3 pairs contradict"),
        ({"identities": [[0, 0], [1, 1], [1, 2]]}, "1 of 3 pairs contradict"),
        ({"same": [1, 1, 1]}, "3 genuine and 0 impostor"),
        ({"scores": [0.1, 0.2, np.nan]}, "not finite"),
        ({"num_resamples": 0}, "num_resamples is 0"),
        ({"fpr_targets": [2.0]}, "expected a rate"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    good = {
        "scores": [0.9, 0.3, 0.1],
        "same": [1, 0, 0],
        "identities": [[0, 0], [0, 1], [1, 2]],
    }
    with pytest.raises(ValueError, match=message):
        resample_tpr(**{**good, **change})


def test_a_result_without_genuine_pairs_is_refused(rng):
    result = all_pairs_roc(*labelled_features(rng), genuine_size=1)
    with pytest.raises(ValueError, match="larger genuine_size"):
        resample_all_pairs_tpr(result)
