"""Verification figures of a pool before and after, by the same pairs and rule."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gfa_jax import datasets, metrics
from gfa_jax.programs.inputs import Pool


class Verification(NamedTuple):
    """How well the cosines of one set of features verify.

    Attributes:
        roc: the curve.
        histogram: the cosines of both kinds of pairs.
        points: TPR at each FPR asked for.
        intervals: bootstrap bounds of the same, or None.
        resampled: the draws behind the intervals, or None.
    """

    roc: metrics.Roc
    histogram: metrics.ScoreHistogram
    points: tuple[metrics.OperatingPoint, ...]
    intervals: tuple[metrics.TprInterval, ...] | None
    resampled: metrics.ResampledTprs | None = None


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
    if pool.pairs is None:
        assert pool.labels is not None  # the caller evaluates labelled pools only
        result = measure_all_pairs(
            features, pool.labels, max_images=max_images, progress=progress
        )
        return verify_all_pairs(result, fprs=fprs, rule=rule, **draws)
    scores = metrics.pair_scores(features, pool.pairs.indices)
    same = pool.pairs.same
    assert same is not None  # load_pool decides it
    roc = metrics.roc_curve(scores, same)
    histogram = metrics.score_histogram(scores, same)
    resampled = None
    if num_resamples and pool.labels is not None:
        identities = pool.labels[pool.pairs.indices]
        resampled = metrics.resample_tpr(scores, same, identities, fprs, **draws)
    return _read(roc, histogram, resampled, fprs=fprs, rule=rule)


def measure_all_pairs(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    max_images: int | None = None,
    progress: Callable | None = None,
    **options: Any,
) -> metrics.AllPairs:
    """Measures all pairs, without the genuine ones of large identities.

    Args:
        features: [N, D] unit rows.
        labels: [N] identities.
        max_images: genuine pairs of identities with more rows are left out. None keeps
            them.
        progress: see `metrics.all_pairs_roc`.
        **options: of `metrics.all_pairs_roc`.

    Returns:
        AllPairs.
    """
    result = metrics.all_pairs_roc(features, labels, progress=progress, **options)
    return without_large(result, max_images=max_images)


def without_large(
    result: metrics.AllPairs, *, max_images: int | None
) -> metrics.AllPairs:
    """Leaves out the genuine pairs of large identities.

    Args:
        result: over all pairs.
        max_images: most rows of an identity whose genuine pairs stay; None keeps all.

    Returns:
        AllPairs; the impostor pairs stay.
    """
    if max_images is None:
        return result
    sizes = np.bincount(result.identities)[result.identities]
    return metrics.restrict_genuine(result, sizes <= max_images)


def verify_all_pairs(
    result: metrics.AllPairs,
    *,
    fprs: Sequence[float],
    rule: str,
    num_resamples: int,
    seed: int,
) -> Verification:
    """Reads the figures off what was measured over all pairs.

    Args:
        result: of `measure_all_pairs` or `rescore_pairs`.
        fprs: see `verify`.
        rule: see `verify`.
        num_resamples: see `verify`; no intervals where the genuine pairs are too many
            to be kept.
        seed: see `verify`.

    Returns:
        Verification.
    """
    resampled = None
    if num_resamples and result.genuine is not None:
        resampled = metrics.resample_all_pairs_tpr(
            result, fprs, num_resamples=num_resamples, seed=seed
        )
    return _read(result.roc, result.histogram, resampled, fprs=fprs, rule=rule)


def _read(
    roc: metrics.Roc,
    histogram: metrics.ScoreHistogram,
    resampled: metrics.ResampledTprs | None,
    *,
    fprs: Sequence[float],
    rule: str,
) -> Verification:
    intervals = None if resampled is None else metrics.tpr_intervals(resampled)
    points = metrics.tpr_at_fpr(roc, fprs, rule=rule)
    return Verification(roc, histogram, points, intervals, resampled)


class Gain(NamedTuple):
    """What one cell of a table gained over the same cell before.

    Attributes:
        fpr_target: the false positive rate.
        gain: TPR after − TPR before, by the rule of both.
        lower: lower bound of the gain by the conservative rule, on the same draws of
            the identities for both; None where it is not known.
        upper: upper bound of the same.
    """

    fpr_target: float
    gain: float
    lower: float | None
    upper: float | None

    def __str__(self) -> str:
        """Says the gain and its interval, as in "+.031 [+.012, +.050]"."""
        if self.lower is None or self.upper is None:
            return f"{self.gain:+.4f}"
        return f"{self.gain:+.4f} [{self.lower:+.4f}, {self.upper:+.4f}]"


def gains(before: Verification, after: Verification) -> tuple[Gain, ...]:
    """Compares two sets of features on the same pairs, and on the same draws.

    Args:
        before: of `verify` or `verify_all_pairs`.
        after: likewise, with the same FPRs, rule, seed and number of draws.

    Returns:
        One Gain an FPR; without bounds where either has no intervals.
    """
    intervals: Sequence[metrics.TprInterval | None] = [None] * len(after.points)
    if before.resampled is not None and after.resampled is not None:
        intervals = metrics.gain_intervals(before.resampled, after.resampled)
    return tuple(map(_gain, before.points, after.points, intervals))


def compare(
    before: metrics.OperatingPoint,
    after: metrics.OperatingPoint,
    draws_before: metrics.ResampledTprs | None,
    draws_after: metrics.ResampledTprs | None,
) -> Gain:
    """Compares one figure with the same figure before.

    Args:
        before: the figure.
        after: at the same FPR, of the same pairs.
        draws_before: of this FPR alone, or None.
        draws_after: likewise.

    Returns:
        Gain; without bounds where either has no draws.
    """
    if draws_before is None or draws_after is None:
        return _gain(before, after, None)
    return _gain(before, after, *metrics.gain_intervals(draws_before, draws_after))


def _gain(
    before: metrics.OperatingPoint,
    after: metrics.OperatingPoint,
    interval: metrics.TprInterval | None,
) -> Gain:
    known = [None, None] if interval is None else bounds(interval)
    return Gain(after.fpr_target, after.tpr - before.tpr, *known)


def bounds(
    interval: metrics.TprInterval,
) -> list[float | None]:
    """Returns the lower and the upper bound of an interval; None where unknown."""
    return [_finite(interval.lower), _finite(interval.upper)]


def as_report(
    verification: Verification, *, before: Verification | None = None
) -> dict[str, Any]:
    """Turns figures into what the report stores.

    Args:
        verification: the figures.
        before: of the features that these are compared with, if any: the report then
            has the gains over them.

    Returns:
        Numbers, strings, lists and dictionaries.
    """
    equal_error = metrics.eer(verification.roc)
    known = [] if before is None else gains(before, verification)
    points = []
    for number, point in enumerate(verification.points):
        entry = point._asdict() | {"reliable": point.is_reliable}
        entry["threshold"] = _finite(point.threshold)
        if verification.intervals is not None:
            entry["interval"] = bounds(verification.intervals[number])
        if known:
            entry["gain"] = known[number].gain
            entry["gain_interval"] = [known[number].lower, known[number].upper]
        points.append(entry)
    return {
        "genuine_pairs": verification.roc.num_genuine,
        "impostor_pairs": verification.roc.num_impostor,
        "tpr_at_fpr": points,
        "auc": metrics.auc(verification.roc),
        "eer": equal_error.rate,
    }


def table(
    before: Verification,
    after: Verification,
    expansion: Verification | None = None,
) -> str:
    """Lays the operating points out for the terminal, and the gain of the last.

    Args:
        before: of the raw features.
        after: of the refined ones.
        expansion: of the one-line query expansion, where it was measured.
    """
    header = ["TPR at FPR"] + [f"{p.fpr_target:.0e}" for p in before.points]
    rows = [header]
    for name, verification in (
        ("raw", before),
        ("query expansion", expansion),
        ("refined", after),
    ):
        if verification is None:
            continue
        rows.append(
            [name]
            + [
                f"{p.tpr:.4f}{' ' if p.is_reliable else '*'}"
                for p in verification.points
            ]
        )
    gained = gains(before, after)
    rows.append(["gain"] + [f"{each.gain:+.4f} " for each in gained])
    if before.resampled is not None and after.resampled is not None:
        for name, side in (("  95 % from", "lower"), ("       to", "upper")):
            values = [getattr(each, side) for each in gained]
            rows.append([name] + ["? " if v is None else f"{v:+.4f} " for v in values])
    rows.append(["false accepts"] + [f"{p.false_accepts:,} " for p in after.points])
    return align(rows) + "\n" + footnote(after.roc.num_genuine, after.roc.num_impostor)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Lays rows of cells out in columns, the first to the left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def footnote(num_genuine: int, num_impostor: int) -> str:
    """Says how many pairs a table rests on, and what its stars mean."""
    return (
        f"{num_genuine:,} genuine and {num_impostor:,} impostor pairs; * rests "
        f"on fewer than {metrics.MIN_FALSE_ACCEPTS} false accepts"
    )


def fold_accuracies(
    features: np.ndarray, pairs: datasets.Pairs, folds: np.ndarray
) -> np.ndarray:
    """Measures the accuracy on each fold at the threshold best on all the others.

    accuracy(t) = (TA(t) + I − FA(t)) / (G + I)

    The threshold lies halfway between the lowest score that is accepted there and the
    next one; of several that are equally good, it is the strictest. Source: Huang et
    al., Labeled Faces in the Wild, 2007, View 2.

    Args:
        features: [N, D] unit rows.
        pairs: M pairs, `same` known.
        folds: [M] integer fold of each pair; every two folds hold both kinds.

    Returns:
        [F] float64 accuracies, by ascending fold.

    Raises:
        ValueError: fewer than two folds.
    """
    assert pairs.same is not None  # load decides it
    scores = metrics.pair_scores(features, pairs.indices)
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("got 1 fold; expected at least 2, to choose the threshold by")
    accuracies = []
    for fold in numbers:
        inside = folds == fold
        roc = metrics.roc_curve(scores[~inside], pairs.same[~inside])
        best = int(np.argmax(roc.true_accepts - roc.false_accepts))
        threshold = roc.thresholds[best : best + 2].mean()
        accuracies.append(np.mean((scores[inside] >= threshold) == pairs.same[inside]))
    return np.array(accuracies)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
