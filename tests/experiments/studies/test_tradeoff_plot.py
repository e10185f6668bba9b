"""The figure of quality against seconds shows the figures that it was given."""

import matplotlib.figure
import numpy as np

from experiments.studies.tradeoff_plot import plot_tradeoff


def test_each_method_stands_at_its_seconds_and_quality():
    axes = matplotlib.figure.Figure().subplots()
    points = {f"method {n}": (1.5**-n, 0.5 + n / 60, 0.4, 0.9) for n in range(20)}
    figure = plot_tradeoff(points, baseline=0.3, axes=axes)
    assert figure is axes.figure
    assert axes.get_xscale() == "log"
    looks = set()
    for container, (seconds, value, lower, upper) in zip(
        axes.containers, points.values(), strict=True
    ):
        mark, _, (bar,) = container
        assert mark.get_xdata()[0] == seconds
        assert mark.get_ydata()[0] == value
        ends = np.asarray(bar.get_segments())[0, :, 1]
        np.testing.assert_allclose(ends, [lower, upper])
        looks.add((mark.get_marker(), mark.get_fillstyle()))
    assert len(looks) == 20  # told apart without colour
    (line,) = [x for x in axes.lines if x.get_label() == "raw"]
    np.testing.assert_array_equal(line.get_ydata(), 0.3)
    legend = axes.get_legend()
    assert legend is not None and len(legend.get_texts()) == 21
