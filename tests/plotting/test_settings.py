"""The evidence is drawn as it is, K as everywhere; panels share a figure."""

import numpy as np
import pytest

from gfa_jax import Neighbors, plotting
from gfa_jax.selection import Evidence
from tests.plotting.reading import axes_of, legend_of, points_of


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
    counts, posterior = plotting.plot_edges(seen).axes
    heights = [bar.get_height() for bar in counts.containers[0]]
    np.testing.assert_allclose(heights, seen.candidates)
    np.testing.assert_allclose(points_of(counts.lines[0])[:, 1], seen.strangers)
    curve = points_of(posterior.lines[0])
    half = curve[np.searchsorted(curve[:, 0], seen.center)]
    assert abs(half[1] - 0.5) < 0.05
    assert "at a cosine of 0.400" in counts.get_title(loc="left")
    (closure,) = plotting.plot_closure(seen, k=8).axes
    line, chosen = closure.lines
    # K counts the row itself, the sizes of the evidence do not.
    np.testing.assert_allclose(points_of(line), [[6, 0.3], [8, 0.5], [11, 0.4]])
    assert points_of(chosen)[0, 0] == 8
    assert legend_of(closure) == ["K = 8 is used"]


def test_candidates_are_counted_without_the_rows_themselves():
    cosines = np.array([[1, 0.9, 0.2], [1, 0.9, -np.inf], [1, 0.5, 0.4]])
    neighbors = Neighbors(np.array([[0, 1, 2], [1, 0, -1], [2, 0, 1]]), cosines)
    (axes,) = axes_of(plotting.plot_candidates(neighbors, threshold=0.45))
    assert sum(bar.get_height() for bar in axes.patches) == 5
    assert axes.get_title(loc="left") == "3 of 5 candidates exceed t"
    assert points_of(axes.lines[0])[0, 0] == 0.45


@pytest.mark.parametrize(
    ("count", "rows"), [(1, [1]), (3, [3]), (4, [2, 2]), (5, [2, 3]), (6, [3, 3])]
)
def test_panels_are_joined_in_rows_under_one_title(count, rows):
    figure = plotting.join([lambda axes: axes.plot([0, 1])] * count, title="a $pool")
    heights = [axes.get_subplotspec().rowspan.start for axes in axes_of(figure)]
    assert [heights.count(row) for row in range(len(rows))] == rows
    assert figure.get_suptitle() == "a $pool"
