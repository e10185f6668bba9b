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
    """A ROC curve, from the strictest threshold to the loosest."""

    thresholds: np.ndarray  # [P] float64, strictly descending from inf
    false_accepts: np.ndarray  # [P] int64 impostor pairs with score >= threshold
    true_accepts: np.ndarray  # [P] int64 genuine pairs with score >= threshold
    num_impostor: int  # > 0
    num_genuine: int  # > 0

    @property
    def fpr(self) -> np.ndarray:
        """[P] float64 false positive rates, in [0, 1]."""
        return self.false_accepts / self.num_impostor

    @property
    def tpr(self) -> np.ndarray:
        """[P] float64 true positive rates, in [0, 1]."""
        return self.true_accepts / self.num_genuine

    @property
    def fnr(self) -> np.ndarray:
        """[P] float64 false negative rates, in [0, 1]."""
        return (self.num_genuine - self.true_accepts) / self.num_genuine


def roc_curve(scores: npt.ArrayLike, same: npt.ArrayLike) -> Roc:
    """Counts the accepts at every distinct score of a list of pairs, exactly.

    Args:
        scores: [M] finite real numbers, larger for more alike.
        same: [M] bool (or 0 and 1), True for a genuine pair.

    Returns:
        Roc, a point at every distinct score.

    Raises:
        ValueError: scores that are not finite, lengths that differ, labels that are
            not 0 and 1, no genuine or no impostor pair.

    Cost: sorts of M scores; memory: about 60 bytes a pair.

    Examples:
        >>> roc = metrics.roc_curve([0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0])
        >>> metrics.auc(roc), metrics.eer(roc)
        (0.75, 0.5)
    """
    scores, same = check_pairs(scores, same)
    impostor, genuine = scores[~same], scores[same]
    return Roc(*count_accepts(impostor, genuine), impostor.size, genuine.size)


def count_accepts(
    impostor: np.ndarray, genuine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts the scores that reach each distinct one, from (inf, 0, 0) downwards.

    Of scores in any order: thresholds [P] float64, false and true accepts [P] int64.
    """
    descending = np.unique(np.concatenate([impostor, genuine]))[::-1]

    def reach(scores: np.ndarray) -> np.ndarray:
        below = np.searchsorted(np.sort(scores), descending, side="left")
        return np.concatenate([np.zeros(1, np.int64), scores.size - below])

    return np.concatenate([[np.inf], descending]), reach(impostor), reach(genuine)


def auc(roc: Roc) -> float:
    """Measures the area under the curve, ∫ TPR dFPR in [0, 1], by trapezoids.

    Args:
        roc: of `roc_curve` or `all_pairs_roc`.

    Returns:
        The probability that a genuine score beats an impostor score, ties counted half.
    """
    return float(np.trapezoid(roc.tpr, roc.fpr))


def eer(roc: Roc) -> float:
    """Finds the equal error rate, FPR = FNR = 1 − TPR.

    Args:
        roc: of `roc_curve` or `all_pairs_roc`.

    Returns:
        The rate in [0, 1], linear between points of the curve.
    """
    excess = roc.fpr + roc.tpr - 1  # FPR − FNR: rises strictly from −1 to 1
    upper = int(np.searchsorted(excess, 0))
    lower = upper - 1
    part = -excess[lower] / (excess[upper] - excess[lower])
    return float(roc.fpr[lower] + part * (roc.fpr[upper] - roc.fpr[lower]))


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
