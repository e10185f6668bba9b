"""Confidence intervals of TPR at FPR, by resampling identities.

Pairs that share a person are not independent, and resampling pairs makes intervals
that are too narrow. So the identities are drawn anew, with replacement. Where identity
a is drawn m_a times,

    an impostor pair of a and b weighs   m_a m_b
    a genuine pair of a weighs           m_a

and the TPR at FPR <= x follows from the weighted counts by the conservative rule. Two
draws of one identity make no impostor pair. Over all pairs of rows, with n_a rows of
identity a, the whole impostor weight is known without the pairs:

    W = ((Σ_a m_a n_a)² − Σ_a (m_a n_a)²) / 2

The bounds are the percentiles over the draws. Sources: Bolle, Ratha and Pankanti, the
subsets bootstrap, CVIU 2004; Snijders and Borgatti, the vertex bootstrap for pairs,
Connections 1999.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.metrics.all_pairs import AllPairs, check_genuine
from gfa_jax.metrics.operating_point import (
    DEFAULT_FPRS,
    allowed_false_accepts,
    check_targets,
)
from gfa_jax.metrics.roc import check_pairs
from gfa_jax.metrics.scored_pairs import by_descending_score


class TprInterval(NamedTuple):
    """A confidence interval of one cell of a verification table.

    Attributes:
        fpr_target: the false positive rate asked for.
        lower: lower bound of the TPR, in [0, 1]; nan where it cannot be told.
        upper: upper bound of the TPR, in [0, 1]; nan where it cannot be told.
    """

    fpr_target: float
    lower: float
    upper: float


class _Sample(NamedTuple):
    """Scored pairs with the identities of their sides, by descending score."""

    impostor_scores: np.ndarray  # [I] floating
    impostor_identities: np.ndarray  # [2, I] integer
    genuine_scores: np.ndarray  # [G] floating
    genuine_identity: np.ndarray  # [G] integer
    num_identities: int
    num_impostor: int  # I where none is missing, else more
    impostor_weight: Callable[[np.ndarray], int]  # of the draws m [num_identities]


def bootstrap_tpr(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    identities: npt.ArrayLike,
    fpr_targets: Iterable[float] = DEFAULT_FPRS,
    *,
    num_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[TprInterval, ...]:
    """Bounds the conservative TPR at given FPRs for a list of pairs.

    Args:
        scores: [M] finite real numbers, larger for more alike.
        same: [M] bool (or 0 and 1), True for a genuine pair.
        identities: [M, 2] integers or strings, the identity of either side of each
            pair. Without them no interval can be given.
        fpr_targets: rates in [0, 1].
        num_resamples: number of draws, >= 1. A draw without a genuine or without an
            impostor pair has no ROC and is drawn again.
        level: share of the draws between the bounds, in (0, 1).
        seed: of the draws; the same seed gives the same bounds.

    Returns:
        One TprInterval a target, in order.

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
    sample = _Sample(
        impostor_scores,
        np.stack([first, second]),
        genuine_scores,
        genuine_sides[:, 0].copy(),
        num_identities,
        impostor_scores.size,
        lambda draws: int(draws[first] @ draws[second]),
    )
    return _bounds(sample, fpr_targets, num_resamples, level, seed)


def bootstrap_all_pairs_tpr(
    result: AllPairs,
    fpr_targets: Iterable[float] = DEFAULT_FPRS,
    *,
    num_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[TprInterval, ...]:
    """Bounds the conservative TPR at given FPRs over all pairs of rows.

    Only the tail of the impostor scores is known pair by pair. A target whose
    threshold falls below it, for the data or for any draw, has bounds of nan: measure
    again with a larger `tail_size`.

    Args:
        result: what `all_pairs_roc` returned.
        fpr_targets: rates in [0, 1].
        num_resamples: as of `bootstrap_tpr`.
        level: as of `bootstrap_tpr`.
        seed: as of `bootstrap_tpr`.

    Returns:
        One TprInterval a target, in order.

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

    sample = _Sample(
        tail.scores,
        result.identities[tail.rows.T],
        genuine.scores,
        result.identities[genuine.rows[:, 0]],
        sizes.size,
        result.roc.num_impostor,
        impostor_weight,
    )
    return _bounds(sample, fpr_targets, num_resamples, level, seed)


def _bounds(
    sample: _Sample,
    fpr_targets: Iterable[float],
    num_resamples: int,
    level: float,
    seed: int,
) -> tuple[TprInterval, ...]:
    targets = check_targets(fpr_targets)
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; expected at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a share between 0 and 1")
    random = np.random.default_rng(seed)
    known = [target for target in targets if _is_known(sample, target)]
    tprs = [_resampled_tpr(sample, known, random) for _ in range(num_resamples)]
    quantiles = np.quantile(tprs, [(1 - level) / 2, (1 + level) / 2], axis=0)
    bounds = dict(zip(known, quantiles.T.tolist(), strict=True))
    unknown = [np.nan, np.nan]
    return tuple(TprInterval(x, *bounds.get(x, unknown)) for x in targets)


def _is_known(sample: _Sample, target: float) -> bool:
    """Tells whether the threshold of a target lies among the impostor pairs at hand."""
    present = sample.impostor_scores.size
    if present == sample.num_impostor:
        return True
    return allowed_false_accepts(target, sample.num_impostor) < present


def _resampled_tpr(
    sample: _Sample, targets: Sequence[float], random: np.random.Generator
) -> list[float]:
    """Draws the identities once and reads the TPR at the targets."""
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
    return np.where(np.isnan(limits), np.nan, tpr).tolist()


def _first_score_beyond(
    sample: _Sample, draws: np.ndarray, allowed: Sequence[int]
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
