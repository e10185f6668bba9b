"""Approximate rank-order clustering (Otto et al.): by whom rows list, not how near.

With O_a(b) the place of b in the list of a, which begins with a itself at place 0, and
k the length of the lists,

    d(a, b) = #{c : O_a(c) <= min(O_a(b), k − 1), c not in the list of b}
    D(a, b) = (d(a, b) + d(b, a)) / min(O_a(b), O_b(a), k)

where a row that is not listed has the place k. Rows that list each other are linked
where D <= threshold, and a cluster is what is connected.

Source: Otto, Wang and Jain, "Clustering millions of faces by identity", 2018.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "k": (10, 15, 20, 40, 80),
    "threshold": (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4),
}


def cluster(problem: problems.Problem, *, k: int, threshold: float) -> np.ndarray:
    """Clusters by approximate rank-order distances; every row lists itself first.

    A link has a D of at most the threshold, about [0, 2]. O(N k²) time, O(N k) memory.
    """
    indices = np.asarray(problems.nearest(problem, k).indices)
    distances = rank_order_distances(indices)
    rows, slots = np.nonzero(distances <= threshold)
    num_rows = len(indices)
    links = sparse.csr_array(
        (np.ones(len(rows), np.int8), (rows, indices[rows, slots])),
        shape=(num_rows, num_rows),
    )
    return csgraph.connected_components(links, directed=False)[1]


def rank_order_distances(indices: np.ndarray) -> np.ndarray:
    """Evaluates D of the module's equation for every row and each of its candidates.

    Args:
        indices: [N, k] integer lists, -1 for an empty slot.

    Returns:
        [N, k] float64; inf for an empty slot and for the row itself.
    """
    num_rows, k = indices.shape
    lists = np.concatenate([np.arange(num_rows)[:, None], indices], axis=1)
    # The row itself first, wherever the search put it, and once.
    lists[:, 1:][lists[:, 1:] == lists[:, :1]] = -1
    order = np.argsort(lists < 0, axis=1, kind="stable")[:, :k]
    lists = np.take_along_axis(lists, order, axis=1)
    # One more row and one more place, which no row lists, and whatever is missing.
    lists = np.concatenate([lists, np.full((1, k), -1)])
    place = np.full(num_rows + 1, k)
    distances = np.full((num_rows, k), np.inf)
    back = np.full((num_rows, k), np.inf)
    for row in range(num_rows):
        own = lists[row][lists[row] >= 0]
        place[own] = np.arange(len(own))
        theirs = place[lists[own]]  # [len(own), k] places, in the list of the row
        within = np.minimum(np.arange(len(own)), k - 1)
        shared = np.count_nonzero(theirs <= within[:, None], axis=1)
        distances[row, : len(own)] = within + 1 - shared
        # d(b, a) where b does not list a: all of b's list but what both share.
        listed = np.count_nonzero(lists[own] >= 0, axis=1)
        back[row, : len(own)] = listed - np.count_nonzero(theirs < k, axis=1)
        place[own] = k
    return _symmetric(lists[:-1], distances, back, indices)


def _symmetric(
    lists: np.ndarray, distances: np.ndarray, back: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    """Puts both directions together, at the slots of `indices`."""
    num_rows, k = lists.shape
    rows = np.repeat(np.arange(num_rows), k).reshape(num_rows, k)
    known = lists >= 0
    keys = (rows * num_rows + lists)[known]
    order = np.argsort(keys)
    keys = keys[order]
    places = np.broadcast_to(np.arange(k), lists.shape)[known][order]
    values = distances[known][order]

    def look_up(wanted):
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return found, keys[found] == wanted

    valid = (indices >= 0) & (indices != rows)
    there, is_there = look_up(rows * num_rows + indices)
    again, is_mutual = look_up(indices * num_rows + rows)
    backwards = np.full(lists.shape, np.inf)
    backwards[known] = back[known]
    # `back` stands at the places of `lists`; bring it to the slots of `indices`.
    slot = np.where(is_there, places[there], 0)
    backwards = np.take_along_axis(backwards, slot, axis=1)
    total = values[there] + np.where(is_mutual, values[again], backwards)
    least = np.minimum(places[there], np.where(is_mutual, places[again], k))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(valid & is_there, total / least, np.inf)
