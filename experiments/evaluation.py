"""Verification figures of a pool before and after, by the same pairs and rule."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.inputs import Pool
from gfa_jax import metrics


class Verification(NamedTuple):
    """How well the cosines of one set of features verify.

    Attributes:
        roc: the curve.
        histogram: the cosines of both kinds of pairs.
        points: TPR at each FPR asked for.
        intervals: bootstrap bounds of the same, or None.
    """

    roc: metrics.Roc
    histogram: metrics.ScoreHistogram
    points: tuple[metrics.OperatingPoint, ...]
    intervals: tuple[metrics.TprInterval, ...] | None


def verify(
    features: np.ndarray,
    pool: Pool,
    *,
    fprs: Sequence[float],
    rule: str,
    num_resamples: int,
    seed: int,
    max_images: int | None = None,
    progress: Callable | None = None,
) -> Verification:
    """Measures one set of features on the pairs of the pool, or on all pairs.

    Args:
        features: [N, D] unit rows, in the order of the pool.
        pool: its pairs where it has them, otherwise its labels, say what is genuine.
        fprs: false positive rates to report.
        rule: of the operating points (see `metrics.tpr_at_fpr`).
        num_resamples: bootstrap draws of identities; 0 for no intervals. The
            intervals need labels.
        seed: of the draws.
        max_images: over all pairs, genuine pairs of identities with more rows are
            left out; the impostor pairs stay. None keeps them.
        progress: see `metrics.all_pairs_roc`.

    Returns:
        Verification.
    """
    draws: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
    intervals = None
    if pool.pairs is not None:
        scores = metrics.pair_scores(features, pool.pairs.indices)
        same = pool.pairs.same
        assert same is not None  # load_pool decides it
        roc = metrics.roc_curve(scores, same)
        histogram = metrics.score_histogram(scores, same)
        if num_resamples and pool.labels is not None:
            identities = pool.labels[pool.pairs.indices]
            intervals = metrics.bootstrap_tpr(scores, same, identities, fprs, **draws)
    else:
        assert pool.labels is not None  # the caller evaluates labelled pools only
        result = metrics.all_pairs_roc(features, pool.labels, progress=progress)
        if max_images is not None:
            sizes = np.bincount(result.identities)[result.identities]
            result = metrics.restrict_genuine(result, sizes <= max_images)
        roc, histogram = result.roc, result.histogram
        if num_resamples and result.genuine is not None:
            intervals = metrics.bootstrap_all_pairs_tpr(result, fprs, **draws)
    return Verification(
        roc, histogram, metrics.tpr_at_fpr(roc, fprs, rule=rule), intervals
    )


def as_report(verification: Verification) -> dict[str, Any]:
    """Turns figures into what the report stores."""
    equal_error = metrics.eer(verification.roc)
    points = []
    for number, point in enumerate(verification.points):
        entry = point._asdict() | {"reliable": point.is_reliable}
        entry["threshold"] = _finite(point.threshold)
        if verification.intervals is not None:
            interval = verification.intervals[number]
            entry["interval"] = [_finite(interval.lower), _finite(interval.upper)]
        points.append(entry)
    return {
        "genuine_pairs": verification.roc.num_genuine,
        "impostor_pairs": verification.roc.num_impostor,
        "tpr_at_fpr": points,
        "auc": metrics.auc(verification.roc),
        "eer": equal_error.rate,
    }


def table(before: Verification, after: Verification) -> str:
    """Lays the operating points out for the terminal, before above after."""
    header = ["TPR at FPR"] + [f"{p.fpr_target:.0e}" for p in before.points]
    rows = [header]
    for name, verification in (("before", before), ("after", after)):
        rows.append(
            [name]
            + [
                f"{p.tpr:.4f}{' ' if p.is_reliable else '*'}"
                for p in verification.points
            ]
        )
    rows.append(["false accepts"] + [f"{p.false_accepts:,} " for p in after.points])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    roc = after.roc
    lines.append(
        f"{roc.num_genuine:,} genuine and {roc.num_impostor:,} impostor pairs; * rests "
        f"on fewer than {metrics.MIN_FALSE_ACCEPTS} false accepts"
    )
    return "\n".join(lines)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
