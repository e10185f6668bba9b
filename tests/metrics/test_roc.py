"""The curve against scikit-learn's, and its two summaries."""

import hypothesis
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies as st

from gfa_jax.metrics import auc, eer, roc_curve


@st.composite
def pair_lists(draw, max_size=60):
    """Scores with many ties (or all equal) and labels of both kinds."""
    size = draw(st.integers(2, max_size))
    values = draw(
        st.sampled_from(
            [
                st.floats(-1, 1, width=32),
                st.sampled_from([-0.5, 0.0, 0.25, 1.0]),
                st.just(0.5),
            ]
        )
    )
    scores = draw(hnp.arrays(np.float64, size, elements=values))
    same = draw(hnp.arrays(np.bool_, size))
    hypothesis.assume(same.any() and not same.all())
    return scores, same


@hypothesis.given(pair_lists())
def test_curve_is_that_of_scikit_learn(problem):
    scores, same = problem
    roc = roc_curve(scores, same)
    fpr, tpr, thresholds = sklearn.metrics.roc_curve(
        same, scores, drop_intermediate=False
    )
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    np.testing.assert_array_equal(roc.fpr, fpr)
    np.testing.assert_array_equal(roc.tpr, tpr)
    assert roc.false_accepts.dtype == roc.true_accepts.dtype == np.int64
    assert (roc.num_genuine, roc.num_impostor) == (same.sum(), (~same).sum())


@hypothesis.given(pair_lists())
def test_area_is_that_of_scikit_learn(problem):
    scores, same = problem
    expected = sklearn.metrics.roc_auc_score(same, scores)
    # Sums of at most 60 rounded terms of at most 1.
    np.testing.assert_allclose(auc(roc_curve(scores, same)), expected, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_dtypes_of_scores(rng, dtype):
    scores = (rng.normal(size=200) * 10).astype(dtype)
    same = rng.random(200) < 0.3
    roc = roc_curve(scores, same.astype(int))
    wide = roc_curve(scores.astype(np.float64), same)
    for got, expected in zip(roc, wide, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_equal_error_by_hand():
    # FPR 0 and FNR 1/2 at 0.8, then FPR 1/3 and 2/3 at 0.6 and 0.4: they cross half
    # way between 0.6 and 0.4, at FPR = 1/2.
    rate = eer(roc_curve([0.8, 0.6, 0.4, 0.2, 0.3], [1, 0, 0, 0, 1]))
    np.testing.assert_allclose(rate, 0.5, rtol=1e-14)
    assert eer(roc_curve([0.9, 0.8, 0.1, 0.0], [1, 1, 0, 0])) == 0  # separable
    assert eer(roc_curve([0.5] * 6, [1, 0, 0, 1, 0, 0])) == 0.5  # constant


def test_rates_by_hand():
    # The genuine scores are .8, .7 and .3, the impostor scores .6, .4 and .2.
    roc = roc_curve([0.8, 0.7, 0.6, 0.4, 0.2, 0.3], [1, 1, 0, 0, 0, 1])
    np.testing.assert_allclose(roc.fpr, np.array([0, 0, 0, 1, 2, 2, 3]) / 3)
    np.testing.assert_allclose(roc.tpr, np.array([0, 1, 2, 2, 2, 3, 3]) / 3)
    np.testing.assert_allclose(roc.fnr, np.array([3, 2, 1, 1, 1, 0, 0]) / 3)


@hypothesis.given(pair_lists())
def test_equal_error_lies_on_the_curve(problem):
    roc = roc_curve(*problem)
    rate = eer(roc)
    # The polyline through the points meets FNR = FPR at that rate: 1 − rate is among
    # the TPRs at FPR = rate (a vertical segment holds a range of them).
    tprs_at_rate = [
        np.interp(rate, roc.fpr, roc.tpr),
        roc.tpr[roc.fpr <= rate + 1e-12].max(),
        roc.tpr[roc.fpr >= rate - 1e-12].min(),
    ]
    assert min(tprs_at_rate) - 1e-12 <= 1 - rate <= max(tprs_at_rate) + 1e-12


@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([0.1, np.nan, 0.3], [1, 0, 1], "1 of 3 scores are not finite"),
        ([0.1, np.inf], [1, 0], "not finite"),
        ([0.1, 0.2], [1, 0, 1], "expected \\[M\\] both"),
        ([[0.1, 0.2]], [[1, 0]], "expected \\[M\\] both"),
        (0.1, 1, "expected \\[M\\] both"),
        ([0.1, 0.2], [1, 1], "2 genuine and 0 impostor pairs"),
        ([0.1, 0.2], [0, 0], "0 genuine and 2 impostor pairs"),
        ([], [], "0 genuine and 0 impostor pairs"),
        ([0.1, 0.2], [1, 2], "other than 0 and 1"),
        ([0.1, 0.2], [1, -1], "other than 0 and 1"),
    ],
)
def test_bad_lists_are_refused(scores, same, message):
    with pytest.raises(ValueError, match=message):
        roc_curve(scores, same)
