"""TPR at a given FPR: three rules that the literature uses, and how they differ.

A ROC of finitely many pairs is a staircase, so "TPR at FPR = x" needs a rule:

    conservative   max TPR(t) over FPR(t) <= x
    nearest        TPR at argmin |FPR(t) − x| over the corners of the curve
    interpolate    TPR linear in FPR between the points on either side of x

`conservative` never claims an FPR that was not reached. `nearest` is what the
IJB scripts of insightface print: it may pick a point beyond x.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gfa_jax.metrics.roc import Roc

RULES = ("conservative", "interpolate", "nearest")
DEFAULT_FPRS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

# Below ten false accepts the relative standard error of the FPR exceeds 1/√10, about
# a third: the figure depends on which few pairs the set happens to hold.
MIN_FALSE_ACCEPTS = 10


class OperatingPoint(NamedTuple):
    """One cell of a verification table: the point of the curve that was used."""

    fpr_target: float
    tpr: float
    fpr: float  # of `interpolate` the target
    false_accepts: int  # impostor pairs accepted at `threshold`
    threshold: float  # of `interpolate` the stricter of two; inf: nothing is accepted

    @property
    def is_reliable(self) -> bool:
        """Whether at least ten false accepts stand behind the figure."""
        return self.false_accepts >= MIN_FALSE_ACCEPTS


def tpr_at_fpr(
    roc: Roc,
    fpr_targets: Iterable[float] = DEFAULT_FPRS,
    *,
    rule: str = "conservative",
) -> tuple[OperatingPoint, ...]:
    """Reads the TPR at given FPRs from a curve.

    Args:
        roc: of `roc_curve` or `all_pairs_roc`.
        fpr_targets: rates in [0, 1].
        rule: of the module's. "nearest" searches the points that scikit-learn's
            `roc_curve` keeps (collinear ones dropped) in float64 as the published
            scripts do; equal distances go to the larger FPR, then to the larger TPR.
            "interpolate" leaves a vertical segment at its top and enters the next at
            its bottom.

    Returns:
        An OperatingPoint for each target, in order.

    Raises:
        ValueError: a target outside [0, 1], or an unknown rule.

    Examples:
        >>> roc = metrics.roc_curve([0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0])
        >>> metrics.tpr_at_fpr(roc, (0.0, 0.5))[1].tpr
        1.0
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    targets = check_targets(fpr_targets)
    if rule == "nearest":
        roc = _drop_collinear(roc)
    return tuple(_read(roc, target, rule) for target in targets)


def check_targets(fpr_targets: Iterable[float]) -> tuple[float, ...]:
    """Refuses FPR targets that are no rates.

    Args:
        fpr_targets: rates in [0, 1].

    Returns:
        The same as floats.

    Raises:
        ValueError: a target outside [0, 1].
    """
    targets = tuple(float(target) for target in fpr_targets)
    for target in targets:
        if not 0 <= target <= 1:
            raise ValueError(f"FPR target {target}; expected a rate in [0, 1]")
    return targets


def allowed_false_accepts(fpr_target: float, num_impostor: int) -> int:
    """Finds the largest count k with k / num_impostor <= fpr_target.

    A target of 1e-3 allows exactly 3 of 3000: the product 1e-3 · 3000 may round to
    either side of 3, the correctly rounded quotient 3/3000 is the literal 1e-3.
    """
    count = math.floor(fpr_target * num_impostor)
    while count / num_impostor > fpr_target:
        count -= 1
    while (count + 1) / num_impostor <= fpr_target:
        count += 1
    return count


def _drop_collinear(roc: Roc) -> Roc:
    """Drops the points that scikit-learn's `drop_intermediate=True` drops.

    A point goes where the steps before and after it are equal in both counts; the
    point at inf is no part of the test. Collinear points of unequal steps stay.
    """
    corner = np.ones(roc.thresholds.size, bool)
    corner[2:-1] = (np.diff(roc.false_accepts[1:], 2) != 0) | (
        np.diff(roc.true_accepts[1:], 2) != 0
    )
    thresholds, false_accepts, true_accepts = (column[corner] for column in roc[:3])
    return Roc(thresholds, false_accepts, true_accepts, *roc[3:])


def _read(roc: Roc, target: float, rule: str) -> OperatingPoint:
    if rule == "nearest":
        distance = np.abs(roc.fpr - target)
        return _at(roc, target, distance.size - 1 - int(np.argmin(distance[::-1])))
    allowed = allowed_false_accepts(target, roc.num_impostor)
    index = int(np.searchsorted(roc.false_accepts, allowed, side="right")) - 1
    below = _at(roc, target, index)
    if rule == "conservative" or index + 1 == roc.thresholds.size:
        return below
    above = _at(roc, target, index + 1)
    part = (target - below.fpr) / (above.fpr - below.fpr)
    return below._replace(tpr=below.tpr + part * (above.tpr - below.tpr), fpr=target)


def _at(roc: Roc, target: float, index: int) -> OperatingPoint:
    false_accepts = int(roc.false_accepts[index])
    tpr = int(roc.true_accepts[index]) / roc.num_genuine
    fpr = false_accepts / roc.num_impostor
    return OperatingPoint(target, tpr, fpr, false_accepts, float(roc.thresholds[index]))
