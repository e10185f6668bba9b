"""The ROC over all pairs where a few pairs have scores of their own.

A re-ranker changes what it knows of: s_ij = w · f_i · f_j + b_ij, with b sparse. All
other pairs keep their order, so that the streamed counts of the products serve again:

    FA(w·e) = FA of the products at e − listed pairs with f_i · f_j >= e
              + listed pairs with s_ij >= w·e

and N(N−1)/2 pairs are measured without a second pass over them, for every re-ranker
and every setting.
"""

from typing import Any

import numpy as np

from gfa_jax.metrics import AllPairs, ScoreHistogram, pair_scores
from gfa_jax.metrics.all_pairs import assemble, check_genuine
from gfa_jax.metrics.histogram import bin_numbers, count_bins
from gfa_jax.metrics.scored_pairs import ScoredPairs, by_descending_score


def rescore_pairs(
    result: AllPairs, features: Any, added: ScoredPairs, *, weight: float
) -> AllPairs:
    """Measures the ROC of s_ij = w · f_i · f_j + b_ij over all unordered pairs.

    Above the new tail floor, w times the old one, no point of the curve is missing;
    below it there is one at each edge of the bins, now those of [−w, w]. A listed pair
    whose product lies within rounding of an edge may be counted on its other side.

    Args:
        result: what `all_pairs_roc` (or `restrict_genuine`) returned for `features`.
        features: [N, D] floating rows, the same.
        added: b and the rows [M, 2] that it belongs to, i < j, each pair once. b is 0
            for every other pair.
        weight: w > 0.

    Genuine pairs that `result` left out stay out; the scores are float64.

    Raises:
        ValueError: a weight that is not positive, pairs out of order or twice, scores
            that are not finite, or a result without its genuine pairs.

    Cost: O(M log M + the pairs kept); memory: about 60 bytes a listed or kept pair.
    """
    genuine, tail = check_genuine(result), result.impostor_tail
    num_rows = len(result.identities)
    keys = _check(added, num_rows, weight)
    products = pair_scores(features, added.rows).astype(np.float64)
    scores = weight * products + added.scores
    is_genuine = np.equal(*result.identities[added.rows.T])

    # A genuine pair that was left out has no place among the genuine ones.
    genuine_scores = weight * genuine.scores.astype(np.float64)
    theirs = _keys(genuine.rows, num_rows)
    order = np.argsort(theirs)
    places, found = _find(theirs[order], keys)
    found &= is_genuine
    genuine_scores[order[places[found]]] = scores[found]

    impostor = ~is_genuine
    keys, scores, products = keys[impostor], scores[impostor], products[impostor]
    sorting = np.argsort(keys)
    places, listed = _find(keys[sorting], _keys(tail.rows, num_rows))
    # The tail knows which side of the floor a product lies on, to the last bit.
    products = np.minimum(products, result.tail_floor)
    products[sorting[places[listed]]] = tail.scores[listed]
    floor = weight * result.tail_floor
    above = scores > floor
    new_tail = by_descending_score(
        np.concatenate([weight * tail.scores[~listed].astype(float), scores[above]]),
        np.concatenate([tail.rows[~listed], added.rows[impostor][above]]),
    )
    new_genuine = by_descending_score(genuine_scores, genuine.rows)

    old = result.histogram
    edges = weight * old.edges
    before = count_bins(bin_numbers(products))
    histogram = ScoreHistogram(
        edges,
        _non_negative(old.impostor - before + _count(scores, edges)),
        _count(genuine_scores, edges),
    )
    return assemble(histogram, new_tail, floor, new_genuine, result.identities)


def _check(added: ScoredPairs, num_rows: int, weight: float) -> np.ndarray:
    """Refuses what cannot be measured; returns one number for each pair."""
    if not weight > 0:
        raise ValueError(f"weight is {weight}; expected more than 0")
    first, second = added.rows.T
    if np.any(first >= second):
        raise ValueError("a listed pair has i >= j; expected i < j")
    if not np.isfinite(added.scores).all():
        raise ValueError("a listed pair has a score that is not finite")
    keys = _keys(added.rows, num_rows)
    if np.unique(keys).size != keys.size:
        raise ValueError("a pair is listed twice; expected each once")
    return keys


def _keys(rows: np.ndarray, num_rows: int) -> np.ndarray:
    return rows[:, 0].astype(np.int64) * num_rows + rows[:, 1]


def _find(ordered: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds keys among ordered ones: their places, and whether they are there."""
    if not ordered.size:
        return np.zeros(keys.size, int), np.zeros(keys.size, bool)
    places = np.minimum(np.searchsorted(ordered, keys), ordered.size - 1)
    return places, ordered[places] == keys


def _count(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    bins = np.searchsorted(edges, scores, side="right") - 1
    num_bins = edges.size - 1
    return np.bincount(np.clip(bins, 0, num_bins - 1), minlength=num_bins)


def _non_negative(counts: np.ndarray) -> np.ndarray:
    """Moves a count of −1, which rounding can leave, to the bin that it came from."""
    sums = np.maximum.accumulate(np.cumsum(counts[::-1]))
    return np.diff(np.minimum(sums, counts.sum()), prepend=0)[::-1]
