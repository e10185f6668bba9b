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
    assert plotting.plot_map(features, labels, axes) is axes.figure
    rest, four, two = axes.get_lines()
    np.testing.assert_array_equal(points_of(four), features[:3])
    np.testing.assert_array_equal(points_of(two), features[3:5])
    np.testing.assert_array_equal(points_of(rest), features[5:])
    assert legend_of(axes) == ["4 (3)", "2 (2)"]
    assert four.get_marker() != two.get_marker()
    assert not axes.collections  # no arrows


def test_projection_is_that_of_the_singular_vectors(rng):
    features = rng.normal(size=(40, 7)) * np.array([5, 3, 1, 1, 1, 1, 1])
    (axes,) = plotting.plot_map(features, np.zeros(40, int)).axes
    drawn = points_of(axes.get_lines()[1])
    centered = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    expected = left[:, :2] * values[:2]
    signs = np.sign(np.sum(expected * drawn, axis=0))
    np.testing.assert_allclose(drawn, expected * signs, atol=1e-9)
    share = values[0] ** 2 / np.sum(values**2)
    assert axes.get_xlabel() == f"principal component 1 ({share:.0%})"


def test_arrows_lead_from_before_in_the_same_projection(rng):
    before = rng.normal(size=(9, 4))
    after = 0.5 * before + 1.0
    (axes,) = plotting.plot_map(after, np.arange(9) // 3, before=before).axes
    (arrows,) = axes.collections
    assert isinstance(arrows, Quiver)
    (raw,) = plotting.plot_map(before, np.zeros(9)).axes
    tails = points_of(raw.get_lines()[1])
    heads = np.concatenate([points_of(line) for line in axes.get_lines()[1:]])
    np.testing.assert_allclose(np.asarray(arrows.get_offsets()), tails, atol=1e-12)
    np.testing.assert_allclose(
        np.stack([arrows.U, arrows.V], axis=1), heads - tails, atol=1e-12
    )


def test_only_the_largest_labels_are_told_apart(rng):
    labels = np.repeat(["a", "b", "c"], [1, 3, 2])
    (axes,) = plotting.plot_map(rng.normal(size=(6, 3)), labels, num_labels=2).axes
    assert legend_of(axes) == ["b (3)", "c (2)"]
    assert len(points_of(axes.get_lines()[0])) == 1


def test_copies_of_one_row_without_a_label_are_drawn():
    (axes,) = plotting.plot_map(np.ones((4, 3)), np.full(4, -1)).axes
    (rest,) = axes.get_lines()
    np.testing.assert_allclose(points_of(rest), np.zeros((4, 2)), atol=1e-12)
    assert axes.get_legend() is None


def test_refuses_what_does_not_fit(rng):
    features = rng.normal(size=(5, 3))
    for bad in (features[:, :1], features[:4]):
        with pytest.raises(ValueError, match="do not fit"):
            plotting.plot_map(bad, np.zeros(5))
