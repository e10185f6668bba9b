"""Each rule against a brute force over scikit-learn's points."""

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies as st

from gfa_jax.metrics import DEFAULT_FPRS, OperatingPoint, Roc, roc_curve, tpr_at_fpr
from gfa_jax.metrics.operating_point import allowed_false_accepts

TARGETS = (0.0, 1e-4, 0.01, 0.1, 0.125, 1 / 3, 0.5, 0.75, 0.9, 1.0)


@st.composite
def problems(draw):
    """Pairs whose curve has ties, collinear runs and vertical segments."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    size = draw(st.integers(2, 80))
    decimals = draw(st.sampled_from([0, 1, 2, 8]))
    same = rng.random(size) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    same[:2] = True, False
    return np.round(rng.normal(size=size) + same, decimals), same


def as_tuple(point: OperatingPoint) -> tuple[float, float, float]:
    return point.tpr, point.fpr, point.threshold


@hypothesis.given(problems(), st.floats(0, 1))
def test_conservative(problem, extra):
    scores, same = problem
    fpr, tpr, thresholds = sklearn.metrics.roc_curve(
        same, scores, drop_intermediate=False
    )
    targets = (*TARGETS, extra)
    for point, target in zip(
        tpr_at_fpr(roc_curve(scores, same), targets), targets, strict=True
    ):
        allowed = [k for k in range(fpr.size) if fpr[k] <= target]
        best = max(allowed, key=lambda k: (tpr[k], fpr[k]))
        assert as_tuple(point) == (tpr[best], fpr[best], thresholds[best])
        assert point.false_accepts == np.sum(scores[~same] >= point.threshold)
        assert point.fpr_target == target


@hypothesis.given(problems(), st.floats(0, 1))
def test_nearest(problem, extra):
    scores, same = problem
    fpr, tpr, thresholds = sklearn.metrics.roc_curve(same, scores)
    targets = (*TARGETS, extra)
    points = tpr_at_fpr(roc_curve(scores, same), targets, rule="nearest")
    for point, target in zip(points, targets, strict=True):
        best = min(
            range(fpr.size), key=lambda k: (abs(fpr[k] - target), -fpr[k], -tpr[k])
        )
        assert as_tuple(point) == (tpr[best], fpr[best], thresholds[best])


@hypothesis.given(problems(), st.floats(0, 1))
def test_interpolate(problem, extra):
    scores, same = problem
    fpr, tpr, _ = sklearn.metrics.roc_curve(same, scores, drop_intermediate=False)
    # Tops of the vertical segments on the left side, bottoms on the right side.
    levels = np.unique(fpr)
    top = np.array([tpr[fpr == level].max() for level in levels])
    bottom = np.array([tpr[fpr == level].min() for level in levels])
    targets = (*TARGETS, extra)
    points = tpr_at_fpr(roc_curve(scores, same), targets, rule="interpolate")
    for point, target in zip(points, targets, strict=True):
        left = np.flatnonzero(levels <= target)[-1]
        expected = top[left]
        if left + 1 < levels.size:
            part = (target - levels[left]) / (levels[left + 1] - levels[left])
            expected = (1 - part) * top[left] + part * bottom[left + 1]
        # Two ways to write the same line differ by a few roundings of numbers <= 1.
        np.testing.assert_allclose(point.tpr, expected, atol=1e-14)
        assert point.fpr == target
        assert point.false_accepts / np.sum(~same) <= target


def test_rules_by_hand():
    # FPR 0, 1/4, 1/4, 1/2, 1 with TPR 0, 0, 1/2, 1/2, 1.
    roc = Roc(
        np.array([np.inf, 0.9, 0.7, 0.5, 0.1]),
        np.array([0, 1, 1, 2, 4]),
        np.array([0, 0, 1, 1, 2]),
        num_impostor=4,
        num_genuine=2,
    )
    for rule, expected in (
        ("conservative", OperatingPoint(0.4, 0.5, 0.25, 1, 0.7)),
        ("nearest", OperatingPoint(0.4, 0.5, 0.5, 2, 0.5)),
        ("interpolate", OperatingPoint(0.4, 0.5, 0.4, 1, 0.7)),
    ):
        assert tpr_at_fpr(roc, [0.4], rule=rule) == (expected,)
    # 3/8 is as far from 1/4 as from 1/2: the larger FPR wins. 1/4 is hit by two
    # points: the larger TPR wins.
    assert tpr_at_fpr(roc, [0.375], rule="nearest")[0].threshold == 0.5
    assert tpr_at_fpr(roc, [0.25], rule="nearest")[0].threshold == 0.7
    # Between the top of the segment at 0 and the bottom of that at 1/4: flat.
    assert tpr_at_fpr(roc, [0.125], rule="interpolate")[0].tpr == 0.0
    assert tpr_at_fpr(roc, [0.75], rule="interpolate")[0].tpr == 0.75


@hypothesis.given(
    st.integers(1, 10**13), st.integers(0, 10**13), st.sampled_from(DEFAULT_FPRS)
)
def test_allowed_count_is_the_largest_within_the_target(total, count, power):
    for target in (power, min(count / total, 1.0)):
        allowed = allowed_false_accepts(target, total)
        assert allowed / total <= target < (allowed + 1) / total
    assert allowed_false_accepts(1e-3, 3000) == 3
    # A target that was written as a quotient allows exactly its numerator.
    if count <= total:
        assert allowed == count


def test_fewer_than_ten_false_accepts_are_unreliable():
    scores = np.arange(1000)
    same = scores % 2 == 0
    points = tpr_at_fpr(roc_curve(scores, same), [0.0, 9 / 500, 10 / 500])
    assert [p.false_accepts for p in points] == [0, 9, 10]
    assert [p.is_reliable for p in points] == [False, False, True]


def test_bad_options_are_refused():
    roc = roc_curve([0.3, 0.2], [1, 0])
    with pytest.raises(ValueError, match="expected one of conservative, interpolate"):
        tpr_at_fpr(roc, rule="linear")
    for target in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="expected a rate in"):
            tpr_at_fpr(roc, [target])
