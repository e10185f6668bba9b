"""Detection costs and calibration against hand-worked values and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import det_curve

from gfa_jax import metrics


@pytest.fixture
def pairs(rng):
    """Overlapping scores with ties, and more impostor than genuine pairs."""
    same = np.repeat([True, False], [80, 300])
    scores = np.round(rng.normal(np.where(same, 0.6, 0.1), 0.25), 2)
    return scores, same


def cost_at(scores, same, threshold, p, miss, fa):
    cost = miss * p * np.mean(scores[same] < threshold)
    cost += fa * (1 - p) * np.mean(scores[~same] >= threshold)
    return cost / min(miss * p, fa * (1 - p))


@pytest.mark.parametrize("costs", [(0.01, 1, 1), (0.5, 10, 1), (0.05, 1, 3)])
def test_costs_are_those_of_every_threshold(pairs, costs):
    scores, same = pairs
    roc = metrics.roc_curve(scores, same)
    p, miss, fa = costs
    named = {"p_target": p, "c_miss": miss, "c_fa": fa}
    every = [cost_at(scores, same, t, *costs) for t in [np.inf, *np.unique(scores)]]
    assert metrics.min_dcf(roc, **named) == pytest.approx(min(every), rel=1e-12)
    right = math.log(fa * (1 - p) / (miss * p))
    want = cost_at(scores, same, right, *costs)
    assert metrics.actual_dcf(roc, **named) == pytest.approx(want, rel=1e-12)


def test_det_is_scikit_learns(pairs):
    scores, same = pairs
    fpr, fnr, thresholds = det_curve(same, scores)
    roc = metrics.roc_curve(scores, same)
    places = np.searchsorted(-roc.thresholds, -thresholds)
    np.testing.assert_allclose(roc.fpr[places], fpr, rtol=1e-12)
    np.testing.assert_allclose(roc.fnr[places], fnr, rtol=1e-12)


def test_cllr_by_hand():
    # Genuine ℓ = ln 3 twice and −ln 3, impostor ℓ = −ln 3 and 0.
    third = math.log(3)
    roc = metrics.roc_curve([third, third, -third, -third, 0], [1, 1, 1, 0, 0])
    genuine = (2 * math.log2(4 / 3) + math.log2(4)) / 3
    impostor = (math.log2(4 / 3) + 1) / 2
    assert metrics.cllr(roc) == pytest.approx((genuine + impostor) / 2, rel=1e-12)
    # Pool adjacent violators: ln 3 alone; 0 and −ln 3 together, 1 genuine of 3.
    ratio = (1 / 3) / 1  # shares of the genuine and of the impostor pairs there
    want = (math.log2(1 + 1 / ratio) / 3 + math.log2(1 + ratio)) / 2
    assert metrics.min_cllr(roc) == pytest.approx(want, rel=1e-12)


def test_scores_without_information_cost_one_and_perfect_ones_nothing():
    tied = metrics.roc_curve(np.zeros(9), np.arange(9) < 2)
    assert metrics.cllr(tied) == metrics.min_cllr(tied) == pytest.approx(1)
    perfect = metrics.roc_curve([900.0, 800.0, -700.0], [1, 1, 0])
    assert metrics.min_cllr(perfect) == 0
    assert metrics.cllr(perfect) == pytest.approx(0, abs=1e-300)
    for p in (0.01, 0.9):
        assert metrics.min_dcf(tied, p_target=p) == pytest.approx(1)
        assert metrics.min_dcf(perfect, p_target=p) == 0
    # Sure of the wrong: half of the impostor pairs at ℓ = 1000.
    wrong = metrics.roc_curve([1000.0, -1000.0, 1000.0], [1, 0, 0])
    assert metrics.cllr(wrong) == pytest.approx(1000 / math.log(2) / 4)


@pytest.mark.parametrize("p_target", [0.5, 0.05])
def test_calibration_is_scikit_learns_regression(pairs, p_target):
    scores, same = pairs
    roc = metrics.roc_curve(scores, same)
    found = metrics.fit_calibration(roc, p_target=p_target)
    weights = np.where(same, p_target / same.sum(), (1 - p_target) / (~same).sum())
    known = LogisticRegression(C=1e12, tol=1e-12, max_iter=1000)
    known.fit(scores[:, None], same, sample_weight=weights * len(scores))
    prior = math.log(p_target / (1 - p_target))
    want = [np.ravel(each)[0] for each in (known.coef_, known.intercept_)]
    np.testing.assert_allclose([found.scale, found.offset + prior], want, rtol=1e-4)
    calibrated = metrics.calibrate(roc, found)
    whole = metrics.roc_curve(found(scores), same)
    np.testing.assert_array_equal(calibrated.true_accepts, whole.true_accepts)
    assert metrics.cllr(calibrated) == pytest.approx(metrics.cllr(whole), rel=1e-12)
    assert metrics.min_cllr(whole) <= metrics.cllr(whole) < metrics.cllr(roc)


def test_all_pairs_are_those_of_the_list(rng):
    labels = rng.integers(9, size=80)
    rows = rng.standard_normal((9, 8))[labels] + rng.standard_normal((80, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    first, second = np.triu_indices(80, 1)
    pairs = np.stack([first, second], axis=1)
    scores, same = metrics.pair_scores(rows, pairs), labels[first] == labels[second]
    whole = metrics.roc_curve(scores, same)
    read = metrics.all_pairs_roc(rows, labels, tail_size=50, genuine_size=1).roc
    known = metrics.fit_calibration(whole)
    found = metrics.fit_calibration(read)
    np.testing.assert_allclose(found, known, rtol=1e-3)
    ratios = [metrics.calibrate(roc, known) for roc in (whole, read)]
    bound = known.scale * 2**-15 / math.log(2)
    assert metrics.cllr(ratios[1]) == pytest.approx(metrics.cllr(ratios[0]), abs=bound)
    # A bin of this pool holds a pair or two of either kind.
    for measure in (metrics.min_cllr, lambda roc: metrics.min_dcf(roc, p_target=0.05)):
        assert -1e-12 <= measure(read) - measure(whole) < 0.05


@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 0], "do not overlap"),
        ([0.1, 0.2, 0.9], [1, 1, 0], "do not overlap"),
        ([0.5, 0.5, 0.5, 0.9], [1, 0, 0, 1], "do not overlap"),
        ([0.1, 0.6, 0.5, 0.9], [1, 1, 0, 0], "not distances"),
        ([0.1, np.inf], [1, 0], "not finite"),
        ([0.1, 0.2], [1, 1], "at least one of each"),
    ],
)
def test_pairs_that_cannot_be_calibrated_are_refused(scores, same, message):
    with pytest.raises(ValueError, match=message):
        metrics.fit_calibration(metrics.roc_curve(scores, same))


@pytest.mark.parametrize(
    "options", [{"p_target": 0}, {"p_target": 1}, {"p_target": 0.1, "c_fa": 0}]
)
def test_priors_and_costs_are_checked(options):
    roc = metrics.roc_curve([0.1, 0.9], [0, 1])
    for measure in (metrics.min_dcf, metrics.actual_dcf):
        with pytest.raises(ValueError, match="expected"):
            measure(roc, **options)
