"""ROC and similarities hold what they are given, and mark what rests on few pairs."""

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from gfa_jax import metrics, plotting
from tests.plotting.reading import axes_of, legend_of, points_of


@pytest.fixture
def scored(rng):
    """Genuine pairs above impostor pairs, with some overlap."""
    same = np.arange(60_000) < 3_000
    scores = np.tanh(rng.normal(np.where(same, 0.9, 0.0), 0.3))
    return scores, same


def solid_and_pale(axes):
    lines = [line for line in axes.get_lines() if line.get_marker() == "None"]
    solid = [line for line in lines if line.get_alpha() is None]
    pale = [line for line in lines if line.get_alpha() is not None]
    return solid, pale


def test_roc_draws_the_curve_and_marks_reliable_targets(scored):
    roc = metrics.roc_curve(*scored)
    figure = plotting.plot_roc({"before": roc, "after": roc})
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert legend_of(axes) == ["before", "after"]
    full = [p.tpr for p in metrics.tpr_at_fpr(roc) if p.is_reliable]
    # The axis is cut under the lowest figure that rests on enough pairs.
    assert min(full) - 0.1 < axes.get_ylim()[0] < min(full)
    solid, pale = solid_and_pale(axes)
    assert len(solid) == len(pale) == 2
    assert len({line.get_linestyle() for line in solid}) == 2  # told apart in grey
    # 57,000 impostor pairs: ten false accepts need an FPR of 1.8e-4.
    solid_fpr, pale_fpr = (
        np.asarray(lines[0].get_xdata(), float) for lines in (solid, pale)
    )
    assert solid_fpr.min() >= 1e-3 > pale_fpr.max()
    full, hollow = [line for line in axes.get_lines() if line.get_marker() == "o"][:2]
    assert full.get_markerfacecolor() == full.get_color()
    assert hollow.get_markerfacecolor() == "white"
    # Half a false accept is where the axis begins.
    shown = [p for p in metrics.tpr_at_fpr(roc) if p.fpr_target >= 0.5 / 57_000]
    for dots, is_reliable in ((full, True), (hollow, False)):
        expected = [
            (p.fpr_target, p.tpr) for p in shown if p.is_reliable == is_reliable
        ]
        assert expected
        np.testing.assert_array_equal(points_of(dots), expected)


def test_roc_draws_intervals_at_reliable_targets_only(scored):
    roc = metrics.roc_curve(*scored)
    bounds = (
        metrics.TprInterval(1e-5, 0.0, 0.1),  # no ten false accepts behind it
        metrics.TprInterval(1e-3, 0.2, 0.6),
        metrics.TprInterval(1e-2, np.nan, np.nan),
        metrics.TprInterval(1e-1, 0.9, 1.0),
    )
    (axes,) = plotting.plot_roc(
        {"before": roc, "after": roc}, intervals={"before": None, "after": bounds}
    ).axes
    bars = [line for line in axes.get_lines() if line.get_marker() == "_"]
    after = axes.get_lines()[-1].get_color()
    assert {bar.get_color() for bar in bars} == {after}
    ends = [points_of(bar) for bar in bars]
    np.testing.assert_array_equal([bar[:, 1] for bar in ends], [[0.2, 0.6], [0.9, 1.0]])
    # Beside the dots of the second curve, within a tenth of a decade.
    for (left, right), target in zip(
        (bar[:, 0] for bar in ends), (1e-3, 1e-1), strict=True
    ):
        assert target < left == right < target * 10**0.1


def test_roc_thins_a_long_curve_to_points_of_it(scored):
    roc = metrics.roc_curve(*scored)
    (axes,) = plotting.plot_roc({"raw": roc}).axes
    solid, pale = solid_and_pale(axes)
    drawn = np.concatenate([points_of(line) for line in solid + pale])
    assert len(drawn) <= 2000 < len(roc.fpr)
    fpr = np.maximum(roc.false_accepts, 0.5) / roc.num_impostor
    points = set(zip(fpr, roc.tpr, strict=True))
    assert all(tuple(point) in points for point in drawn)


KINDS = ("impostor", "genuine")


def test_scores_have_unit_area_and_fewer_bins_where_pairs_are_few(scored):
    histogram = metrics.score_histogram(*scored)
    figure = plotting.plot_scores({"raw": histogram, "refined": histogram})
    (axes,) = axes_of(figure)
    assert axes.get_yscale() == "log"
    for steps in axes.patches:
        assert isinstance(steps, StepPatch)
        values, edges, _ = steps.get_data()
        assert len(values) == 128
        assert np.sum(values * np.diff(edges)) == pytest.approx(1)
        cosines = scored[0][scored[1] == ("genuine" in str(steps.get_label()))]
        expected = np.histogram(cosines, edges, density=True)[0]
        np.testing.assert_allclose(values, expected, atol=1e-12)
    named = [f"{kind}, {rows}" for rows in ("raw", "refined") for kind in KINDS]
    assert legend_of(axes) == named
    title = "Scores: 3,000 genuine, 57,000 impostor pairs"
    assert axes.get_title(loc="left") == title
    same = np.arange(60_000) < 5
    few = metrics.score_histogram(scored[0], same)
    (axes,) = axes_of(plotting.plot_scores({"raw": few}))
    assert {len(steps.get_data().values) for steps in axes.patches} == {16}
