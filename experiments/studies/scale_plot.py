"""How a figure changes with the number of rows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, MARKERS, STYLES, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_scale(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ylabel: str,
    axes: "Axes | None" = None,
) -> "Figure":
    """Draws a figure against the number of rows, one curve a method.

    Args:
        curves: for each method, its [M] numbers of rows, ascending, and [M] figures in
            [0, 1].
        ylabel: what the figures are.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (7.2, 4.4))[0] if axes is None else axes
    for number, (name, (rows, values)) in enumerate(curves.items()):
        axes.plot(
            rows,
            values,
            color=COLORS[number % len(COLORS)],
            # Another style at each round of the colours: no two curves look alike.
            linestyle=STYLES[(1 + number // len(COLORS)) % len(STYLES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("rows")
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, alpha=0.3)
    # Beside the axes: curves that fall leave no corner free.
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure
