"""Figures of clusters: how large they are, and how pure."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_cluster_sizes(sizes: np.ndarray) -> "Figure":
    """Draws how many of the clusters [C] there are of each number of rows."""
    (axes,) = panels(1, (6.0, 4.2))
    axes.plot(*np.unique(sizes, return_counts=True), "o", color=COLORS[1], markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows of the cluster")
    axes.set_ylabel("clusters")
    axes.set_title(
        f"{len(sizes):,} clusters, the largest of {sizes.max(initial=0):,} rows",
        loc="left",
        fontsize="medium",
    )
    return finish(axes)


def plot_purity(sizes: np.ndarray, purity: np.ndarray) -> "Figure":
    """Draws the purity of each cluster against its rows, [C]: where they over-merge."""
    (axes,) = panels(1, (6.0, 4.2))
    axes.plot(sizes, purity, "o", color=COLORS[1], markersize=4, alpha=0.3)
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("rows of the cluster")
    axes.set_ylabel("purity")
    return finish(axes)
