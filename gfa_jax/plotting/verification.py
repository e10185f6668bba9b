"""Panels of verification: the ROC, and the similarities that it is made of."""

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
from gfa_jax.plotting.style import COLORS, STYLES, curve_style, finish, own

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A curve of a million points is drawn through this many; the eye sees no more.
_MAX_POINTS = 2000
_KINDS = ("impostor", "genuine")


def plot_roc(
    curves: Mapping[str, Roc],
    axes: "Axes | None" = None,
    *,
    intervals: Mapping[str, Iterable[TprInterval] | None] | None = None,
    title: str = "ROC",
) -> "Figure":
    """Draws TPR against FPR on a logarithmic axis, one line a curve.

    Dots mark the targets 1e-8 … 1e-1: full where ten false accepts or more stand
    behind them, hollow where fewer do. Left of the full ones a curve is drawn pale,
    since a few pairs decide it. The TPRs shown begin under the lowest full dot.

    Args:
        curves: label -> Roc; the first is taken for the baseline.
        axes: where to draw; a figure of its own by default.
        intervals: label -> confidence intervals or None, as `metrics.tpr_intervals`
            gives them, drawn as bars beside the full dots.
        title: of the axes.

    Returns:
        The figure.
    """
    intervals, axes = intervals or {}, axes or own()
    left = max(1e-8, 0.5 / max(roc.num_impostor for roc in curves.values()))
    lowest = 1.0
    for number, (label, roc) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        line: dict[str, Any] = {**curve_style(number), "marker": "None"}
        fpr, tpr = _thinned(roc)
        points = [p for p in tpr_at_fpr(roc) if p.fpr_target >= left]
        reliable = [p.fpr_target for p in points if p.is_reliable]
        solid = fpr >= min(reliable, default=1.0)
        lowest = min(lowest, (tpr[solid] if reliable else tpr)[0])
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
                lowest = min(lowest, interval.lower)
    axes.set_xscale("log")
    axes.set_xlim(left, 1.0)
    lowest = min(lowest, 0.99)
    margin = 0.08 * (1 - lowest)
    axes.set_ylim(lowest - margin, 1 + margin)
    about = f"pale, hollow: fewer than {MIN_FALSE_ACCEPTS} false accepts"
    axes.set_xlabel(f"false positive rate\n{about}")
    axes.set_ylabel("true positive rate")
    return finish(axes, title, ncols=3)


def _thinned(roc: Roc) -> tuple[np.ndarray, np.ndarray]:
    """Returns the FPR and TPR of the curve at evenly spaced places of the plot."""
    false_accepts = np.maximum(roc.false_accepts, 0.5)  # log of the first point
    logarithm = np.log(false_accepts)
    places = np.linspace(logarithm[0], logarithm[-1], _MAX_POINTS)
    chosen = np.unique(np.searchsorted(logarithm, places, side="right") - 1)
    return (false_accepts / roc.num_impostor)[chosen], roc.tpr[chosen]


def plot_scores(
    histograms: Mapping[str, ScoreHistogram], axes: "Axes | None" = None
) -> "Figure":
    """Draws the cosines of impostor and genuine pairs.

    Each of the two kinds has unit area, since impostor pairs outnumber genuine ones by
    thousands; the vertical axis is logarithmic, since the tails decide.

    Args:
        histograms: label -> histogram.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure.
    """
    axes = axes or own()
    left, right = 1.0, -1.0
    for (label, fine), style in zip(histograms.items(), STYLES, strict=False):
        edges, *kinds = _binned(fine)
        for name, counts, color in zip(_KINDS, kinds, COLORS[3:5], strict=True):
            axes.stairs(
                counts / counts.sum() / np.diff(edges),
                edges,
                label=f"{name}, {label}",
                color=color,
                linestyle=style,
                linewidth=1.4,
            )
            occupied = np.flatnonzero(counts)
            left = min(left, float(edges[occupied[0]]))
            right = max(right, float(edges[occupied[-1] + 1]))
    axes.set_xlim(left, right)
    axes.set_yscale("log")
    axes.set_xlabel("cosine of a pair")
    axes.set_ylabel("density")
    impostor, genuine = (counts.sum() for counts in kinds)
    title = f"Scores: {genuine:,} genuine, {impostor:,} impostor pairs"
    return finish(axes, title)


def _binned(fine: ScoreHistogram) -> ScoreHistogram:
    """Sums bins up to 128, or fewer where that leaves few genuine pairs in a bin."""
    edges, impostor, genuine = coarsen(fine)
    join = int(np.clip(2 ** np.ceil(np.log2(2048 / genuine.sum())), 2, 16))
    return ScoreHistogram(
        edges[::join], *(x.reshape(-1, join).sum(axis=1) for x in (impostor, genuine))
    )
