"""The figure of a search shows each curve at its ranks, and its intervals."""

import numpy as np

from experiments.paper.cmc_plot import plot_cmc

RANKS = (1, 5, 10)
CURVES = {"raw": [0.5, 0.7, 0.8], "paper": np.array([0.6, 0.75, 0.8])}


def test_curves_and_their_intervals():
    bounds = {"raw": [[0.4, 0.6], [0.6, 0.8], [0.7, 0.9]]}
    axes = plot_cmc(CURVES, RANKS, intervals=bounds).axes[0]
    for line, (label, curve) in zip(axes.lines, CURVES.items(), strict=True):
        assert line.get_label() == label
        np.testing.assert_allclose(np.asarray(line.get_ydata()), curve)
    (bars,) = axes.collections
    ends = [np.asarray(path.vertices)[:, 1] for path in bars.get_paths()]
    np.testing.assert_allclose(ends, bounds["raw"])
    low, high = axes.get_ylim()
    assert low < 0.4 and high > 1
    # In grey the curves differ by line and marker.
    looks = {(line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert len(looks) == 2
