"""The figure of semi-supervised training holds the means and the spreads."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from experiments.training.semi_supervised_plot import plot_semi_supervised


@pytest.mark.parametrize("seeds", [1, 3])
def test_curves_are_the_means_over_the_seeds(rng, seeds):
    shares = [0.1, 0.5, 0.75]
    tprs = {name: rng.random((seeds, 3)) for name in ("lower", "ours", "upper")}
    figure = plot_semi_supervised(shares, tprs, fpr=1e-4)
    (axes,) = figure.axes
    assert "1e-04" in axes.get_ylabel() or "0.0001" in axes.get_ylabel()
    assert len(axes.containers) == 3
    styles = set()
    for container, values in zip(axes.containers, tprs.values(), strict=True):
        assert isinstance(container, ErrorbarContainer)
        line = container.lines[0]
        np.testing.assert_allclose(np.asarray(line.get_ydata()), values.mean(axis=0))
        # Moved a little aside, so that bars do not cover bars.
        np.testing.assert_allclose(np.asarray(line.get_xdata()), [10, 50, 75], atol=1)
        assert bool(container.has_yerr) == (seeds > 1)
        styles.add(line.get_linestyle())
    assert len(styles) == 3  # told apart in grey
