"""Figures of clusters: how large they are, and how pure."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_cluster_sizes(sizes: np.ndarray, axes: "Axes | None" = None) -> "Figure":
    """Draws how many clusters there are of each size, on logarithmic axes.

    Args:
        sizes: [C] rows of each cluster.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (6.0, 4.2))[0] if axes is None else axes
    values, counts = np.unique(sizes, return_counts=True)
    axes.plot(values, counts, "o", color=COLORS[1], markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows of the cluster")
    axes.set_ylabel("clusters")
    axes.set_title(
        f"{len(sizes):,} clusters, the largest of {sizes.max(initial=0):,} rows",
        loc="left",
        fontsize="medium",
    )
    axes.grid(visible=True, alpha=0.3)
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure


def plot_purity(
    sizes: np.ndarray, purity: np.ndarray, axes: "Axes | None" = None
) -> "Figure":
    """Draws the purity of each cluster against its size: where clusters over-merge.

    Args:
        sizes: [C] rows of each cluster.
        purity: [C] share of the rows that are of the cluster's largest identity.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (6.0, 4.2))[0] if axes is None else axes
    axes.plot(sizes, purity, "o", color=COLORS[1], markersize=4, alpha=0.3)
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("rows of the cluster")
    axes.set_ylabel("purity")
    axes.grid(visible=True, alpha=0.3)
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure
