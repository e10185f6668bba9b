"""What the figures share: colours, line styles, panels and the figure that joins them.

Colours are those of Okabe and Ito, told apart by the colour-blind; line styles tell
the curves apart in grey. A panel is a function of axes. A legend stands above its
axes, where it covers no line. matplotlib is imported only where axes are made.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = Callable[["Axes"], Any]

COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
STYLES = ("--", "-", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DPI = 110
_WIDTH, _HEIGHT = 4.4, 3.7  # of a panel, inches
_IN_A_ROW = 3
_LINE = 13.0  # height of a small line, points


def own() -> "Axes":
    """Makes axes in a figure of their own."""
    return panels(1, (6.0, 4.4))[0]


def panels(count: int, size: tuple[float, float]) -> "list[Axes]":
    """Makes axes with common scales, one above the other, in a figure of `size` in."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    rows = figure.subplots(count, 1, sharex=True, sharey=True, squeeze=False)
    return list(rows[:, 0])


def join(drawn: Sequence[Panel], *, title: str) -> "Figure":
    """Draws panels in one figure, in two rows where more than three.

    Args:
        drawn: what draws each panel on the axes given.
        title: of the figure.

    Returns:
        The figure.
    """
    import matplotlib.figure

    rows = [drawn]
    if len(drawn) > _IN_A_ROW:
        rows = [drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]]
    columns = max(map(len, rows))
    size = (_WIDTH * columns, _HEIGHT * len(rows) + 0.3)
    size = (6.6, 4.8) if len(drawn) == 1 else size
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained", dpi=_DPI)
    figure.suptitle(
        title, x=0.01, ha="left", fontweight="bold", wrap=True, parse_math=False
    )
    parts = figure.add_gridspec(len(rows), columns * (columns - 1) or 1)
    for row, some in enumerate(rows):
        width = parts.ncols // len(some)
        for column, panel in enumerate(some):
            place = parts[row, column * width : (column + 1) * width]
            panel(figure.add_subplot(place))
    return figure


def curve_style(number: int) -> dict[str, Any]:
    """Returns the colour, line and marker of the curve of this number."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def finish(axes: "Axes", title: str = "", *twins: "Axes", ncols: int = 2) -> "Figure":
    """Adds the grid and, above the axes, the title and the legend of all."""
    entries = []
    for each in (axes, *twins):
        entries += zip(*each.get_legend_handles_labels(), strict=True)
    pad = 6.0  # points
    if entries:
        axes.legend(
            *zip(*entries, strict=True),
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            borderaxespad=0.2,
            frameon=False,
            fontsize="small",
            ncols=ncols,
        )
        pad += _LINE * -(-len(entries) // ncols)
    axes.set_title(title, loc="left", fontsize="medium", pad=pad)
    axes.grid(visible=True, which="major", alpha=0.3)
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure
