"""How settings are scored while they are learnt: by the hard mask, on other pairs.

What is kept is what will be run, so the score is that of the features that the bracket
[A > t] gives, never of the soft mask. Two scores: a function of the refined features,
such as the TPR over all pairs of some identities at the FPR that will be reported; or,
of a list of pairs, the partial AUC,

    mean_{genuine g, hard impostor n} [s_g > s_n] + [s_g = s_n] / 2,

over the hardest share of the impostor pairs: the mean TPR left of that FPR.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from gfa_jax.affinity import Mask
from gfa_jax.tuning.frames import AnyParams, Frames
from gfa_jax.tuning.objective import Objective, refine
from gfa_jax.tuning.pairs import Pairs


class Validation(NamedTuple):
    """What a look at refined features gives.

    Attributes:
        score: higher is better.
        impostor: [M, 2] integer rows of the impostor pairs to learn from until the next
            look, those that score highest now; None keeps the ones before. The program
            is compiled again whenever M changes.
    """

    score: float
    impostor: np.ndarray | None = None


Validate = Callable[[np.ndarray], Validation]


def look(
    features: jax.Array | Frames,
    indices: jax.Array,
    params: AnyParams,
    *,
    mask: Mask,
    objective: Objective,
    validate: Validate,
) -> Validation:
    """Refines the pool and scores it.

    Args:
        features: [N, D] floating unit rows, or the frames that they are pooled from.
        indices: [N, K] int32 candidates.
        params: of the aggregation.
        mask: "hard", or "soft" to see the gap.
        objective: T and the options of `aggregate`.
        validate: from refined features [N, D] to a Validation.

    Returns:
        Validation.
    """
    refined = _refine(features, indices, params, mask=mask, objective=objective)
    return validate(np.asarray(refined))


def partial_auc_of(pairs: Pairs, *, hardest: float) -> Validate:
    """Makes the function that scores a list of pairs by the partial AUC.

    Args:
        pairs: both kinds.
        hardest: share in (0, 1] of the impostor pairs.

    Returns:
        From refined features [N, D] to a Validation.
    """
    return functools.partial(_partial_auc, pairs=pairs, hardest=hardest)


_refine = jax.jit(refine, static_argnames=("mask", "objective"))


def _partial_auc(refined: np.ndarray, *, pairs: Pairs, hardest: float) -> Validation:
    """Measures the share of (genuine, hard impostor) pairs in the right order."""
    genuine, impostor = (
        np.einsum("md,md->m", *(refined[side] for side in kind.T))
        for kind in (pairs.genuine, pairs.impostor)
    )
    hard = np.sort(impostor)[-max(1, round(hardest * len(impostor))) :]
    below, not_above = (
        np.searchsorted(hard, genuine, side=side) for side in ("left", "right")
    )
    return Validation(float(np.mean(below + not_above) / (2 * len(hard))))
