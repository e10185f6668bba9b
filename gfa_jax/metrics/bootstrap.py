"""Confidence intervals of TPR at FPR, by resampling identities.

Pairs that share a person are not independent, and resampling pairs makes intervals
that are too narrow. So the identities are drawn anew, with replacement. Where identity
a is drawn m_a times,

    an impostor pair of a and b weighs   m_a m_b
    a genuine pair of a weighs           m_a

and the TPR at FPR <= x follows from the weighted counts by the conservative rule: every
genuine score is accepted above the first impostor by which the weighted false accepts
exceed x times the weight of all. Two
draws of one identity make no impostor pair. Over all pairs of rows, with n_a rows of
identity a, the whole impostor weight is known without the pairs:

    W = ((Σ_a m_a n_a)² − Σ_a (m_a n_a)²) / 2

The bounds are the percentiles over the draws. Two sets of features that are measured
on the same pairs are compared on the same draws: the bounds of a gain are the
percentiles of TPR_after − TPR_before, draw by draw. What moves both is no part of it,
so they are narrower than those of either, and they tell whether a gain may be chance,
which two overlapping intervals do not. Sources: Bolle, Ratha and Pankanti, the
subsets bootstrap, CVIU 2004; Snijders and Borgatti, the vertex bootstrap for pairs,
Connections 1999; for differences Efron and Tibshirani, An Introduction to the
Bootstrap, 1993.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.metrics.all_pairs_result import AllPairs, check_genuine
from gfa_jax.metrics.operating_point import (
    DEFAULT_FPRS,
    allowed_false_accepts,
    check_targets,
)
from gfa_jax.metrics.roc import check_pairs
from gfa_jax.metrics.scored_pairs import by_descending_score


class ResampledTprs(NamedTuple):
    """The TPR at T FPRs in each of R draws of the identities.

    Attributes:
        fpr_targets: T rates.
        tprs: [R, T] float64 in [0, 1]; nan where it cannot be told.
        genuine_weights: [R] int64 weight of the genuine pairs in each draw, by which
            two measurements on other draws are told apart.
    """

    fpr_targets: tuple[float, ...]
    tprs: np.ndarray
    genuine_weights: np.ndarray


class TprInterval(NamedTuple):
    """Bounds of a TPR, or of TPR after − TPR before; nan where they cannot be told."""

    fpr_target: float
    lower: float
    upper: float


class Sample(NamedTuple):
    """Scored pairs with the identities of their sides, by descending score."""

    impostor_scores: np.ndarray  # [I] floating
    impostor_identities: np.ndarray  # [2, I] integer
    genuine_scores: np.ndarray  # [G] floating
    genuine_identity: np.ndarray  # [G] integer
    num_identities: int
    num_impostor: int  # I where no impostor pair is missing, else more
    impostor_weight: Callable[[np.ndarray], int]  # of all pairs, of the draws m


def resample_tpr(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    identities: npt.ArrayLike,
    fpr_targets: Iterable[float] = DEFAULT_FPRS,
    *,
    num_resamples: int = 200,
    seed: int = 0,
) -> ResampledTprs:
    """Measures the conservative TPR for a list of pairs, on identities drawn anew.

    Args:
        scores: [M] finite real numbers, larger for more alike.
        same: [M] bool (or 0 and 1), True for a genuine pair.
        identities: [M, 2] integers or strings, the identity of either side of each
            pair. Without them no interval can be given.
        fpr_targets: rates in [0, 1].
        num_resamples: number of draws R, >= 1. A draw without a genuine or without an
            impostor pair has no ROC and is drawn again.
        seed: of the draws; the same seed and identities give the same draws, whatever
            the scores.

    Returns:
        ResampledTprs, for `tpr_intervals` and `gain_intervals`.

    Raises:
        ValueError: as `roc_curve`; identities that do not fit `same`; an option out
            of its range.

    Cost: `num_resamples` passes over the pairs; memory: about 70 bytes a pair.
    """
    scores, same = check_pairs(scores, same)
    sides, num_identities = _number_sides(np.asarray(identities), same)
    impostor_scores, impostor_sides = by_descending_score(scores[~same], sides[~same])
    genuine_scores, genuine_sides = by_descending_score(scores[same], sides[same])
    first, second = impostor_sides.T.copy()
    sample = Sample(
        impostor_scores,
        np.stack([first, second]),
        genuine_scores,
        genuine_sides[:, 0].copy(),
        num_identities,
        impostor_scores.size,
        lambda draws: int(draws[first] @ draws[second]),
    )
    return resample(sample, fpr_targets, num_resamples, seed)


def resample_all_pairs_tpr(
    result: AllPairs,
    fpr_targets: Iterable[float] = DEFAULT_FPRS,
    *,
    num_resamples: int = 200,
    seed: int = 0,
) -> ResampledTprs:
    """Measures the conservative TPR over all pairs, on identities drawn anew.

    Args:
        result: what `all_pairs_roc` returned.
        fpr_targets: rates in [0, 1].
        num_resamples: as of `resample_tpr`.
        seed: as of `resample_tpr`.

    Returns:
        ResampledTprs; nan for a target whose threshold lies below the tail.

    Raises:
        ValueError: a result without its genuine pairs; an option out of its range.

    Cost: `num_resamples` passes over the genuine pairs and over twice the false
    accepts of the largest target that is answered; memory: about 40 bytes a pair kept.
    """
    tail, genuine = result.impostor_tail, check_genuine(result)
    sizes = np.bincount(result.identities)

    def impostor_weight(draws: np.ndarray) -> int:
        rows = draws * sizes
        return int(rows.sum() ** 2 - rows @ rows) // 2

    sample = Sample(
        tail.scores,
        result.identities[tail.rows.T],
        genuine.scores,
        result.identities[genuine.rows[:, 0]],
        sizes.size,
        result.roc.num_impostor,
        impostor_weight,
    )
    return resample(sample, fpr_targets, num_resamples, seed)


def tpr_intervals(
    resampled: ResampledTprs, *, level: float = 0.95
) -> tuple[TprInterval, ...]:
    """Bounds the TPR at each target by the percentiles over the draws.

    Args:
        resampled: of `resample_tpr` or `resample_all_pairs_tpr`.
        level: share of the draws between the bounds, in (0, 1).

    Returns:
        One TprInterval a target, in order.

    Raises:
        ValueError: a level out of its range.
    """
    bounds = _percentiles(resampled.tprs, level)
    return tuple(map(TprInterval, resampled.fpr_targets, *bounds))


def gain_intervals(
    before: ResampledTprs, after: ResampledTprs, *, level: float = 0.95
) -> tuple[TprInterval, ...]:
    """Bounds TPR after − TPR before, both on the same draws of the identities.

    Args:
        before: of `resample_tpr` or `resample_all_pairs_tpr`.
        after: likewise, of other scores of the same pairs, with the same targets,
            number of draws and seed.
        level: share of the draws between the bounds, in (0, 1).

    Returns:
        One TprInterval a target, in order; 0 outside of it means that the gain (or
        loss) is more than the choice of the identities explains.

    Raises:
        ValueError: other targets or other draws, a level out of its range.
    """
    if before.fpr_targets != after.fpr_targets:
        raise ValueError(
            f"got FPR targets {before.fpr_targets} and {after.fpr_targets}; expected "
            "the same: measure both at the same targets"
        )
    if not np.array_equal(before.genuine_weights, after.genuine_weights):
        raise ValueError(
            "before and after were measured on other draws; expected the same pairs, "
            "identities, num_resamples and seed for both"
        )
    bounds = _percentiles(after.tprs - before.tprs, level)
    return tuple(map(TprInterval, after.fpr_targets, *bounds))


def _percentiles(values: np.ndarray, level: float) -> list[list[float]]:
    """Returns the lower and the upper bounds of [R, T] values."""
    _check_level(level)
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0).tolist()


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a share between 0 and 1")


def _number_sides(identities: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, int]:
    if identities.shape != (same.size, 2):
        raise ValueError(
            f"identities have shape {identities.shape}; expected ({same.size}, 2), "
            "one for each side of each pair"
        )
    values, numbers = np.unique(identities, return_inverse=True)
    sides = numbers.reshape(identities.shape)
    num_wrong = int(np.count_nonzero((sides[:, 0] == sides[:, 1]) != same))
    if num_wrong:
        raise ValueError(
            f"{num_wrong} of {same.size} pairs contradict their identities; expected "
            "the same identity on both sides of genuine pairs and of no other"
        )
    return sides, values.size


def resample(
    sample: Sample,
    fpr_targets: Iterable[float],
    num_resamples: int,
    seed: int,
) -> ResampledTprs:
    """Draws the identities anew, time after time, and reads the TPR at the targets."""
    targets = check_targets(fpr_targets)
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; expected at least 1")
    random = np.random.default_rng(seed)
    known = np.array([_is_known(sample, target) for target in targets], np.bool_)
    answered = [
        target for target, is_known in zip(targets, known, strict=True) if is_known
    ]
    tprs = np.full((num_resamples, len(targets)), np.nan)
    weights = np.empty(num_resamples, np.int64)
    for draw in range(num_resamples):
        tprs[draw, known], weights[draw] = _resampled_tpr(sample, answered, random)
    return ResampledTprs(targets, tprs, weights)


def _is_known(sample: Sample, target: float) -> bool:
    """Tells whether the threshold of a target lies among the impostor pairs at hand."""
    present = sample.impostor_scores.size
    if present == sample.num_impostor:
        return True
    return allowed_false_accepts(target, sample.num_impostor) < present


def _resampled_tpr(
    sample: Sample, targets: Sequence[float], random: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draws the identities once: the TPR at the targets, the genuine weight."""
    genuine_weight = impostor_weight = 0
    while not (genuine_weight and impostor_weight):
        drawn = random.integers(sample.num_identities, size=sample.num_identities)
        draws = np.bincount(drawn, minlength=sample.num_identities)
        true_accepts = np.cumsum(draws[sample.genuine_identity])
        genuine_weight = int(true_accepts[-1])
        impostor_weight = sample.impostor_weight(draws)
    true_accepts = np.concatenate([[0], true_accepts])
    allowed = [allowed_false_accepts(x, impostor_weight) for x in targets]
    limits = _first_score_beyond(sample, draws, allowed)
    # Every genuine score above the first impostor that is one too many is accepted.
    accepted = np.searchsorted(-sample.genuine_scores, -limits, side="left")
    tpr = true_accepts[accepted] / genuine_weight
    return np.where(np.isnan(limits), np.nan, tpr), genuine_weight


def _first_score_beyond(
    sample: Sample, draws: np.ndarray, allowed: Sequence[int]
) -> np.ndarray:
    """Finds the score of the impostor that makes the false accepts exceed a weight.

    Returns:
        [len(allowed)] float64; -inf where all impostors together do not exceed it, nan
        where those at hand do not.
    """
    first, second = sample.impostor_identities
    most = max(allowed, default=0)
    # Pairs weigh 1 on average, so that twice the weight in pairs nearly always does.
    head = 2 * most + 1
    while True:
        weights = np.cumsum(draws[first[:head]] * draws[second[:head]])
        if head >= first.size or weights[-1] > most:
            break
        head *= 2
    is_whole = first.size == sample.num_impostor
    scores = np.append(
        sample.impostor_scores[: weights.size], -np.inf if is_whole else np.nan
    )
    return scores[np.searchsorted(weights, allowed, side="right")].astype(np.float64)
