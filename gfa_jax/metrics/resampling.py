"""TPR at FPR on identities that are drawn anew, with replacement.

Where identity a is drawn m_a times, a genuine pair of a weighs m_a and an impostor
pair of a and b weighs m_a m_b (see `bootstrap`, which reads the bounds off the draws).
The conservative TPR at FPR <= x accepts every genuine score above the first impostor
by which the weighted false accepts exceed x W, W the weight of all impostor pairs.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gfa_jax.metrics.operating_point import allowed_false_accepts, check_targets


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


class Sample(NamedTuple):
    """Scored pairs with the identities of their sides, by descending score.

    Attributes:
        impostor_scores: [I] floating.
        impostor_identities: [2, I] integer.
        genuine_scores: [G] floating.
        genuine_identity: [G] integer.
        num_identities: number of identities.
        num_impostor: I where no impostor pair is missing, else more.
        impostor_weight: weight of all impostor pairs, of the draws m [num_identities].
    """

    impostor_scores: np.ndarray
    impostor_identities: np.ndarray
    genuine_scores: np.ndarray
    genuine_identity: np.ndarray
    num_identities: int
    num_impostor: int
    impostor_weight: Callable[[np.ndarray], int]


def resample(
    sample: Sample,
    fpr_targets: Iterable[float],
    num_resamples: int,
    seed: int,
) -> ResampledTprs:
    """Draws the identities anew, time after time, and reads the TPR at the targets.

    Args:
        sample: the scored pairs.
        fpr_targets: rates in [0, 1].
        num_resamples: draws R, >= 1.
        seed: of the draws.

    Returns:
        ResampledTprs.

    Raises:
        ValueError: a target outside [0, 1], no draw.

    Cost: R passes over the genuine pairs and over twice the false accepts of the
    largest target.
    """
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
    """Draws the identities once and reads the TPR at the targets.

    Returns:
        [len(targets)] float64, and the weight of the genuine pairs.
    """
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
