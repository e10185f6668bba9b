"""The figure of a comparison: quality against seconds, one mark a method."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gfa_jax.plotting.style import COLORS, MARKERS, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FILLS = ("full", "none", "left", "bottom")


def plot_tradeoff(
    points: Mapping[str, Sequence[float]],
    *,
    baseline: float | None = None,
    quality: str = "TPR",
    legend: bool = True,
    axes: "Axes | None" = None,
) -> "Figure":
    """Draws quality against seconds: up and to the left is better.

    Args:
        points: method -> (seconds, quality, lower, upper), lower and upper bounding
            the quality; seconds > 0.
        baseline: quality of what takes no time, drawn as a line.
        quality: label of the vertical axis.
        legend: whether the methods are named beside the axes.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure that holds the axes.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = panels(1, (8.0, 4.2))[0] if axes is None else axes
    if baseline is not None:
        axes.axhline(baseline, color="0.5", linestyle=":", label="raw")
    for number, (name, (seconds, value, lower, upper)) in enumerate(points.items()):
        axes.errorbar(
            [seconds],
            [value],
            yerr=[[max(value - lower, 0.0)], [max(upper - value, 0.0)]],
            fmt=MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            # A mark that comes round again is hollow, then half full.
            fillstyle=_FILLS[number // len(MARKERS)],
            markersize=8,
            elinewidth=0.8,
            capsize=2,
            label=name,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("seconds, search included")
    axes.set_ylabel(quality)
    axes.grid(visible=True, which="major", alpha=0.3)
    if legend:
        axes.legend(
            frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
        )
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure
