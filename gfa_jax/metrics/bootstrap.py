"""Confidence intervals of TPR at FPR, by resampling identities.

Pairs that share a person are not independent, and resampling pairs makes intervals
that are too narrow. So the identities are drawn anew, with replacement. Where identity
a is drawn m_a times,

    an impostor pair of a and b weighs   m_a m_b
    a genuine pair of a weighs           m_a

and the TPR at FPR <= x follows from the weighted counts by the conservative rule: every
genuine score is accepted above the first impostor by which the weighted false accepts
exceed x times the weight of all. Two draws of one identity make no impostor pair. Over
all pairs of rows, with n_a rows of identity a, the whole impostor weight is

    W = ((Σ_a m_a n_a)² − Σ_a (m_a n_a)²) / 2

The bounds are the 2.5 % and 97.5 % percentiles over the draws; of a gain, those of
TPR_after − TPR_before, draw by draw: what moves both is no part of it.

Sources: Bolle, Ratha and Pankanti, the subsets bootstrap, CVIU 2004; Snijders and
Borgatti, the vertex bootstrap for pairs, Connections 1999.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.checks import check_integer
from gfa_jax.metrics.all_pairs import AllPairs, check_genuine
from gfa_jax.metrics.operating_point import (
    DEFAULT_FPRS,
    allowed_false_accepts,
    check_targets,
)
from gfa_jax.metrics.roc import check_pairs
from gfa_jax.metrics.scored_pairs import by_descending_score

BOUNDS = ((1 - 0.95) / 2, (1 + 0.95) / 2)  # the percentiles of every interval

# Pairs and draws that are weighed at once, in cache; while no identity is drawn 2,048
# times their weights fit int32. The draws of so many identities are 64 MB.
_BLOCK, _DRAWS = 512, 256
_DRAWN_AT_ONCE = 2**24


class ResampledTprs(NamedTuple):
    """The TPR at T FPRs in each of R draws of the identities."""

    fpr_targets: tuple[float, ...]
    tprs: np.ndarray  # [R, T] float64 in [0, 1]; nan where it cannot be told
    genuine_weights: np.ndarray  # [R] int64, by which other draws are told apart


class TprInterval(NamedTuple):
    """Bounds of a TPR, or of TPR after − TPR before; nan where they cannot be told."""

    fpr_target: float
    lower: float
    upper: float


class Sample(NamedTuple):
    """Scored pairs with the identities of their sides, by descending score."""

    impostor_scores: np.ndarray  # [I] floating
    impostor_identities: np.ndarray  # [S, I] integer, whose draws multiply
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
        scores: [M] as of `roc_curve`.
        same: [M] likewise.
        identities: [M, 2] integers or strings, of either side of each pair.
        fpr_targets: rates in [0, 1].
        num_resamples: number of draws R, >= 1. A draw without a genuine or without an
            impostor pair has no ROC and is drawn again.
        seed: of the draws, which depend on it and the identities alone.

    Returns:
        ResampledTprs, of R draws and T targets.

    Raises:
        ValueError: as `roc_curve`; identities that do not fit `same`; an option out
            of its range.

    Cost: at most `num_resamples` · M multiply-adds; memory: about 70 bytes a pair.
    """
    scores, same = check_pairs(scores, same)
    identities = np.asarray(identities)
    if identities.shape != (same.size, 2):
        raise ValueError(
            f"identities have shape {identities.shape}; expected ({same.size}, 2), "
            "one for each side of each pair"
        )
    names, sides = np.unique(identities, return_inverse=True)
    sides = sides.reshape(identities.shape)
    num_wrong = int(np.count_nonzero((sides[:, 0] == sides[:, 1]) != same))
    if num_wrong:
        raise ValueError(
            f"{num_wrong} of {same.size} pairs contradict their identities; expected "
            "the same identity on both sides of genuine pairs and of no other"
        )
    impostor = by_descending_score(scores[~same], sides[~same])
    genuine = by_descending_score(scores[same], sides[same])
    first, second = impostor.rows.T.copy()
    sample = Sample(
        impostor.scores,
        np.stack([first, second]),
        genuine.scores,
        genuine.rows[:, 0].copy(),
        names.size,
        impostor.scores.size,
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
    """Measures what `resample_tpr` does over all pairs.

    The options are as for `gfa_jax.metrics.resample_tpr`.

    Args:
        result: of `all_pairs_roc`.

    Returns:
        ResampledTprs, nan for a target whose threshold lies below the tail.

    Raises:
        ValueError: a result without its genuine pairs; an option out of its range.

    Cost: `num_resamples` multiply-adds for each genuine pair and each false accept of
    the largest target that is answered; memory: about 40 bytes a pair kept.
    """
    tail, genuine = result.impostor_tail, check_genuine(result)
    sizes = np.bincount(result.identities[result.identities >= 0])

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


def tpr_intervals(resampled: ResampledTprs) -> tuple[TprInterval, ...]:
    """Bounds the TPR at each target.

    Args:
        resampled: of `resample_tpr` or `resample_all_pairs_tpr`.

    Returns:
        A TprInterval for each target, in order.
    """
    bounds = np.quantile(resampled.tprs, BOUNDS, axis=0).tolist()
    return tuple(map(TprInterval, resampled.fpr_targets, *bounds))


def gain_intervals(
    before: ResampledTprs, after: ResampledTprs
) -> tuple[TprInterval, ...]:
    """Bounds TPR after − TPR before at each target, both on the same draws.

    0 outside of an interval means that the gain (or loss) is more than the choice of
    the identities explains.

    Args:
        before: of `resample_tpr` or `resample_all_pairs_tpr`.
        after: of the same, with the same identities, seed and targets.

    Returns:
        A TprInterval for each target, in order.

    Raises:
        ValueError: other targets or other draws.
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
    return tpr_intervals(after._replace(tprs=after.tprs - before.tprs))


def resample(
    sample: Sample, fpr_targets: Iterable[float], num_resamples: int, seed: int
) -> ResampledTprs:
    """Draws the identities anew, time after time, and reads the TPR at the targets."""
    targets = check_targets(fpr_targets)
    check_integer("num_resamples", num_resamples, least=1)
    # A threshold is known where it lies among the impostor pairs at hand.
    present = sample.impostor_scores.size
    whole = sample.num_impostor
    answered = [
        target
        for target in targets
        if present == whole or allowed_false_accepts(target, whole) < present
    ]
    known = np.isin(targets, answered)
    random = np.random.default_rng(seed)
    genuine_pairs = np.bincount(
        sample.genuine_identity, minlength=sample.num_identities
    )
    negated = -sample.genuine_scores.astype(np.float64)  # ascending
    tprs = np.full((num_resamples, len(targets)), np.nan)
    weights = np.empty(num_resamples, np.int64)
    height = min(max(1, _DRAWN_AT_ONCE // sample.num_identities), _DRAWS)
    for start in range(0, num_resamples, height):
        rows = range(start, min(start + height, num_resamples))
        draws = np.empty((sample.num_identities, len(rows)), np.int32)
        allowed = np.empty((len(rows), len(answered)), np.int64)
        for column in range(len(rows)):
            draws[:, column], impostor_weight = _draw(sample, genuine_pairs, random)
            allowed[column] = [
                allowed_false_accepts(target, impostor_weight) for target in answered
            ]
        limits = _first_scores_beyond(sample, draws, allowed)
        for row, limit, draw in zip(rows, limits, draws.T, strict=True):
            counts = np.cumsum(np.take(draw.astype(int), sample.genuine_identity))
            weights[row] = counts[-1]
            # Every genuine score above the first impostor too many is accepted.
            accepted = np.searchsorted(negated, -limit, side="left")
            tpr = np.append(0, counts)[accepted] / counts[-1]
            tprs[row, known] = np.where(np.isnan(limit), np.nan, tpr)
    return ResampledTprs(targets, tprs, weights)


def _draw(
    sample: Sample, genuine_pairs: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draws identities until both kinds of pairs weigh: the draws, the impostors' W."""
    while True:
        drawn = random.integers(sample.num_identities, size=sample.num_identities)
        draws = np.bincount(drawn, minlength=sample.num_identities)
        impostor_weight = sample.impostor_weight(draws)
        if impostor_weight and draws @ genuine_pairs:
            return draws, impostor_weight


def _first_scores_beyond(
    sample: Sample, draws: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    """Finds the first impostor scores [R, T] by which the weights exceed the allowed.

    All draws [A, R] share one pass over blocks of pairs, as far as the allowed weights
    [R, T] reach; only the block of a threshold is then weighed pair by pair. -inf where
    all impostors together weigh no more, nan where those at hand do not.
    """
    sides, present = sample.impostor_identities, sample.impostor_scores.size
    product = ",".join(["pr"] * len(sides)) + "->r"
    blocks = range(0, present, _BLOCK)
    sums = [np.zeros(draws.shape[1], np.int64)]
    for start in blocks:
        if np.all(sums[-1][:, None] > allowed):
            break
        pairs = slice(start, start + _BLOCK)
        weights = np.einsum(product, *(np.take(draws, s[pairs], 0) for s in sides))
        sums.append(sums[-1] + weights)
    columns = np.array(sums).T
    is_whole = present == sample.num_impostor
    scores = np.append(sample.impostor_scores, -np.inf if is_whole else np.nan)
    places = np.full(allowed.shape, present)
    for row, column in enumerate(columns):
        ends = np.searchsorted(column, allowed[row], side="right")
        for number in np.flatnonzero(ends < column.size):
            start = blocks[ends[number] - 1]
            pairs = slice(start, start + _BLOCK)
            weights = np.cumsum(draws[sides[:, pairs], row].prod(axis=0))
            left = allowed[row, number] - column[ends[number] - 1]
            places[row, number] = start + np.searchsorted(weights, left, side="right")
    return scores[places].astype(np.float64)
