"""TPR at a given FPR: three rules that the literature uses, and how they differ.

A ROC of finitely many pairs is a staircase, so "TPR at FPR = x" needs a rule:

    conservative   max TPR(t) over FPR(t) <= x
    nearest        TPR at argmin |FPR(t) − x| over the corners of the curve
    interpolate    TPR linear in FPR between the points on either side of x

`conservative` never claims an FPR that was not reached. `nearest` is what the
IJB scripts of insightface print: it may pick a point beyond x.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from gfa_jax.metrics.roc import Roc

DEFAULT_FPRS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

# Below ten false accepts the relative standard error of the FPR exceeds 1/√10, about
# a third: the figure depends on which few pairs the set happens to hold.
MIN_FALSE_ACCEPTS = 10


class OperatingPoint(NamedTuple):
    """One cell of a verification table.

    Attributes:
        fpr_target: the false positive rate asked for.
        tpr: the true positive rate there, in [0, 1].
        fpr: the false positive rate of the point used (`interpolate`: the target).
        false_accepts: impostor pairs accepted at `threshold`.
        threshold: the score of the point used (`interpolate`: of the stricter one
            of the two points used); inf where nothing is accepted.
    """

    fpr_target: float
    tpr: float
    fpr: float
    false_accepts: int
    threshold: float

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
        roc: the curve.
        fpr_targets: rates in [0, 1].
        rule: `conservative`, `nearest` or `interpolate`, as the module says.
            `nearest` searches the points that scikit-learn's `roc_curve` keeps
            (collinear ones dropped) in float64 as the published scripts do; equal
            distances go to the larger FPR, then to the larger TPR. `interpolate`
            leaves a vertical segment at its top and enters the next at its bottom.

    Returns:
        One OperatingPoint a target, in order.

    Raises:
        ValueError: a target outside [0, 1], or an unknown rule.
    """
    if rule not in _RULES:
        raise ValueError(
            f"rule is {rule!r}; expected one of {', '.join(sorted(_RULES))}"
        )
    targets = check_targets(fpr_targets)
    if rule == "nearest":
        roc = drop_collinear(roc)
    return tuple(_RULES[rule](roc, target) for target in targets)


def check_targets(fpr_targets: Iterable[float]) -> tuple[float, ...]:
    """Checks FPR targets and returns them as floats.

    Args:
        fpr_targets: rates in [0, 1].

    Returns:
        The same rates.

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

    The quotient is compared as a float64, so that a target of 1e-3 allows exactly 3
    of 3000: the product 1e-3 · 3000 may round to either side of 3, the correctly
    rounded quotient 3/3000 is the literal 1e-3.
    """
    count = math.floor(fpr_target * num_impostor)
    while count / num_impostor > fpr_target:
        count -= 1
    while (count + 1) / num_impostor <= fpr_target:
        count += 1
    return count


def drop_collinear(roc: Roc) -> Roc:
    """Drops the points that scikit-learn's `drop_intermediate=True` drops.

    A point goes where the steps before and after it are equal in both counts; the
    point at inf is no part of the test. Collinear points of unequal steps stay.
    """
    corner = np.ones(roc.thresholds.size, bool)
    corner[2:-1] = (np.diff(roc.false_accepts[1:], 2) != 0) | (
        np.diff(roc.true_accepts[1:], 2) != 0
    )
    thresholds, false_accepts, true_accepts = (column[corner] for column in roc[:3])
    return Roc(
        thresholds, false_accepts, true_accepts, roc.num_impostor, roc.num_genuine
    )


def _last_allowed(roc: Roc, target: float) -> int:
    allowed = allowed_false_accepts(target, roc.num_impostor)
    return int(np.searchsorted(roc.false_accepts, allowed, side="right")) - 1


def _at(roc: Roc, target: float, index: int) -> OperatingPoint:
    false_accepts = int(roc.false_accepts[index])
    tpr = int(roc.true_accepts[index]) / roc.num_genuine
    fpr = false_accepts / roc.num_impostor
    return OperatingPoint(target, tpr, fpr, false_accepts, float(roc.thresholds[index]))


def _conservative(roc: Roc, target: float) -> OperatingPoint:
    return _at(roc, target, _last_allowed(roc, target))


def _nearest(roc: Roc, target: float) -> OperatingPoint:
    distance = np.abs(roc.fpr - target)
    return _at(roc, target, distance.size - 1 - int(np.argmin(distance[::-1])))


def _interpolate(roc: Roc, target: float) -> OperatingPoint:
    index = _last_allowed(roc, target)
    below = _at(roc, target, index)
    if index + 1 == roc.thresholds.size:
        return below
    above = _at(roc, target, index + 1)
    part = (target - below.fpr) / (above.fpr - below.fpr)
    return below._replace(tpr=below.tpr + part * (above.tpr - below.tpr), fpr=target)


_RULES: dict[str, Callable[[Roc, float], OperatingPoint]] = {
    "conservative": _conservative,
    "interpolate": _interpolate,
    "nearest": _nearest,
}
RULES = tuple(_RULES)
