"""A dot plot of several methods: the figure of every split and their mean."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfa_jax.plotting.style import COLORS, MARKERS, finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_comparison(
    figures: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> "Figure":
    """Draws figures of several methods, one method a line, from worst to best.

    Args:
        figures: for each method, [splits, M] figures in [0, 1].
        names: M names of the figures.

    Returns:
        The figure.
    """
    (axes,) = panels(1, (6.4, 1.2 + 0.32 * len(figures)))
    order = sorted(figures, key=lambda method: figures[method].mean())
    for column, name in enumerate(names):
        shift = 0.15 * ((len(names) - 1) / 2 - column)
        heights = np.arange(len(order)) + shift
        style: dict[str, Any] = {"color": COLORS[1 + column], "marker": MARKERS[column]}
        means = [figures[method][:, column].mean() for method in order]
        axes.plot(means, heights, linestyle="none", markersize=7, label=name, **style)
        for height, method in zip(heights, order, strict=True):
            values = figures[method][:, column]
            axes.plot(
                values,
                np.full(len(values), height),
                linestyle="none",
                markersize=3,
                alpha=0.5,
                **style,
            )
    axes.set_yticks(np.arange(len(order)), order)
    axes.set_xlabel("large: mean of the splits; small: each split")
    return finish(axes)
