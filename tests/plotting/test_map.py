"""The map projects onto the principal components and tells the largest labels apart."""

import numpy as np
import pytest
from matplotlib.quiver import Quiver

from gfa_jax import plotting
from tests.plotting.reading import legend_of, own_axes, points_of


def test_two_dimensions_are_drawn_as_they_are(rng):
    features = rng.normal(size=(6, 2))
    labels = np.array([4, 4, 4, 2, 2, -1])
    axes = own_axes()
    assert plotting.plot_map(features, labels, axes, before=features) is axes.figure
    rest, four, two = axes.get_lines()
    np.testing.assert_array_equal(points_of(four), features[:3])
    np.testing.assert_array_equal(points_of(two), features[3:5])
    np.testing.assert_array_equal(points_of(rest), features[5:])
    assert legend_of(axes) == ["4 (3)", "2 (2)"]
    assert four.get_marker() != two.get_marker()


def test_arrows_lead_from_before_in_the_projection_of_its_singular_vectors(rng):
    before = rng.normal(size=(40, 7)) * np.array([5, 3, 1, 1, 1, 1, 1])
    after = 0.5 * before + 1.0
    (axes,) = plotting.plot_map(after, np.zeros(40, int), before=before).axes
    (arrows,) = axes.collections
    assert isinstance(arrows, Quiver)
    tails = np.asarray(arrows.get_offsets())
    left, values, right = np.linalg.svd(before - before.mean(axis=0), False)
    expected = left[:, :2] * values[:2]
    signs = np.sign(np.sum(expected * tails, axis=0))
    np.testing.assert_allclose(tails, expected * signs, atol=1e-9)
    share = values[0] ** 2 / np.sum(values**2)
    assert axes.get_xlabel() == f"principal component 1 ({share:.0%})"
    heads = points_of(axes.get_lines()[1])
    expected = (after - before.mean(axis=0)) @ right[:2].T * signs
    np.testing.assert_allclose(heads, expected, atol=1e-9)
    moves = np.stack([arrows.U, arrows.V], axis=1)
    np.testing.assert_allclose(moves, heads - tails, atol=1e-12)


def test_only_the_largest_labels_are_told_apart(rng):
    labels = np.repeat(list("abcdefgh"), [1, 3, 4, 5, 6, 7, 8, 2])
    features = rng.normal(size=(36, 3))
    (axes,) = plotting.plot_map(features, labels, before=features).axes
    assert legend_of(axes) == [
        f"{x} ({n})" for x, n in zip("gfedcb", range(8, 2, -1), strict=True)
    ]
    assert len(points_of(axes.get_lines()[0])) == 3


def test_copies_of_one_row_without_a_label_are_drawn():
    (axes,) = plotting.plot_map(
        np.ones((4, 3)), np.full(4, -1), before=np.ones((4, 3))
    ).axes
    (rest,) = axes.get_lines()
    np.testing.assert_allclose(points_of(rest), np.zeros((4, 2)), atol=1e-12)
    assert axes.get_legend() is None


def test_refuses_what_does_not_fit(rng):
    features = rng.normal(size=(5, 3))
    for bad in (features[:, :1], features[:4]):
        with pytest.raises(ValueError, match="do not fit"):
            plotting.plot_map(bad, np.zeros(5), before=bad)
