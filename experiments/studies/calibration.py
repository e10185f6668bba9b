"""Scores as likelihood ratios, fitted on one half and shown on the other.

A calibration that holds has points of the reliability plot on the diagonal, an actual
DCF near minDCF and a Cllr near minCllr.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from gfa_jax import metrics
from gfa_jax.plotting.style import COLORS, STYLES
from gfa_jax.programs import cli, evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5)
_MAX_POINTS = 2000
_BINS = 10


class Shown(NamedTuple):
    """One set of features on the half to report on."""

    roc: metrics.Roc  # its thresholds are ℓ
    figures: dict[str, Any]  # for the report


def show(name: str, fitted: metrics.Roc, reported: metrics.Roc) -> Shown | None:
    """Fits a calibration on one curve and measures it on the other.

    None, with a warning, where the scores of the first do not overlap.
    """
    try:
        calibration = metrics.fit_calibration(fitted)
    except ValueError as error:
        cli.warn(f"{name}: no calibration: {error}")
        return None
    roc = metrics.calibrate(reported, calibration)
    priors = {str(prior): {"p_target": prior} for prior in metrics.STANDARD_PRIORS}
    figures = {
        "calibration": calibration._asdict(),
        "eer": metrics.eer(roc),
        "min_dcf": {key: metrics.min_dcf(roc, **p) for key, p in priors.items()},
        "actual_dcf": {key: metrics.actual_dcf(roc, **p) for key, p in priors.items()},
        "min_cllr": metrics.min_cllr(roc),
        "cllr": metrics.cllr(roc),
    }
    return Shown(roc, figures)


def table(shown: Mapping[str, Shown]) -> str:
    """Lays the figures out for the terminal, a set of features a line."""
    keys = [str(prior) for prior in metrics.STANDARD_PRIORS]
    rows = [["min / actual", "EER", *(f"DCF at {key}" for key in keys), "Cllr"]]
    for name, (_, seen) in shown.items():
        pairs = [(seen["min_dcf"][key], seen["actual_dcf"][key]) for key in keys]
        pairs.append((seen["min_cllr"], seen["cllr"]))
        cells = (f"{least:.4f} / {actual:.4f}" for least, actual in pairs)
        rows.append([name, f"{seen['eer']:.4f}", *cells])
    return evaluation.align(rows)


def reliability(roc: metrics.Roc) -> tuple[np.ndarray, np.ndarray]:
    """Says what was predicted and what was so, in bins of equal width.

    Args:
        roc: a curve whose thresholds are ℓ.

    Returns:
        [B] mean posterior of a genuine pair, where both kinds weigh the same, of the
        pairs in each bin that has any; [B] their share of genuine pairs, so weighed.
    """
    posterior = expit(roc.thresholds[1:])
    genuine, whole = np.diff(roc.tpr), np.diff(roc.tpr) + np.diff(roc.fpr)
    bins = np.minimum((posterior * _BINS).astype(int), _BINS - 1)
    sums = (np.bincount(bins, w, _BINS) for w in (whole, whole * posterior, genuine))
    count, predicted, observed = sums
    filled = count > 0
    return predicted[filled] / count[filled], observed[filled] / count[filled]


def draw(shown: Mapping[str, Shown]) -> "Figure":
    """Draws DET curves on probit axes, and the reliability of the posteriors."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(9.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, (roc, _)) in enumerate(shown.items()):
        style: Any = {"color": COLORS[number], "linestyle": STYLES[number]}
        inside = (roc.fpr > 0) & (roc.fpr < 1) & (roc.fnr > 0) & (roc.fnr < 1)
        points = np.flatnonzero(inside)
        points = points[:: max(1, len(points) // _MAX_POINTS)]
        left.plot(
            norm.ppf(roc.fpr[points]), norm.ppf(roc.fnr[points]), label=name, **style
        )
        right.plot(*reliability(roc), marker="o", label=name, **style)
    left.set_xticks(norm.ppf(_TICKS), [f"{tick:g}" for tick in _TICKS], rotation=45)
    left.set_yticks(norm.ppf(_TICKS), [f"{tick:g}" for tick in _TICKS])
    left.set(xlabel="FPR", ylabel="FNR", title="DET")
    right.plot([0, 1], [0, 1], color="0.5", linestyle=":")
    right.set(xlabel="posterior", ylabel="share of genuine pairs", title="Reliability")
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)
    return figure
