"""Sizes and purities of clusters are drawn as they are counted."""

import numpy as np

from gfa_jax import plotting


def test_cluster_sizes_are_counted():
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
