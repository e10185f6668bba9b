"""What the figures share: colours, line styles and panels.

Colours are those of Okabe and Ito, told apart by the colour-blind; line styles tell
the curves apart in grey. matplotlib is imported only where axes are made.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
STYLES = ("--", "-", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def panels(count: int, size: tuple[float, float]) -> "list[Axes]":
    """Makes the axes of a figure, one above the other, with common scales.

    Args:
        count: panels.
        size: width and height of the figure in inches.

    Returns:
        The axes from top to bottom; `axes.figure` is the figure.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    rows = figure.subplots(count, 1, sharex=True, sharey=True, squeeze=False)
    return list(rows[:, 0])
