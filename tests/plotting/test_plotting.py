"""The figures hold what they are given, and mark what rests on few pairs."""

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from gfa_jax import metrics, plotting


@pytest.fixture
def scored(rng):
    """Genuine pairs above impostor pairs, with some overlap."""
    same = np.arange(60_000) < 3_000
    scores = np.tanh(rng.normal(np.where(same, 0.9, 0.0), 0.3))
    return scores, same


def legend_of(axes):
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


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
    solid, pale = solid_and_pale(axes)
    assert len(solid) == len(pale) == 2
    assert len({line.get_linestyle() for line in solid}) == 2  # told apart in grey
    # 57,000 impostor pairs: ten false accepts need an FPR of 1.8e-4.
    solid_fpr, pale_fpr = (
        np.asarray(lines[0].get_xdata(), float) for lines in (solid, pale)
    )
    assert solid_fpr.min() >= 1e-3 > pale_fpr.max()
    dots = next(line for line in axes.get_lines() if line.get_marker() == "o")
    expected = [p for p in metrics.tpr_at_fpr(roc) if p.is_reliable]
    np.testing.assert_array_equal(dots.get_xdata(), [p.fpr_target for p in expected])
    np.testing.assert_array_equal(dots.get_ydata(), [p.tpr for p in expected])


def test_roc_thins_a_long_curve_to_points_of_it(scored):
    roc = metrics.roc_curve(*scored)
    (axes,) = plotting.plot_roc({"raw": roc}).axes
    solid, pale = solid_and_pale(axes)
    drawn = np.concatenate([np.stack(line.get_data(), axis=1) for line in solid + pale])
    assert len(drawn) <= 2000 < len(roc.fpr)
    fpr = np.maximum(roc.false_accepts, 0.5) / roc.num_impostor
    points = set(zip(fpr, roc.tpr, strict=True))
    assert all(tuple(point) in points for point in drawn)


def test_roc_draws_into_given_axes(scored):
    import matplotlib.figure

    axes = matplotlib.figure.Figure().subplots()
    figure = plotting.plot_roc({"raw": metrics.roc_curve(*scored)}, axes)
    assert figure is axes.figure
    assert axes.get_xlabel() == "false positive rate"


def test_similarity_panels_have_unit_area(scored):
    histogram = metrics.score_histogram(*scored)
    figure = plotting.plot_similarity(
        {"before": histogram, "after": histogram}, num_bins=64
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["before", "after"]
    for axes in figure.axes:
        assert axes.get_yscale() == "log"
        for steps in axes.patches:
            assert isinstance(steps, StepPatch)
            values, edges, _ = steps.get_data()
            assert len(values) == 64
            assert np.sum(values * np.diff(edges)) == pytest.approx(1)
    labels = ["genuine, 3,000 pairs", "impostor, 57,000 pairs"]
    assert legend_of(figure.axes[0]) == labels


def test_cluster_sizes_are_counted(rng):
    (axes,) = plotting.plot_cluster_sizes(np.array([5, 2, 2, 1, 1, 1])).axes
    (dots,) = axes.get_lines()
    np.testing.assert_array_equal(dots.get_xdata(), [1, 2, 5])
    np.testing.assert_array_equal(dots.get_ydata(), [3, 2, 1])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert "6 clusters, the largest of 5 rows" in axes.get_title(loc="left")


def test_purity_is_drawn_against_size():
    (axes,) = plotting.plot_purity(np.array([5, 2]), np.array([0.8, 1.0])).axes
    (dots,) = axes.get_lines()
    np.testing.assert_array_equal(dots.get_xdata(), [5, 2])
    np.testing.assert_array_equal(dots.get_ydata(), [0.8, 1.0])
