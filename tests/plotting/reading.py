"""What the tests of figures read from axes."""

from typing import Any

import numpy as np


def axes_of(figure) -> list[Any]:
    """The axes, without matplotlib's types, which do not say what lies in them."""
    return figure.axes


def legend_of(axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def points_of(line) -> np.ndarray:
    """The points of a line, [M, 2] float64."""
    return np.stack(line.get_data(), axis=1).astype(float)


def own_axes():
    import matplotlib.figure

    return matplotlib.figure.Figure().subplots()
