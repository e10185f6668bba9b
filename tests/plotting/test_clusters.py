"""Sizes and purities of clusters are drawn as they are counted."""

import numpy as np

from gfa_jax import plotting
from tests.plotting.reading import points_of


def test_cluster_sizes_are_counted():
    (axes,) = plotting.plot_cluster_sizes(np.array([5, 2, 2, 1, 1, 1])).axes
    (dots,) = axes.get_lines()
    np.testing.assert_array_equal(points_of(dots), [[1, 3], [2, 2], [5, 1]])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert "6 clusters, the largest of 5 rows" in axes.get_title(loc="left")


def test_purity_is_drawn_against_size():
    (axes,) = plotting.plot_purity(np.array([5, 2]), np.array([0.8, 1.0])).axes
    np.testing.assert_array_equal(points_of(axes.get_lines()[0]), [[5, 0.8], [2, 1.0]])
