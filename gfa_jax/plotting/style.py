"""What the figures share: colours, line styles and panels.

Colours are those of Okabe and Ito, told apart by the colour-blind; line styles tell
the curves apart in grey. matplotlib is imported only where axes are made.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
STYLES = ("--", "-", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def panels(count: int, size: tuple[float, float]) -> "list[Axes]":
    """Makes axes with common scales, one above the other, in a figure of `size` in."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    rows = figure.subplots(count, 1, sharex=True, sharey=True, squeeze=False)
    return list(rows[:, 0])


def curve_style(number: int) -> dict[str, Any]:
    """Returns the colour, line and marker of the curve of this number."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def finish(axes: "Axes", **legend: Any) -> "Figure":
    """Adds the grid and, where there are labels, a legend; returns the figure."""
    axes.grid(visible=True, which="major", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**({"frameon": False} | legend))
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure
