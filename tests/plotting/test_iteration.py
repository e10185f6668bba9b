"""Residuals are drawn by update; degrees and in-degrees count the same edges."""

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import plotting
from tests.plotting.reading import legend_of, points_of
from tests.problems import clustered_features


def test_residuals_are_drawn_from_the_first_update_on():
    figure = plotting.plot_residual(
        {"fixed": np.array([0.4, 0.1, 0.0]), "rescore": [0.5, 0.5]}
    )
    (axes,) = figure.axes
    first, second = axes.get_lines()
    np.testing.assert_array_equal(points_of(first), [[1, 0.4], [2, 0.1], [3, np.nan]])
    np.testing.assert_array_equal(points_of(second), [[1, 0.5], [2, 0.5]])
    assert axes.get_yscale() == "log"
    assert legend_of(axes) == ["fixed", "rescore"]
    assert first.get_marker() != second.get_marker()
    (alone,) = plotting.plot_residual({"_": [0.1]}).axes
    assert alone.get_legend() is None
    assert all(tick == round(tick) for tick in alone.get_xticks())
    figure.canvas.draw()
    assert all(tick == round(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("residual", [[], [0.0, 0.0]])
def test_what_never_moved_is_an_empty_figure(residual, tmp_path):
    figure = plotting.plot_residual({"gamma = 0": residual})
    figure.savefig(tmp_path / "residual.png")  # where an empty axis would warn
    (line,) = figure.axes[0].get_lines()
    assert len(points_of(line)) == len(residual)


def test_degree_and_in_degree_are_counted():
    neighbors = gfa.Neighbors(
        np.array([[0, 1, 3], [1, 3, 0], [2, 3, 1], [3, -1, -1]]),
        np.array([[1, 0.9, 0.6], [1, 0.8, 0.3], [1, 0.7, 0.2], [1, -np.inf, -np.inf]]),
    )
    (axes,) = plotting.plot_degree(
        np.array([3.0, 2.0, 1.0, 1.0]), neighbors=neighbors, threshold=0.5
    ).axes
    degree, in_degree = axes.get_lines()
    np.testing.assert_array_equal(points_of(degree), [[0, 2], [1, 1], [2, 1]])
    # Row 3 is listed by three others, row 1 by row 0.
    np.testing.assert_array_equal(points_of(in_degree), [[0, 2], [1, 1], [3, 1]])
    assert axes.get_title(loc="left") == "2 of 4 rows have no neighbour"
    assert legend_of(axes)[1] == "in-degree: mean 1.0, at most 3"
    every = (
        plotting.plot_degree(np.zeros(4), neighbors=neighbors).axes[0].get_lines()[1]
    )
    # Without a threshold every candidate counts; an empty slot is no row's.
    np.testing.assert_array_equal(points_of(every), [[0, 1], [1, 1], [2, 1], [3, 1]])


def test_both_count_the_edges_of_aggregate(rng):
    features = clustered_features(rng, num_rows=60, dim=8)
    neighbors = gfa.exact_neighbors(features, k=6)
    result = gfa.aggregate(features, neighbors, gfa.Params(0.5, 0.6), num_steps=1)
    (axes,) = plotting.plot_degree(
        result.degree, neighbors=neighbors, threshold=0.6
    ).axes
    totals = [points_of(line).prod(axis=1).sum() for line in axes.get_lines()]
    assert totals[0] == totals[1] == float(result.degree.sum()) - 60
