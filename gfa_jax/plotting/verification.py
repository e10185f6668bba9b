"""Figures of verification: the ROC, and the similarities that it is made of."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gfa_jax.metrics import DEFAULT_FPRS, Roc, ScoreHistogram, coarsen, tpr_at_fpr
from gfa_jax.plotting.style import COLORS, STYLES, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IMPOSTOR, _GENUINE = COLORS[2], COLORS[1]
# A curve of a million points is drawn through this many; the eye sees no more.
_MAX_POINTS = 2000


def plot_roc(curves: Mapping[str, Roc], axes: "Axes | None" = None) -> "Figure":
    """Draws TPR against FPR on a logarithmic axis, one line a curve.

    Dots mark the targets 1e-8 … 1e-1 that rest on ten false accepts or more; left of
    them a curve is drawn pale, since a few pairs decide it.

    Args:
        curves: label -> Roc; the first is taken for the baseline.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (6.0, 4.2))[0] if axes is None else axes
    for number, (label, roc) in enumerate(curves.items()):
        look: dict[str, Any] = {
            "color": COLORS[number % len(COLORS)],
            "linestyle": STYLES[number % len(STYLES)],
        }
        fpr, tpr = _thinned(roc)
        points = [p for p in tpr_at_fpr(roc, DEFAULT_FPRS) if p.is_reliable]
        reliable = fpr >= (points[0].fpr_target if points else 1.0)
        axes.plot(fpr[~reliable], tpr[~reliable], alpha=0.35, linewidth=1.4, **look)
        axes.plot(fpr[reliable], tpr[reliable], linewidth=1.8, label=label, **look)
        axes.plot(
            [p.fpr_target for p in points],
            [p.tpr for p in points],
            "o",
            color=look["color"],
            markersize=4,
        )
    num_impostor = max(roc.num_impostor for roc in curves.values())
    axes.set_xscale("log")
    axes.set_xlim(max(1e-8, 0.5 / num_impostor), 1.0)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(
        loc="lower right", frameon=False, title="pale: fewer than 10 false accepts"
    )
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure


def plot_similarity(
    histograms: Mapping[str, ScoreHistogram], *, num_bins: int = 256
) -> "Figure":
    """Draws the cosines of impostor and genuine pairs, one panel a histogram.

    Each of the two has unit area, since impostor pairs outnumber genuine ones by
    thousands; the vertical axis is logarithmic, since the tails decide.

    Args:
        histograms: title -> counts, such as before and after.
        num_bins: bins to draw, a power of two; no more than those of the counts.

    Returns:
        The figure.
    """
    rows = panels(len(histograms), (6.0, 2.3 * len(histograms) + 0.6))
    left, right = 1.0, -1.0
    for axes, (title, fine) in zip(rows, histograms.items(), strict=True):
        counted = coarsen(fine, num_bins=min(num_bins, len(fine.impostor)))
        width = np.diff(counted.edges)
        axes.stairs(
            counted.genuine / counted.genuine.sum() / width,
            counted.edges,
            fill=True,
            color=_GENUINE,
            alpha=0.5,
            label=f"genuine, {counted.genuine.sum():,} pairs",
        )
        axes.stairs(
            counted.impostor / counted.impostor.sum() / width,
            counted.edges,
            color=_IMPOSTOR,
            linewidth=1.6,
            label=f"impostor, {counted.impostor.sum():,} pairs",
        )
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_yscale("log")
        axes.set_ylabel("density")
        axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper center")
        axes.set_ylim(top=1e3)  # room for the legend
        occupied = np.flatnonzero(counted.impostor + counted.genuine)
        left = min(left, float(counted.edges[occupied[0]]))
        right = max(right, float(counted.edges[occupied[-1] + 1]))
    rows[-1].set_xlim(left, right)
    rows[-1].set_xlabel("cosine similarity")
    return rows[-1].figure  # pyright: ignore[reportReturnType]  # never a sub-figure


def _thinned(roc: Roc) -> tuple[np.ndarray, np.ndarray]:
    """Returns the FPR and TPR of the curve at evenly spaced places of the plot."""
    false_accepts = np.maximum(roc.false_accepts, 0.5)  # log of the first point
    logarithm = np.log(false_accepts)
    places = np.linspace(logarithm[0], logarithm[-1], _MAX_POINTS)
    chosen = np.unique(np.searchsorted(logarithm, places, side="right") - 1)
    return (
        false_accepts[chosen] / roc.num_impostor,
        roc.true_accepts[chosen] / roc.num_genuine,
    )
