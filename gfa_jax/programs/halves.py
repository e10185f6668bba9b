"""Two halves of the identities: one to choose the settings on, one to report on.

Identities are split at random, so no person, no row and no pair is in both halves,
and each half is a pool by itself. Of several settings, those that fall under the raw
features at some target are out (where all do, those that do not fall furthest). Of the
others, the gentlest is chosen whose mean gain in TPR over the targets is within a
tolerance of the largest: the strongest settings win by less than the noise and stand
next to the collapse.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from gfa_jax import datasets
from gfa_jax.programs import evaluation, inputs

S = TypeVar("S")


def shuffle_identities(
    pool: inputs.Pool, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the identities of a pool, and puts them in a random order.

    Args:
        pool: with labels, without listed pairs.
        seed: of the order.

    Returns:
        [N] number of each row's identity; the [C] numbers in their order, of which the
        first half is that of the first half of `split`.

    Raises:
        ValueError: a pool without identities.
    """
    if pool.labels is None or pool.pairs is not None:
        raise ValueError("expected --labels and no --pairs: halves need identities")
    codes, identities = datasets.encode_labels(pool.labels)
    return codes, np.random.default_rng(seed).permutation(len(identities))


def split(pool: inputs.Pool, *, seed: int) -> tuple[inputs.Pool, inputs.Pool]:
    """Splits a pool by identity.

    Args:
        pool: with labels, without listed pairs.
        seed: of the split.

    Returns:
        The pool to choose on, the pool to report on.

    Raises:
        ValueError: a pool without identities, a half without both kinds of pairs.
    """
    codes, order = shuffle_identities(pool, seed=seed)
    first = np.isin(codes, order[: len(order) // 2])
    return inputs.select(pool, first, codes), inputs.select(pool, ~first, codes)


def verify(
    features: np.ndarray, pool: inputs.Pool, fprs: Sequence[float], **options: Any
) -> evaluation.Verification:
    """Measures features on a half by the conservative rule.

    Args:
        features: [N, D] unit rows, in the order of the half.
        pool: the half.
        fprs: the targets.
        **options: of `evaluation.verify`; no intervals by default.

    Returns:
        Verification.
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
