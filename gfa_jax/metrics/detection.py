"""Detection costs, and scores as likelihood ratios.

With a prior P of a genuine pair and the costs of a miss and of a false accept,

    DCF(t)   = (c_miss P FNR(t) + c_fa (1 − P) FPR(t)) / min(c_miss P, c_fa (1 − P))
    minDCF   = min_t DCF(t);   actual DCF = DCF(ln(c_fa (1 − P) / (c_miss P)))
    Cllr     = ½ mean_genuine log₂(1 + e^(−ℓ)) + ½ mean_impostor log₂(1 + e^ℓ)

1 is what deciding without a score costs. Actual DCF and Cllr take scores for logarithms
of likelihood ratios ℓ; minCllr is the Cllr of the best monotone map of the scores, by
pool adjacent violators. A DET curve is (`Roc.fpr`, `Roc.fnr`) on probit axes.

All read the counts of a `Roc`, so lists of pairs and all pairs of a pool alike. Of
`roc_curve` they are exact. Of `all_pairs_roc` scores below its tail are read at the
lower edge of their bin, up to 2^-15 too low: Cllr of ℓ = a s + b is off by at most
a · 2^-15 / ln 2, and minDCF and minCllr are too high by what the points between would
gain, at most the share of either kind in one bin.

Sources: NIST, Speaker Recognition Evaluation plans; Brümmer and du Preez, Application-
independent evaluation of speaker detection, Computer Speech and Language 2006.
"""

import math
from typing import NamedTuple

import numpy as np

from gfa_jax.metrics.roc import Roc

STANDARD_PRIORS = (0.05, 0.01)  # with equal costs: VoxSRC, and NIST SRE since 2016
_MOST_STEPS = 100


