"""Connected components of the surviving edges, and their cut to a size.

A cluster is what stays connected when the pairs with S < t_s are pruned:

    i ~ j  ⟺  a path of pairs with S >= t_s leads from i to j

One wrong pair joins two people, and a larger set holds more wrong pairs: single
linkage collapses with scale. The cut answers where the size of a component says that
it happened. With C_t(i) the component of row i at threshold t, pair (i, j) stays if

    |C_{S_ij}(i)| <= max_size,

that is, if the component that it closes at its own similarity is small enough. In
other words the threshold rises, for the large component alone, one similarity after
the other, until every piece fits: the highest nodes of its single-linkage tree that
have at most `max_size` rows.
"""

import itertools

import numpy as np


def connected(indices: np.ndarray, survives: np.ndarray) -> np.ndarray:
    """Numbers the connected components of an undirected graph: [N] int32, in no order.

    Edges are the candidates, [N, K], where `survives`; one direction is enough. O(N K)
    time; about 30 bytes an edge.
    """
    return _components(_graph(indices, survives, np.ones(np.count_nonzero(survives))))


def split_large(
    components: np.ndarray,
    indices: np.ndarray,
    similarity: np.ndarray,
    survives: np.ndarray,
    *,
    max_size: int,
) -> np.ndarray:
    """Cuts every component of more than `max_size` rows; see the module's equation.

    Components [N] are those of the candidates [N, K] that survive. Equal similarities
    (to 4e-16) are cut together, so the pieces do not depend on the order of the rows.

    Cost, of the components that are cut only: a sort of their edges and about 3 µs a
    row. Memory: about 40 bytes an edge and 200 bytes a row of them.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    sizes = np.bincount(components)
    is_large = sizes[components] > max_size
    if not is_large.any():
        return components
    survives = survives & is_large[:, None]
    # A weight of zero would mean no edge, and S reaches 1 but not 2.
    levels = 2 - similarity[survives].astype(np.float64)
    # At every threshold the forest has the components of the whole graph.
    forest = minimum_spanning_tree(_graph(indices, survives, levels))
    edges = forest.tocoo()
    forest.data = _small_enough(edges.row, edges.col, edges.data, max_size=max_size)
    forest.eliminate_zeros()
    return np.where(is_large, len(sizes) + _components(forest), components)


def _small_enough(
    rows: np.ndarray, others: np.ndarray, levels: np.ndarray, *, max_size: int
) -> np.ndarray:
    """Tells which edges of a forest close a component of at most `max_size` rows: [E].

    `rows` and `others` are the ends of the edges. They join in ascending order of their
    level, those of one level at once.
    """
    nodes, ends = np.unique(np.stack([rows, others]), return_inverse=True)
    order = np.argsort(levels, kind="stable")
    first, second = (end[order].tolist() for end in ends)
    sets = _DisjointSets(len(nodes))
    small = np.empty(len(order), bool)
    bounds = np.flatnonzero(np.diff(levels[order], prepend=-np.inf, append=np.inf))
    for start, stop in itertools.pairwise(bounds.tolist()):
        for edge in range(start, stop):
            sets.join(first[edge], second[edge])
        # Only now is the level complete, and with it the component of each edge.
        for edge in range(start, stop):
            small[order[edge]] = sets.size_of(first[edge]) <= max_size
    return small


class _DisjointSets:
    """Union by size with path halving; a third of the time of scipy's DisjointSet."""

    def __init__(self, count: int):
        self._parent = list(range(count))
        self._size = [1] * count

    def join(self, first: int, second: int) -> None:
        first, second = self._root(first), self._root(second)
        if self._size[first] < self._size[second]:
            first, second = second, first
        self._parent[second] = first
        self._size[first] += self._size[second]

    def size_of(self, member: int) -> int:
        return self._size[self._root(member)]

    def _root(self, member: int) -> int:
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member


def _graph(indices: np.ndarray, survives: np.ndarray, weights: np.ndarray):
    """Builds the sparse [N, N] matrix of the edges, row by row as they lie."""
    from scipy.sparse import csr_array

    num_rows = len(indices)
    ends = np.cumsum(np.count_nonzero(survives, axis=1))
    return csr_array(
        (weights, indices[survives], np.concatenate([[0], ends])),
        shape=(num_rows, num_rows),
    )


def _components(graph) -> np.ndarray:
    from scipy.sparse.csgraph import connected_components

    return connected_components(graph, directed=False)[1]
