"""The figures of a suggestion show its counts, its fit and its choices."""

import numpy as np
import pytest
from matplotlib.patches import StepPatch

import gfa_jax as gfa
from gfa_jax import datasets, plotting
from gfa_jax.selection.thresholds import suggest
from tests.plotting.reading import legend_of, own_axes, points_of


@pytest.fixture(scope="module")
def suggestion():
    sample = datasets.synthetic_features(num_rows=400, dim=64, seed=3, junk_share=0.0)
    return suggest(sample.features, gfa.exact_neighbors(sample.features, k=20))


def test_the_tail_is_drawn_over_its_counts(suggestion):
    found, axes = suggestion.threshold, own_axes()
    assert plotting.plot_tail(found, axes) is axes.figure
    axes.figure.canvas.draw()
    counts = axes.patches[0]
    assert isinstance(counts, StepPatch)
    heights, edges, _ = (np.asarray(values) for values in counts.get_data())
    assert heights.sum() == found.tail.pairs.sum() == 400 * 399 / 2
    assert len(edges) == len(heights) + 1

    fit, inside, beyond = axes.get_lines()[:3]
    drawn = points_of(fit)
    in_window = ~np.isnan(drawn[:, 1])
    start, stop = found.tail.window
    assert start < drawn[in_window, 0].min() < drawn[in_window, 0].max() < stop
    # Inside, the fit lies on the counts: these are the roots of Poisson counts.
    np.testing.assert_allclose(
        np.sqrt(drawn[in_window, 1]), np.sqrt(heights[in_window]), atol=3
    )
    # Beyond, the impostors go on from the last point inside, ever fewer.
    assert points_of(beyond)[0] == pytest.approx(points_of(inside)[-1])
    assert np.all(np.diff(points_of(beyond)[:, 1]) < 0)


def test_t_and_the_other_cosine_are_marked(suggestion):
    found = suggestion.threshold
    for threshold in (found.tail_threshold, found.likeness_threshold):
        (axes,) = plotting.plot_tail(found._replace(threshold=threshold)).axes
        lines = [points_of(line) for line in axes.get_lines()]
        marked = [points[0, 0] for points in lines if len(points) == 2]
        assert threshold in marked
        assert {found.tail_threshold, found.likeness_threshold} <= set(marked)
        assert f"t = {threshold:.3f}, interval 90 %" in legend_of(axes)


def test_without_a_likeness_t_stands_alone(suggestion):
    found = suggestion.threshold
    (axes,) = plotting.plot_tail(
        found._replace(threshold=found.tail_threshold, likeness_threshold=np.nan)
    ).axes
    assert not any("likeness" in label for label in legend_of(axes))


def test_edges_add_up_to_one_and_k_is_marked(suggestion):
    (axes,) = plotting.plot_edges([0, 6, 3, 1], k=3).axes
    shares, mark = axes.get_lines()
    np.testing.assert_allclose(
        points_of(shares), [[1, 0], [2, 0.6], [3, 0.9], [4, 1.0]]
    )
    assert points_of(mark)[0, 0] == 3
    assert legend_of(axes) == ["K = 3"]


def test_a_suggestion_is_three_panels(suggestion, tmp_path):
    figure = plotting.plot_suggestion(suggestion)
    figure.savefig(tmp_path / "suggestion.png")
    _, edges, residual = figure.axes
    assert legend_of(edges) == [f"K = {suggestion.k}"]
    np.testing.assert_array_equal(
        points_of(residual.get_lines()[0])[:, 1], suggestion.residual
    )
    assert legend_of(residual) == [f"gamma = 1, T = {suggestion.num_steps}"]
