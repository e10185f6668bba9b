"""The curve of all pairs with its pairs kept, and the same with fewer genuine pairs.

Above the floor the pairs themselves are known, below it the counts in fine bins; the
points of the curve are joined of both.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.metrics.histogram import ScoreHistogram, bin_numbers, count_bins
from gfa_jax.metrics.roc import Roc, count_accepts
from gfa_jax.metrics.scored_pairs import ScoredPairs


class AllPairs(NamedTuple):
    """What `all_pairs_roc` returns.

    Attributes:
        roc: the curve; exact at each of its points, and complete above `tail_floor`.
        histogram: counts of all scores in fine bins.
        impostor_tail: every impostor pair that scores above `tail_floor`, by
            descending score.
        tail_floor: the largest impostor score that is not in the tail; -inf where
            all are.
        genuine: every genuine pair, by descending score; None where there are more
            than `genuine_size`.
        identities: [N] int64 number of each row's label among the sorted labels.
    """

    roc: Roc
    histogram: ScoreHistogram
    impostor_tail: ScoredPairs
    tail_floor: float
    genuine: ScoredPairs | None
    identities: np.ndarray


def restrict_genuine(result: AllPairs, keep: npt.ArrayLike) -> AllPairs:
    """Leaves out the genuine pairs of some rows; every impostor pair stays.

    An identity of n rows has n(n−1)/2 genuine pairs, so that a few large identities
    can outweigh all others: leaving those out shows the rest at the same thresholds.

    Args:
        result: what `all_pairs_roc` returned.
        keep: [N] bool; a genuine pair stays where it is True for both rows.

    Returns:
        AllPairs of the same impostor pairs and fewer genuine pairs.

    Raises:
        ValueError: a mask of another shape or dtype, no genuine pair left, or a result
            without its genuine pairs.
    """
    genuine, keep = check_genuine(result), np.asarray(keep)
    if keep.shape != result.identities.shape or keep.dtype != np.bool_:
        raise ValueError(
            f"keep is {keep.dtype} of shape {keep.shape}; expected bool of shape "
            f"{result.identities.shape}, one for each row of the features"
        )
    chosen = np.flatnonzero(keep[genuine.rows].all(axis=1))
    if not chosen.size:
        raise ValueError(
            f"keep leaves none of {genuine.scores.size} genuine pairs; expected at "
            "least one: keep two rows of an identity"
        )
    genuine = ScoredPairs(genuine.scores[chosen], genuine.rows[chosen])
    num_bins = result.histogram.genuine.size
    bins = bin_numbers(genuine.scores, num_bins=num_bins)
    histogram = result.histogram._replace(genuine=count_bins(bins, num_bins=num_bins))
    counts = join_points(result.impostor_tail, result.tail_floor, genuine, histogram)
    roc = Roc(*counts, result.roc.num_impostor, chosen.size)
    return result._replace(roc=roc, histogram=histogram, genuine=genuine)


def check_genuine(result: AllPairs) -> ScoredPairs:
    """Returns the genuine pairs of a result; refuses one that has not kept them."""
    if result.genuine is None:
        raise ValueError(
            f"the result keeps none of its {result.roc.num_genuine} genuine pairs; "
            "expected all of them: measure again with a larger genuine_size"
        )
    return result.genuine


def join_points(
    tail: ScoredPairs,
    floor: float,
    genuine: ScoredPairs | None,
    histogram: ScoreHistogram,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins the counts at the scores above the floor to those at the edges below.

    Returns:
        Thresholds [M], descending, and the impostor and genuine pairs [M] int64 that
        reach each. Where `genuine` is None all are read at the edges.
    """
    if genuine is None:
        floor = np.inf
        above = count_accepts(np.empty(0), np.empty(0))
    else:
        above = count_accepts(tail.scores, genuine.scores[genuine.scores > floor])
    if floor == -np.inf:
        return above
    edges = histogram.edges[:-1].copy()
    # The lowest bin is open: rounding may carry a floor of −1 below −1.
    edges[0] = min(edges[0], floor)
    filled = histogram.impostor + histogram.genuine > 0
    below = np.flatnonzero(filled & (edges <= floor))[::-1]
    return (
        np.concatenate([above[0], edges[below]]),
        np.concatenate([above[1], _sum_from_top(histogram.impostor)[below]]),
        np.concatenate([above[2], _sum_from_top(histogram.genuine)[below]]),
    )


def _sum_from_top(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts[::-1])[::-1]
