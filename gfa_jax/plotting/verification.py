"""Figures of verification: the ROC, and the similarities that it is made of."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gfa_jax.metrics import (
    MIN_FALSE_ACCEPTS,
    Roc,
    ScoreHistogram,
    TprInterval,
    tpr_at_fpr,
)
from gfa_jax.metrics.histogram import coarsen
from gfa_jax.plotting.style import COLORS, STYLES, finish, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A curve of a million points is drawn through this many; the eye sees no more.
_MAX_POINTS = 2000


def plot_roc(
    curves: Mapping[str, Roc],
    axes: "Axes | None" = None,
    *,
    intervals: Mapping[str, Iterable[TprInterval] | None] | None = None,
) -> "Figure":
    """Draws TPR against FPR on a logarithmic axis, one line a curve.

    Dots mark the targets 1e-8 … 1e-1: full where ten false accepts or more stand
    behind them, hollow where fewer do. Left of the full ones a curve is drawn pale,
    since a few pairs decide it.

    Args:
        curves: label -> Roc; the first is taken for the baseline.
        axes: where to draw; a figure of its own by default.
        intervals: label -> confidence intervals or None, as `metrics.tpr_intervals`
            gives them, drawn as bars beside the full dots.
    """
    intervals = {} if intervals is None else intervals
    axes = panels(1, (6.0, 4.2))[0] if axes is None else axes
    left = max(1e-8, 0.5 / max(roc.num_impostor for roc in curves.values()))
    for number, (label, roc) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        line: dict[str, Any] = {
            "color": color,
            "linestyle": STYLES[number % len(STYLES)],
        }
        fpr, tpr = _thinned(roc)
        points = [p for p in tpr_at_fpr(roc) if p.fpr_target >= left]
        reliable = [p.fpr_target for p in points if p.is_reliable]
        solid = fpr >= min(reliable, default=1.0)
        axes.plot(fpr[~solid], tpr[~solid], alpha=0.35, linewidth=1.4, **line)
        axes.plot(fpr[solid], tpr[solid], linewidth=1.8, label=label, **line)
        for is_reliable, face in ((True, color), (False, "white")):
            dots = [p[:2] for p in points if p.is_reliable == is_reliable]
            axes.plot(
                *np.reshape(dots, (-1, 2)).T,
                "o",
                color=color,
                markerfacecolor=face,
                markersize=4,
            )
        known = [x for x in intervals.get(label) or () if np.isfinite(x).all()]
        found = tpr_at_fpr(roc, [x.fpr_target for x in known])
        for interval, point in zip(known, found, strict=True):
            if point.is_reliable:
                # Bars of one target stand side by side, right of the dots.
                axes.plot(
                    [interval.fpr_target * 10 ** (0.06 * number)] * 2,
                    [interval.lower, interval.upper],
                    "_-",
                    color=color,
                    linewidth=1.2,
                    markersize=5,
                )
    axes.set_xscale("log")
    axes.set_xlim(left, 1.0)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    legend = f"pale, hollow: fewer than {MIN_FALSE_ACCEPTS} false accepts"
    return finish(axes, loc="lower right", title=legend)


def _thinned(roc: Roc) -> tuple[np.ndarray, np.ndarray]:
    """Returns the FPR and TPR of the curve at evenly spaced places of the plot."""
    false_accepts = np.maximum(roc.false_accepts, 0.5)  # log of the first point
    logarithm = np.log(false_accepts)
    places = np.linspace(logarithm[0], logarithm[-1], _MAX_POINTS)
    chosen = np.unique(np.searchsorted(logarithm, places, side="right") - 1)
    return (false_accepts / roc.num_impostor)[chosen], roc.tpr[chosen]


def plot_similarity(histograms: Mapping[str, ScoreHistogram]) -> "Figure":
    """Draws the cosines of impostor and genuine pairs, one panel a title.

    Each of the two has unit area, since impostor pairs outnumber genuine ones by
    thousands; the vertical axis is logarithmic, since the tails decide.
    """
    rows = panels(len(histograms), (6.0, 2.3 * len(histograms) + 0.6))
    left, right = 1.0, -1.0
    for axes, (title, fine) in zip(rows, histograms.items(), strict=True):
        edges, impostor, genuine = coarsen(fine)
        for name, counts, style in (
            ("genuine", genuine, {"fill": True, "color": COLORS[1], "alpha": 0.5}),
            ("impostor", impostor, {"color": COLORS[2], "linewidth": 1.6}),
        ):
            axes.stairs(
                counts / counts.sum() / np.diff(edges),
                edges,
                label=f"{name}, {counts.sum():,} pairs",
                **style,
            )
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_yscale("log")
        axes.set_ylabel("density")
        axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper center")
        axes.set_ylim(top=1e3)  # room for the legend
        occupied = np.flatnonzero(impostor + genuine)
        left = min(left, float(edges[occupied[0]]))
        right = max(right, float(edges[occupied[-1] + 1]))
    rows[-1].set_xlim(left, right)
    rows[-1].set_xlabel("cosine similarity")
    return rows[-1].figure  # pyright: ignore[reportReturnType]  # never a sub-figure
