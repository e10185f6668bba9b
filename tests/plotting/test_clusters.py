"""Sizes, confidences and purities of clusters are drawn as they are counted."""

import numpy as np

from gfa_jax import plotting
from tests.plotting.reading import axes_of, points_of


def test_cluster_sizes_are_counted():
    (axes,) = plotting.plot_cluster_sizes(np.array([5, 2, 2, 1, 1, 1])).axes
    (dots,) = axes.get_lines()
    np.testing.assert_array_equal(points_of(dots), [[1, 3], [2, 2], [5, 1]])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_title(loc="left") == "6 clusters, the largest of 5 rows"


def test_confidences_are_those_of_rows_that_are_not_alone():
    labels = np.array([0, 0, 0, 1, 1, 2, -1])
    confidence = np.array([0.99, 0.97, 0.52, 0.12, 0.52, 0.0, 0.0])
    (axes,) = axes_of(plotting.plot_confidence(labels, confidence))
    counts = {round(bar.get_x(), 2): bar.get_height() for bar in axes.patches}
    drawn = {start: count for start, count in counts.items() if count}
    assert drawn == {0.1: 1, 0.5: 2, 0.95: 2}
    assert axes.get_title(loc="left").startswith("5 rows ")


def test_purity_has_an_area_for_the_clusters_that_lie_together():
    sizes = np.array([16, 16, 16, 4, 4, 2, 1])
    purity = np.array([1, 1, 1, 0.75, 1, np.nan, 1])
    (axes,) = axes_of(plotting.plot_purity(sizes, purity))
    (circles,) = axes.collections
    np.testing.assert_allclose(circles.get_offsets(), [[4, 0.75], [4, 1], [16, 1]])
    areas = circles.get_sizes()
    assert areas[0] == areas[1] < areas[2]
    assert axes.get_title(loc="left").startswith("4 of 5 clusters")
