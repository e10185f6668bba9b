"""Connected components of edges that come in blocks, never all in memory.

parent [N] holds for every row one of its component with a smaller number, or the row
itself: a forest, of int32 up to 2³¹ rows, 4 GB for 1,000,000,000 of them, and of int64,
8 bytes a row, beyond. Of a block the ends are replaced by their roots, the components
of the roots are found, and each root points to the smallest one of its component; so
the result does not depend on the blocks, nor on their order.
"""

import numpy as np

_BLOCK_EDGES = 2**20


def parent_dtype(num_rows: int) -> np.dtype:
    """Returns the dtype of the parents of so many rows."""
    return np.dtype(np.int32 if num_rows <= 2**31 else np.int64)


def plant(num_rows: int) -> np.ndarray:
    """Returns the forest [N] of rows without an edge."""
    return np.arange(num_rows, dtype=parent_dtype(num_rows))


def join(parent: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Joins the components of the two ends of some edges, [E] each, in place.

    Cost: about 0.1 µs an edge, sorts of the roots of a block. Memory: 100 MB.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    for start in range(0, len(first), _BLOCK_EDGES):
        block = slice(start, start + _BLOCK_EDGES)
        ends = [_find(parent, end[block]) for end in (first, second)]
        apart = ends[0] != ends[1]
        roots, places = np.unique(
            np.concatenate([end[apart] for end in ends]), return_inverse=True
        )
        pairs = places.reshape(2, -1)
        graph = coo_array(
            (np.ones(pairs.shape[1], bool), tuple(pairs)), shape=(len(roots),) * 2
        )
        components = connected_components(graph, directed=False)[1]
        least = np.empty(len(roots), parent.dtype)
        least[components[::-1]] = roots[::-1]  # the smallest is written last
        parent[roots] = least[components]


def join_forest(parent: np.ndarray, other: np.ndarray) -> None:
    """Joins in one forest [N] what another one [N] joins, in place."""
    for start in range(0, len(parent), _BLOCK_EDGES):
        above = np.array(other[start : start + _BLOCK_EDGES])
        rows = np.arange(start, start + len(above))
        is_joined = above != rows
        join(parent, rows[is_joined], above[is_joined])


def flatten(parent: np.ndarray) -> None:
    """Lets every row point to the smallest row of its component, in place."""
    for start in range(0, len(parent), _BLOCK_EDGES):
        rows = np.arange(start, min(start + _BLOCK_EDGES, len(parent)))
        _find(parent, rows)


def _find(parent: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the roots of rows, to which they point from now on."""
    roots = parent[rows]
    left = np.arange(len(rows))
    while len(left):
        above = parent[roots[left]]
        left = left[above != roots[left]]
        roots[left] = parent[roots[left]]
    parent[rows] = roots
    return roots
