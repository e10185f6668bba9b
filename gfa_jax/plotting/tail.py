"""The figure of a suggested threshold: the counts, the fit, and where it is carried."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, panels
from gfa_jax.selection.thresholds import ThresholdSuggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Bins of the fit that make one of the figure: finer ones are noise to the eye.
_JOINED = 16
# Half a pair a bin of the figure: below it the tail is as good as empty.
_LOWEST = 0.5


def plot_tail(found: ThresholdSuggestion, axes: "Axes | None" = None) -> "Figure":
    """Draws the counted cosines, the two densities fitted to them, and t.

    Between the ticks of the window the fitted line should lie on the counts, the
    impostors' where these fall and the background where they no longer do; beyond it
    the impostors' line is carried on, dashed. t, the larger of two cosines, is drawn
    with its interval, the other one dotted.

    Args:
        found: of `suggest_threshold`, or `Suggestion.threshold`.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (6.4, 4.2))[0] if axes is None else axes
    tail = found.tail
    start, stop = tail.window
    pairs, impostor, background = (
        _join(values) for values in (tail.pairs, tail.impostor, tail.background)
    )
    edges = tail.edges[::_JOINED]
    middle = (edges[1:] + edges[:-1]) / 2
    inside = middle < stop
    axes.stairs(pairs, edges, fill=True, color="0.85", label="pairs of the sample")
    axes.plot(middle, impostor + background, "-", color=COLORS[0], label="fit")
    look = {"color": COLORS[2], "linewidth": 1.8}
    axes.plot(
        middle[inside], impostor[inside], "-", label="its impostors, carried on", **look
    )
    # From the last point inside, so that the line has no gap.
    beyond = ~np.append(inside[1:], False)
    axes.plot(middle[beyond], impostor[beyond], "--", **look)
    axes.plot(
        middle, background, "-.", color=COLORS[1], label="its genuine pairs and clumps"
    )
    axes.axvspan(*found.interval, color=COLORS[3], alpha=0.2, linewidth=0)
    axes.axvline(
        found.threshold,
        color=COLORS[3],
        linewidth=1.8,
        label=f"t = {found.threshold:.3f}, interval 90 %",
    )
    for value, name in (
        (found.tail_threshold, "by the tail"),
        (found.likeness_threshold, "by likeness"),
    ):
        if value != found.threshold and not np.isnan(value):
            axes.axvline(
                value, color=COLORS[0], linestyle=":", label=f"{value:.3f} {name}"
            )
    axes.set_yscale("log")
    axes.set_ylim(_LOWEST, 4 * pairs.max())
    right = max(found.interval[1], stop) + 3 * tail.scale
    axes.set_xlim(tail.center - 4 * tail.scale, min(1.0, right))
    # The window, at the foot of the figure.
    axes.plot([start, stop], [_LOWEST] * 2, "|-", color=COLORS[0], clip_on=False)
    axes.set_xlabel("cosine")
    axes.set_ylabel("pairs a bin")
    axes.legend(fontsize="small", loc="upper right", edgecolor="none", framealpha=0.9)
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure


def _join(values: np.ndarray) -> np.ndarray:
    """Adds up neighbouring bins; NaN where any of them is."""
    return values.reshape(-1, _JOINED).sum(axis=1)
