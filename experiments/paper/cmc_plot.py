"""The figure of a search: CMC(r), the share of queries with a match among the first r.

The axis starts at the lowest bound that is shown, since good searches differ near 1.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import curve_style, finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CMC_RANKS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def plot_cmc(
    curves: Mapping[str, npt.ArrayLike],
    ranks: Sequence[int] = CMC_RANKS,
    *,
    intervals: Mapping[str, npt.ArrayLike],
) -> "Figure":
    """Draws CMC(r) against the rank r on a logarithmic axis, one line a curve.

    Args:
        curves: label -> [R] shares in [0, 1]; the first is the baseline.
        ranks: R ranks r >= 1, ascending.
        intervals: label -> [R, 2] bounds, for some labels or none.
    """
    (axes,) = panels(1, (6.0, 4.2))
    places, lowest = np.asarray(ranks, float), 1.0
    for number, (label, curve) in enumerate(curves.items()):
        shares, bounds = np.asarray(curve, float), intervals.get(label)
        # Bars of one rank stand side by side.
        beside = places * 1.03**number
        axes.plot(
            beside,
            shares,
            markersize=4,
            linewidth=1.6,
            label=label,
            **curve_style(number),
        )
        lowest = min(lowest, float(shares.min()))
        if bounds is not None:
            bounds = np.asarray(bounds, float)
            axes.vlines(beside, *bounds.T, color=curve_style(number)["color"])
            lowest = min(lowest, float(bounds.min()))
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{rank}" for rank in ranks])
    axes.set_xticks([], minor=True)
    margin = 0.05 * max(1 - lowest, 0.01)
    axes.set_ylim(lowest - margin, 1 + margin)
    axes.set_xlabel("rank r")
    axes.set_ylabel("queries with a match among the first r")
    return finish(axes)