class Calibration(NamedTuple):
    """ℓ = scale · score + offset, the natural logarithm of a likelihood ratio."""

    scale: float  # > 0
    offset: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Maps scores [...] to ℓ [...]."""
        return self.scale * scores + self.offset


def min_dcf(
    roc: Roc, *, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """Finds the least normalised cost over the thresholds.

    Args:
        roc: a curve of `roc_curve` or `all_pairs_roc`.
        p_target: prior P of a genuine pair, in (0, 1).
        c_miss: cost of a genuine pair that is refused, > 0.
        c_fa: cost of an impostor pair that is accepted, > 0.

    Returns:
        minDCF in [0, 1].

    Raises:
        ValueError: a prior or a cost out of its range.

    Examples:
        >>> roc = metrics.all_pairs_roc(features, labels).roc
        >>> 0 < metrics.min_dcf(roc, p_target=0.01) < 1
        True
    """
    miss, false_accept, _ = _weigh(p_target, c_miss, c_fa)
    return float(np.min(miss * roc.fnr + false_accept * roc.fpr))


def actual_dcf(
    roc: Roc, *, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """Measures the normalised cost at the threshold that is right for ℓ.

    Takes prior and costs as for `gfa_jax.metrics.min_dcf`, and a curve whose thresholds
    are ℓ, as of `calibrate`.

    Returns:
        Actual DCF >= minDCF.

    Raises:
        ValueError: a prior or a cost out of its range.
    """
    miss, false_accept, threshold = _weigh(p_target, c_miss, c_fa)
    last = np.searchsorted(-roc.thresholds, -threshold, side="right") - 1
    return float(miss * roc.fnr[last] + false_accept * roc.fpr[last])


def cllr(roc: Roc) -> float:
    """Measures the cost of ℓ over all priors, in bits: 1 is that of ℓ = 0.

    Args:
        roc: a curve whose thresholds are ℓ, as of `calibrate`.

    Returns:
        Cllr >= 0.
    """
    return _cllr(roc, roc.thresholds[1:])


def min_cllr(roc: Roc) -> float:
    """Measures the Cllr after the best monotone map of the scores.

    Args:
        roc: a curve of any scores.

    Returns:
        minCllr in [0, 1].
    """
    from scipy.optimize import isotonic_regression

    genuine, impostor = _steps(roc)
    total = genuine * roc.num_genuine + impostor * roc.num_impostor
    share = np.clip(genuine * roc.num_genuine / total, 0, 1)
    found = isotonic_regression(share, weights=total, increasing=False).x
    found = np.clip(found, 0, 1)
    with np.errstate(divide="ignore"):
        odds = np.log(found) - np.log1p(-found)
    return _cllr(roc, odds - math.log(roc.num_genuine / roc.num_impostor))


def fit_calibration(roc: Roc, *, p_target: float = 0.5) -> Calibration:
    """Fits ℓ = a s + b by logistic regression, both kinds weighed by a prior.

    It minimises P mean_genuine ln(1 + e^(−z)) + (1 − P) mean_impostor ln(1 + e^z) with
    z = a s + b + ln(P / (1 − P)), by Newton's method on the points of the curve.

    Args:
        roc: a curve of similarities.
        p_target: prior P in (0, 1), where the fit is to be best.

    Returns:
        Calibration.

    Raises:
        ValueError: a prior outside (0, 1); scores that a threshold separates without
            error, where no finite scale is best; scores that are no higher for
            genuine pairs.

    Cost: about ten passes over the points; memory: 100 bytes a point.
    """
    _weigh(p_target, 1.0, 1.0)
    scores = roc.thresholds[1:]
    genuine, impostor = _steps(roc)
    ends = [scores[counts > 0][[-1, 0]] for counts in (genuine, impostor)]
    if ends[0][0] >= ends[1][1] or ends[1][0] >= ends[0][1]:
        raise ValueError(
            f"genuine scores from {ends[0][0]:g} and impostor scores up to "
            f"{ends[1][1]:g} do not overlap; expected some that do: no finite scale "
            "fits best, so calibrate on more or on harder pairs"
        )
    weights = np.stack([p_target * genuine, (1 - p_target) * impostor])
    total = weights.sum(axis=0)
    center = float(total @ scores)
    spread = math.sqrt(float(total @ (scores - center) ** 2))
    design = np.stack([(scores - center) / spread, np.ones_like(scores)])
    prior = math.log(p_target / (1 - p_target))

    def loss(solution: np.ndarray) -> float:
        z = solution @ design + prior
        return float(np.sum(weights * np.logaddexp(0, [-z, z])))

    solution, value = np.zeros(2), loss(np.zeros(2))
    for _ in range(_MOST_STEPS):
        posterior = 1 / (1 + np.exp(-(solution @ design + prior)))
        slope = design @ (total * posterior - weights[0])
        curvature = (design * (total * posterior * (1 - posterior))) @ design.T
        step = np.linalg.solve(curvature, slope)
        while (after := loss(solution - step)) > value and np.abs(step).max() > 1e-12:
            step /= 2
        solution, gained, value = solution - step, value - after, after
        if gained <= 1e-14 * value:
            break
    scale = float(solution[0]) / spread
    if scale <= 0:
        raise ValueError(
            f"the best scale is {scale:g}; expected scores that are higher for genuine "
            "pairs: give similarities, not distances"
        )
    return Calibration(scale, float(solution[1]) - scale * center)


def calibrate(roc: Roc, calibration: Calibration) -> Roc:
    """Gives a curve the ℓ of its thresholds.

    Args:
        roc: a curve of scores.
        calibration: of `fit_calibration`.

    Returns:
        The same curve with thresholds ℓ.
    """
    return roc._replace(thresholds=calibration(roc.thresholds))


def _weigh(p_target: float, c_miss: float, c_fa: float) -> tuple[float, float, float]:
    """Returns the normalised weights of FNR and FPR, and the threshold of ℓ."""
    if not 0 < p_target < 1:
        raise ValueError(f"p_target is {p_target}; expected a prior in (0, 1)")
    if not (0 < c_miss < math.inf and 0 < c_fa < math.inf):
        raise ValueError(f"costs are {c_miss} and {c_fa}; expected more than 0, finite")
    miss, false_accept = c_miss * p_target, c_fa * (1 - p_target)
    least = min(miss, false_accept)
    return miss / least, false_accept / least, math.log(false_accept / miss)


def _steps(roc: Roc) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shares of genuine and impostor pairs at each score of the curve."""
    counts = (roc.true_accepts, roc.num_genuine), (roc.false_accepts, roc.num_impostor)
    genuine, impostor = (np.diff(accepts) / number for accepts, number in counts)
    return genuine, impostor


def _cllr(roc: Roc, ratios: np.ndarray) -> float:
    genuine, impostor = _steps(roc)
    costs = 0.0
    for share, sign in ((genuine, -1), (impostor, 1)):
        present = share > 0  # an infinite ratio costs nothing where there is no pair
        costs += share[present] @ np.logaddexp(0, sign * ratios[present])
    return float(costs / 2 / math.log(2))
