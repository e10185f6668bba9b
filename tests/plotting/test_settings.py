import numpy as np

from gfa_jax import Neighbors, plotting
from gfa_jax.selection import Evidence, Settings


def test_the_figure_shows_counts_null_posterior_and_closure():
    ends = np.linspace(-2, 14, 81)
    seen = Evidence(
        half_cosine=0.4,
        edges_per_row=5.0,
        weight_per_row=2.0,
        center=5.0,
        spread=0.1,
        sizes=(5, 7, 10),
        closure=np.array([0.3, 0.5, 0.4]),
        z=ends,
        candidates=np.linspace(1, 0, 80),
        strangers=np.exp(-(ends[1:] ** 2)),
        text="",
        distrust="",
    )
    neighbors = Neighbors(np.zeros((4, 1), np.int32), np.ones((4, 1)))
    settings = Settings(7, 2, 1.0, neighbors, np.ones((4, 1)), np.zeros(4, bool), seen)
    figure = plotting.plot_settings(settings, name="a pool")
    counts, closure, posterior = figure.axes
    heights = [bar.get_height() for bar in counts.containers[0]]
    np.testing.assert_allclose(heights, seen.candidates)
    np.testing.assert_allclose(np.asarray(counts.lines[0].get_ydata()), seen.strangers)
    np.testing.assert_allclose(np.asarray(closure.lines[0].get_ydata()), seen.closure)
    assert np.asarray(closure.lines[1].get_xdata())[0] == 7
    curve = np.asarray(posterior.lines[0].get_xydata())
    half = curve[np.searchsorted(curve[:, 0], seen.center)]
    assert abs(half[1] - 0.5) < 0.05
