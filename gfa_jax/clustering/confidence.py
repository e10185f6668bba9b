"""How likely a row belongs to its cluster.

With S_own the mean cosine of row i with the other rows of its cluster and S_other that
with the rows of the cluster of its most similar candidate outside (0 where it has
none: chance, in the pool's own units), the odds that it belongs to its own are

    c_i / (1 − c_i) = (d_other / d_own)²,      d = 1 − S

which is the membership of fuzzy c-means (Bezdek 1981) between the two clusters, at its
exponent m = 1.5. c_i is to be the probability that another row of the cluster, drawn at
random, is of the same identity; experiments/RESULTS.md shows how far it is, and the
exponent chosen without each network in turn.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gfa_jax.clustering.linkage import dot_pairs

_LEAST_DISTANCE = 0.01  # copies are no nearer than this
EXPONENT = 2.0


def membership(
    groups: np.ndarray,
    indices: np.ndarray,
    is_other: np.ndarray,
    similarity: np.ndarray,
    rows: np.ndarray | None = None,
    *,
    first_row: int = 0,
    read_sums: Callable[[np.ndarray], np.ndarray] | None = None,
    exponent: float = EXPONENT,
) -> np.ndarray:
    """Evaluates c_i of the module's equation: [N] in [0, 1], 0 for a row alone.

    Clusters [N] are 0 to C − 1, none of them empty; candidates and their cosines are
    [N, K], `is_other` False for an empty slot and the row itself. Without the unit rows
    [N, D], S_own and S_other are of the candidates alone: the mean of those inside, the
    largest outside. The exponent is that of the odds.

    Candidates and rows may be of some rows alone, the first of them `first_row`;
    `read_sums` then gives the sums of clusters by their sorted numbers, [c, D].

    Cost: 3 N D multiply-adds. Memory: a copy of the rows, 20 bytes a candidate.
    """
    sizes, each = np.bincount(groups), np.arange(len(indices))
    of_own = groups[first_row : first_row + len(indices)]
    is_member = is_other & (groups[indices] == of_own[:, None])
    outside = np.where(is_other & ~is_member, similarity, -np.inf)
    nearest = outside.argmax(axis=1)
    others = outside[each, nearest]
    if rows is None:
        own = similarity.sum(axis=1, where=is_member)
        own /= np.maximum(is_member.sum(axis=1), 1)
    else:
        other = groups[indices[each, nearest]]
        places: Any = of_own, other
        if read_sums is None:
            sums = sum_groups(rows, groups)
        else:
            numbers, found = np.unique(np.stack(places), return_inverse=True)
            sums, places = read_sums(numbers), found.reshape(2, -1)
        own = dot_pairs(rows, sums, each, places[0])
        own -= dot_pairs(rows, rows, each, each)
        own /= np.maximum(sizes[of_own] - 1, 1)
        means = dot_pairs(rows, sums, each, places[1]) / sizes[other]
        others = np.where(others > -np.inf, means, 0)
    d_own, d_other = (1 - np.clip(s, 0, 1 - _LEAST_DISTANCE) for s in (own, others))
    odds = (d_other / d_own) ** exponent
    return np.where(sizes[of_own] > 1, odds / (1 + odds), 0).astype(similarity.dtype)


def sum_groups(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Adds the rows of each group up, [C, D]."""
    from scipy.sparse import csc_array

    ends = np.arange(len(rows) + 1)
    return csc_array((np.ones(len(rows), rows.dtype), groups, ends)) @ rows
