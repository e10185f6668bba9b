"""Leaves one person under two names out of the impostors, told by raw cosines.

Where a set names one person twice, pairs of the two names are counted as impostors and
are the most alike of them; at an FPR of 1e-6 a handful decides the threshold. Two
identities are taken for one person where any of their raw rows are more alike than a
limit, and then none of their pairs counts:

    FA'(t) = FA(t) − #{(i, j) ∈ left out : F_i · F_j >= t}

The list comes from the raw features alone and is the same for every refinement of
them, so that it favours none.
"""

from typing import NamedTuple

import numpy as np

from gfa_jax import metrics


class LeftOut(NamedTuple):
    """Impostor pairs that do not count.

    Attributes:
        identities: [I, 2] int64 identities taken for one person, as numbered by
            `AllPairs.identities`.
        rows: [M, 2] int64 every pair of rows of those identities.
    """

    identities: np.ndarray
    rows: np.ndarray


NOTHING = LeftOut(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64))


def find_same_person(raw: metrics.AllPairs, *, above: float) -> LeftOut:
    """Finds the identities that hold a pair of raw rows more alike than a limit.

    Args:
        raw: of the raw features; its impostor tail reaches down to the limit.
        above: cosine in [-1, 1].

    Returns:
        LeftOut; empty where no impostor pair is more alike.

    Raises:
        ValueError: a limit below the tail, which would not list all such pairs.
    """
    if above < raw.tail_floor:
        raise ValueError(
            f"above is {above}; expected {raw.tail_floor:.3f} or more, the cosine down "
            "to which all impostor pairs are kept"
        )
    alike = raw.impostor_tail.rows[raw.impostor_tail.scores > above]
    pairs = np.unique(np.sort(raw.identities[alike], axis=1), axis=0).reshape(-1, 2)
    members = {
        identity: np.flatnonzero(raw.identities == identity)
        for identity in np.unique(pairs)
    }
    grids = [
        np.stack(np.meshgrid(members[a], members[b]), axis=-1).reshape(-1, 2)
        for a, b in pairs
    ]
    return LeftOut(pairs, np.concatenate([NOTHING.rows, *grids]))


def without(
    result: metrics.AllPairs, features: np.ndarray, left_out: LeftOut
) -> metrics.AllPairs:
    """Leaves pairs out of the impostors of a curve; histogram and tail stay.

    Args:
        result: over all pairs of `features`.
        features: [N, D] unit rows.
        left_out: of `find_same_person`.

    Returns:
        AllPairs with false accepts and impostor pairs counted anew. A pair within
        rounding of a threshold, whose score is computed again, may still count there.
    """
    if not len(left_out.rows):
        return result
    scores = np.sort(metrics.pair_scores(features, left_out.rows))
    reaching = len(scores) - np.searchsorted(scores, result.roc.thresholds)
    roc = result.roc._replace(
        # Rounding must not turn a point back.
        false_accepts=np.maximum.accumulate(result.roc.false_accepts - reaching),
        num_impostor=result.roc.num_impostor - len(scores),
    )
    return result._replace(roc=roc)
