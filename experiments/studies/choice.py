"""How a study chooses settings on one half of the identities.

Of several settings, those that fall under the raw features at some target are out
(where all do, those that do not fall furthest). Of the others, the gentlest is chosen
whose mean gain in TPR over the targets is within a tolerance of the largest: the
strongest settings win by less than the noise and stand next to the collapse.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from gfa_jax.programs import evaluation, inputs

S = TypeVar("S")


def verify(
    features: np.ndarray, pool: inputs.Pool, fprs: Sequence[float], **options: Any
) -> evaluation.Verification:
    """Measures features [N, D] on a half by the conservative rule.

    Other options are those of `evaluation.verify`; no intervals by default.
    """
    options = {"num_resamples": 0, "seed": 0} | options
    return evaluation.verify(features, pool, fprs=fprs, rule="conservative", **options)


def tprs(verification: evaluation.Verification) -> list[float]:
    """Returns the TPR at each target."""
    return [point.tpr for point in verification.points]


def choose(
    raw: Sequence[float],
    cells: Sequence[tuple[S, Sequence[float]]],
    *,
    tolerance: float,
    strength: Callable[[S], Any],
) -> S:
    """Picks the gentlest of the settings that are as good as the best.

    Args:
        raw: [F] TPR of the raw features at each target.
        cells: settings with their TPRs [F].
        tolerance: mean TPR to give up for a gentler setting, >= 0.
        strength: orders settings, the gentlest lowest.

    Returns:
        The setting; of equally gentle ones the first.
    """
    gains = np.array([np.subtract(values, raw) for _, values in cells])
    worst, mean = np.minimum(gains.min(axis=1), 0.0), gains.mean(axis=1)
    harmless = worst == worst.max()
    good = harmless & (mean >= mean[harmless].max() - tolerance)
    return min(
        (setting for (setting, _), is_good in zip(cells, good, strict=True) if is_good),
        key=strength,
    )
