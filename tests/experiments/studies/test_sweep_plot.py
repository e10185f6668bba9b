"""The heat-map writes every gain into its own cell and marks the doubtful ones."""

import numpy as np
import pytest

from experiments.studies.sweep_plot import plot_sweep
from tests.plotting.reading import own_axes

K, THRESHOLD = (5, 10), (0.35, 0.45, 0.55)
GAINS = np.array([[0.047, -0.1, np.nan], [0.0, 0.001, -0.007]])
COUNTS = np.array([[10, 9, 3], [200, 10, 0]])


def draw(gains, counts=COUNTS):
    axes = own_axes()
    plot_sweep(gains, 0.6, axes, k=K, threshold=THRESHOLD, false_accepts=counts)
    return axes


def cells_of(axes) -> dict[tuple[float, float], str]:
    return {text.get_position(): text.get_text() for text in axes.texts}


def test_cells_hold_their_gains_and_stars():
    axes, bar = draw(GAINS).figure.axes
    assert cells_of(axes) == {
        (0.5, 0.5): "+.047",
        (1.5, 0.5): "-.100*",
        (0.5, 1.5): "+.000",
        (1.5, 1.5): "+.001",
        (2.5, 1.5): "-.007*",
    }
    assert axes.get_title(loc="left") == "* fewer than 10 false accepts"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0.35", "0.45", "0.55"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["5", "10"]
    assert "0.600" in bar.get_ylabel()


def test_the_map_is_even_about_zero_and_monotone_in_grey():
    axes = draw(GAINS, np.full_like(COUNTS, 10))
    (mesh,) = axes.collections
    assert mesh.get_clim() == (-0.1, 0.1)
    assert not axes.get_title(loc="left")
    red, green, blue, _ = mesh.to_rgba(np.linspace(-0.1, 0.1, 32)).T
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.all(np.diff(luma) > 0)
    np.testing.assert_allclose(luma[15:17], 0.5, atol=0.05)


@pytest.mark.parametrize("gains", [np.zeros((2, 3)), np.full((2, 3), np.nan)])
def test_no_gain_draws_in_middle_grey(gains):
    (mesh,) = draw(gains).collections
    assert mesh.get_clim() == (-0.005, 0.005)
