"""Verification figures of a pool before and after, by the same pairs and rule.

Importing this module defines the flags of the figures.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gfa_jax import metrics
from gfa_jax.programs import cli, flags
from gfa_jax.programs.inputs import Pool

flags.DEFINE_list(
    "fprs", [f"{fpr:g}" for fpr in metrics.DEFAULT_FPRS], "FPRs to report."
)
flags.DEFINE_integer(
    "max_images", None, "Leave out genuine pairs of identities with more rows.", 2
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)


def options() -> dict[str, Any]:
    """Returns what the flags say of the figures, as options of `verify`."""
    try:
        fprs = metrics.check_targets(cli.numbers("fprs", float))
    except ValueError as error:
        raise ValueError(f"--fprs: {error}") from error
    return {
        "fprs": fprs,
        "rule": "conservative",
        "num_resamples": flags.FLAGS.resamples,
        "seed": flags.FLAGS.seed,
        "max_images": flags.FLAGS.max_images,
    }


class Verification(NamedTuple):
    """How well the cosines of one set of features verify."""

    roc: metrics.Roc  # the curve
    histogram: metrics.ScoreHistogram  # the cosines of both kinds of pairs
    points: tuple[metrics.OperatingPoint, ...]  # TPR at each FPR asked for
    # The draws behind the intervals, or None.
    resampled: metrics.ResampledTprs | None = None

    @property
    def intervals(self) -> tuple[metrics.TprInterval, ...] | None:
        """Bootstrap bounds of the points, or None."""
        if self.resampled is None:
            return None
        return metrics.tpr_intervals(self.resampled)


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
    """Measures unit rows [N, D] on the pairs of their pool, or on all by its labels.

    The FPRs are read by a `rule` of `metrics.tpr_at_fpr`; the identities are drawn
    `num_resamples` times for the intervals, with 0 for none. `max_images` and
    `progress` are as for `measure_all_pairs`.
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
    resampled = None
    if num_resamples and pool.labels is not None:
        identities = pool.labels[pool.pairs.indices]
        resampled = metrics.resample_tpr(scores, same, identities, fprs, **draws)
    points = metrics.tpr_at_fpr(roc, fprs, rule=rule)
    return Verification(roc, metrics.score_histogram(scores, same), points, resampled)


def measure_all_pairs(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    max_images: int | None = None,
    **options: Any,
) -> metrics.AllPairs:
    """Measures all pairs, but for the genuine ones of large identities.

    Those of identities with more than `max_images` rows are left out, where it is
    given. Everything else is as for `metrics.all_pairs_roc`.
    """
    result = metrics.all_pairs_roc(features, labels, **options)
    return without_large(result, max_images=max_images)


def without_large(
    result: metrics.AllPairs, *, max_images: int | None
) -> metrics.AllPairs:
    """Leaves genuine pairs out as `measure_all_pairs` does."""
    if max_images is None:
        return result
    # Counted from 1: an unknown identity is -1, and in no pair.
    sizes = np.bincount(result.identities + 1)[result.identities + 1]
    return metrics.restrict_genuine(result, sizes <= max_images)


def verify_all_pairs(
    result: metrics.AllPairs,
    *,
    fprs: Sequence[float],
    rule: str,
    num_resamples: int,
    seed: int,
) -> Verification:
    """Reads the figures off what was measured over all pairs; options as `verify`.

    There are no intervals where the genuine pairs are too many to be kept.
    """
    resampled = None
    if num_resamples and result.genuine is not None:
        resampled = metrics.resample_all_pairs_tpr(
            result, fprs, num_resamples=num_resamples, seed=seed
        )
    points = metrics.tpr_at_fpr(result.roc, fprs, rule=rule)
    return Verification(result.roc, result.histogram, points, resampled)


class Gain(NamedTuple):
    """TPR after − TPR before at an FPR, by the rule of both.

    The bounds are by the conservative rule, on the same draws of the identities for
    both; None where they are not known.
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
    """Compares two sets of features on the same pairs, FPRs, rule and draws."""
    return compare(before.points, after.points, before.resampled, after.resampled)


def compare(
    before: Sequence[metrics.OperatingPoint],
    after: Sequence[metrics.OperatingPoint],
    draws_before: metrics.ResampledTprs | None,
    draws_after: metrics.ResampledTprs | None,
) -> tuple[Gain, ...]:
    """Compares figures with the same figures before; without bounds where no draws."""
    limits: list[list[float | None]] = [[None, None]] * len(after)
    if draws_before is not None and draws_after is not None:
        limits = [*map(bounds, metrics.gain_intervals(draws_before, draws_after))]
    return tuple(
        Gain(new.fpr_target, new.tpr - old.tpr, *limit)
        for old, new, limit in zip(before, after, limits, strict=True)
    )


def bounds(interval: metrics.TprInterval) -> list[float | None]:
    """Returns the lower and the upper bound of an interval; None where unknown."""
    return [_finite(interval.lower), _finite(interval.upper)]


def as_report(
    verification: Verification, *, before: Verification | None = None
) -> dict[str, Any]:
    """Turns figures into what the report stores, with the gains over `before`."""
    points = []
    for point in verification.points:
        entry = point._asdict() | {"reliable": point.is_reliable}
        points.append(entry | {"threshold": _finite(point.threshold)})
    for entry, interval in zip(points, verification.intervals or (), strict=False):
        entry["interval"] = bounds(interval)
    known = () if before is None else gains(before, verification)
    for entry, gain in zip(points, known, strict=False):
        entry |= {"gain": gain.gain, "gain_interval": [gain.lower, gain.upper]}
    return {
        "genuine_pairs": verification.roc.num_genuine,
        "impostor_pairs": verification.roc.num_impostor,
        "tpr_at_fpr": points,
        "auc": metrics.auc(verification.roc),
        "eer": metrics.eer(verification.roc),
        "min_dcf": {  # by the prior of a genuine pair, both costs 1
            str(prior): metrics.min_dcf(verification.roc, p_target=prior)
            for prior in metrics.STANDARD_PRIORS
        },
    }


def table(
    before: Verification, after: Verification, expansion: Verification | None = None
) -> str:
    """Lays the figures out for the terminal, an FPR a line, with the gain of `after`.

    `expansion` is of the one-line query expansion, where it was measured.
    """
    found = {"raw": before, "query expansion": expansion, "refined": after}
    points = {name: each.points for name, each in found.items() if each is not None}
    known = gains(before, after)
    title = "gain" if known[0].lower is None else "gain [95 %]"
    rows = [["TPR at FPR", *points, title, "false accepts"]]
    for gain, *line in zip(known, *points.values(), strict=True):
        cells = (f"{p.tpr:.4f}{' ' if p.is_reliable else '*'}" for p in line)
        accepted = f"{line[-1].false_accepts:,}"
        rows.append([f"{gain.fpr_target:.0e}", *cells, str(gain), accepted])
    return align(rows) + "\n" + footnote(after.roc.num_genuine, after.roc.num_impostor)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Lays rows of cells out in columns, the first to the left, the others right."""
    first, *others = ([*map(len, column)] for column in zip(*rows, strict=True))
    form = f"{{:<{max(first)}}}" + "".join(f"  {{:>{max(each)}}}" for each in others)
    return "\n".join(form.format(*row).rstrip() for row in rows)


def footnote(num_genuine: int, num_impostor: int) -> str:
    """Says how many pairs a table rests on, and what its stars mean."""
    return (
        f"{num_genuine:,} genuine and {num_impostor:,} impostor pairs; * rests "
        f"on fewer than {metrics.MIN_FALSE_ACCEPTS} false accepts"
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
