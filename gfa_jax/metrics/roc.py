"""The receiver operating characteristic of verification scores, as integer counts.

A pair is accepted where its score reaches the threshold:

    FA(t) = #{impostor pairs with score >= t},   FPR(t) = FA(t) / number of impostors
    TA(t) = #{genuine pairs with score >= t},    TPR(t) = TA(t) / number of genuines

The strict end of the curve rests on a handful of false accepts, so the counts, not
the rates, are what is kept: rates are one division away and counts compare exactly.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Roc(NamedTuple):
    """A ROC curve, from the strictest threshold to the loosest.

    Attributes:
        thresholds: [P] float64, strictly descending from inf.
        false_accepts: [P] int64 impostor pairs with score >= threshold, from 0.
        true_accepts: [P] int64 genuine pairs with score >= threshold, from 0.
        num_impostor: number of impostor pairs, > 0.
        num_genuine: number of genuine pairs, > 0.
    """

    thresholds: np.ndarray
    false_accepts: np.ndarray
    true_accepts: np.ndarray
    num_impostor: int
    num_genuine: int

    @property
    def fpr(self) -> np.ndarray:
        """[P] float64 false positive rates, in [0, 1]."""
        return self.false_accepts / self.num_impostor

    @property
    def tpr(self) -> np.ndarray:
        """[P] float64 true positive rates, in [0, 1]."""
        return self.true_accepts / self.num_genuine


class EqualError(NamedTuple):
    """Where a ROC has as many false accepts as false rejects, as rates.

    Attributes:
        rate: the equal error rate, in [0, 1].
        threshold: the score where it is reached.
    """

    rate: float
    threshold: float


def roc_curve(scores: npt.ArrayLike, same: npt.ArrayLike) -> Roc:
    """Counts the accepts at every distinct score of a list of pairs.

    Args:
        scores: [M] finite real numbers, larger for more alike.
        same: [M] bool (or 0 and 1), True for a genuine pair.

    Returns:
        Roc of one point per distinct score after the point (inf, 0, 0); exact.

    Raises:
        ValueError: scores that are not finite, lengths that differ, labels that are
            not 0 and 1, no genuine or no impostor pair.

    Cost: sorts of M scores; memory: about 60 bytes a pair.
    """
    scores, same = check_pairs(scores, same)
    impostor, genuine = scores[~same], scores[same]
    return Roc(*count_accepts(impostor, genuine), impostor.size, genuine.size)


def count_accepts(
    impostor: np.ndarray, genuine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts the scores that reach each distinct score, from (inf, 0, 0) downwards.

    Args:
        impostor: [I] finite floating scores, in any order.
        genuine: [G] likewise.

    Returns:
        thresholds [P] float64, false accepts [P] int64, true accepts [P] int64.
    """
    descending = np.unique(np.concatenate([impostor, genuine]))[::-1]
    start = np.zeros(1, np.int64)
    return (
        np.concatenate([[np.inf], descending]),
        np.concatenate([start, _count_at_least(impostor, descending)]),
        np.concatenate([start, _count_at_least(genuine, descending)]),
    )


def _count_at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return scores.size - np.searchsorted(np.sort(scores), thresholds, side="left")


def auc(roc: Roc) -> float:
    """Measures the area under the curve, ∫ TPR dFPR, by trapezoids.

    Equal to the probability that a genuine score beats an impostor score, ties
    counted half.

    Args:
        roc: the curve.

    Returns:
        The area, in [0, 1].
    """
    return float(np.trapezoid(roc.tpr, roc.fpr))


def eer(roc: Roc) -> EqualError:
    """Finds where FPR = FNR = 1 − TPR, linear between the points of the curve.

    Args:
        roc: the curve.

    Returns:
        EqualError: the rate and the threshold. The threshold is interpolated like
        the rate, except that beside the point at inf it is that of the first score.
    """
    excess = roc.fpr + roc.tpr - 1  # FPR − FNR: rises strictly from −1 to 1
    upper = int(np.searchsorted(excess, 0))
    lower = upper - 1
    part = -excess[lower] / (excess[upper] - excess[lower])
    rate = roc.fpr[lower] + part * (roc.fpr[upper] - roc.fpr[lower])
    threshold = roc.thresholds[upper]
    if lower > 0:
        threshold += (1 - part) * (roc.thresholds[lower] - threshold)
    return EqualError(float(rate), float(threshold))


def check_pairs(
    scores: npt.ArrayLike, same: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Checks a list of scored pairs, as `roc_curve`; returns float [M] and bool [M]."""
    scores, same = np.asarray(scores), np.asarray(same)
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ValueError(
            f"scores have shape {scores.shape} and same has {same.shape}; expected "
            "[M] both: give one label for each score"
        )
    if same.dtype != np.bool_ and not np.isin(same, (0, 1)).all():
        raise ValueError(
            f"same holds {same.dtype} values other than 0 and 1; expected 1 for a "
            "genuine pair and 0 for an impostor pair"
        )
    same = same.astype(bool)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    num_bad = int(np.count_nonzero(~np.isfinite(scores)))
    if num_bad:
        raise ValueError(
            f"{num_bad} of {scores.size} scores are not finite; expected real "
            "numbers: look for zero or broken feature rows"
        )
    if same.all() or not same.any():
        raise ValueError(
            f"{np.count_nonzero(same)} genuine and {np.count_nonzero(~same)} impostor "
            "pairs; expected at least one of each: a ROC needs both"
        )
    return scores, same
