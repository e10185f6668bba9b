"""The figure of a search: CMC(r), the share of queries with a match among the first r.

The axis starts at the lowest bound that is shown, since good searches differ near 1.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import COLORS, MARKERS, STYLES, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CMC_RANKS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def plot_cmc(
    curves: Mapping[str, npt.ArrayLike],
    ranks: Sequence[int] = CMC_RANKS,
    axes: "Axes | None" = None,
    *,
    intervals: Mapping[str, npt.ArrayLike | None] | None = None,
) -> "Figure":
    """Draws CMC(r) against the rank r on a logarithmic axis, one line a curve.

    Args:
        curves: label -> [R] shares in [0, 1], as `metrics.cmc` gives them; the first
            is taken for the baseline.
        ranks: R ranks r >= 1, ascending.
        axes: where to draw; a figure of its own by default.
        intervals: label -> [R, 2] lower and upper bound at each rank, as
            `metrics.bootstrap_rankings` gives them, drawn as bars side by side. A label
            without intervals, or with None, has no bars.

    Returns:
        The figure that holds the axes.

    Raises:
        ValueError: a curve or intervals of another length than the ranks, intervals of
            a label that has no curve.
    """
    intervals = {} if intervals is None else intervals
    unknown = [label for label in intervals if label not in curves]
    if unknown:
        raise ValueError(
            f"intervals of {unknown[0]!r}; expected one of {', '.join(curves)}"
        )
    axes = panels(1, (6.0, 4.2))[0] if axes is None else axes
    places, lowest = np.asarray(ranks, float), 1.0
    for number, (label, curve) in enumerate(curves.items()):
        shares, bounds = np.asarray(curve, float), intervals.get(label)
        _check_shape(label, shares, (len(places),))
        color = COLORS[number % len(COLORS)]
        # Bars of one rank stand side by side.
        beside = places * 1.03**number
        axes.plot(
            beside,
            shares,
            color=color,
            linestyle=STYLES[number % len(STYLES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.6,
            label=label,
        )
        lowest = min(lowest, float(shares.min()))
        if bounds is not None:
            bounds = np.asarray(bounds, float)
            _check_shape(label, bounds, (len(places), 2))
            axes.vlines(beside, *bounds.T, color=color, linewidth=1.2)
            lowest = min(lowest, float(bounds.min()))
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{rank}" for rank in ranks])
    axes.set_xticks([], minor=True)
    margin = 0.05 * max(1 - lowest, 0.01)
    axes.set_ylim(lowest - margin, 1 + margin)
    axes.set_xlabel("rank r")
    axes.set_ylabel("queries with a match among the first r")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure


def _check_shape(label: str, values: np.ndarray, expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise ValueError(
            f"{label!r} has shape {values.shape}; expected {expected}, one a rank"
        )
