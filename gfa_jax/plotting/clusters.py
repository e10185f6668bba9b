"""Panels of clusters: how large they are, how sure, and how pure."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, finish, own

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = 20


def plot_cluster_sizes(sizes: np.ndarray, axes: "Axes | None" = None) -> "Figure":
    """Draws how many clusters there are of each number of rows.

    Args:
        sizes: [C] rows of each cluster.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure.
    """
    axes = axes or own()
    axes.plot(*np.unique(sizes, return_counts=True), "o", color=COLORS[1], markersize=4)
    _size_axis(axes)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.5 * len(sizes))
    axes.set_ylabel("clusters")
    largest = sizes.max(initial=0)
    return finish(axes, f"{len(sizes):,} clusters, the largest of {largest:,} rows")


def plot_confidence(
    labels: np.ndarray, confidence: np.ndarray, axes: "Axes | None" = None
) -> "Figure":
    """Draws how many rows, of clusters of two and more, have which confidence.

    Args:
        labels: [N] cluster of each row, -1 for none.
        confidence: [N] in [0, 1].
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure.
    """
    axes = axes or own()
    counts = np.bincount(labels + 1)
    shown = (labels >= 0) & (counts[labels + 1] > 1)
    axes.hist(confidence[shown], _PARTS, range=(0.0, 1.0), color=COLORS[1])
    axes.set_xlim(0, 1)
    axes.set_xlabel("confidence of a row in its cluster")
    axes.set_ylabel("rows")
    return finish(axes, f"{shown.sum():,} rows are in clusters of two rows and more")


def plot_purity(
    sizes: np.ndarray, purity: np.ndarray, axes: "Axes | None" = None
) -> "Figure":
    """Draws the purity of clusters of two rows and more against their rows.

    Clusters that lie together are one circle with the area of their number: large
    clusters of low purity are identities that were merged.

    Args:
        sizes: [C] rows of each cluster.
        purity: [C] share of its most frequent identity, NaN where not known.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure.
    """
    axes = axes or own()
    known = ~np.isnan(purity) & (sizes > 1)
    sizes, purity = sizes[known], purity[known]
    octave, part = np.round(4 * np.log2(sizes)) / 4, np.round(purity * _PARTS) / _PARTS
    places, counts = np.unique([octave, part], axis=1, return_counts=True)
    area = 20 + 500 * counts / counts.max(initial=1)
    axes.scatter(
        2 ** places[0], places[1], area, color=COLORS[1], alpha=0.6, edgecolors="white"
    )
    _size_axis(axes)
    axes.set_ylim(-0.08, 1.12)
    axes.set_xlabel("rows of the cluster; area: number of clusters")
    axes.set_ylabel("share of its most frequent identity")
    pure = f"{np.sum(purity == 1):,} of {len(sizes):,} clusters of two rows and more"
    return finish(axes, f"{pure} are pure")


def _size_axis(axes: "Axes") -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("rows of the cluster")
