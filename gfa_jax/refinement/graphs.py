"""Neighbours that another library found, brought to the layout of `Neighbors`."""

from typing import Any

import numpy as np

from gfa_jax.types import Neighbors

_EDGES = 1 << 15


def to_neighbors(given: Any, features: np.ndarray, *, width: int) -> Neighbors:
    """Reads the neighbours that another library found.

    Args:
        given: `Neighbors` with the row itself in column 0, which are taken as they
            are; other Neighbors, [N, K] row numbers, -1 for none, a pair of them and
            their distances in either order, as scikit-learn, UMAP and pynndescent
            give, or a sparse [N, N] graph. Distances and weights of edges are not
            used: the cosines are computed.
        features: [N, D] float32 unit rows.
        width: most candidates a row, the row itself counted.

    Returns:
        Neighbors [N, <= width], the row itself first, then by descending cosine.

    Raises:
        ValueError: of another number of rows, of no integers, outside [-1, N), none.

    Cost: O(E D + E log E) for E edges.
    """
    num_rows = len(features)
    if isinstance(given, Neighbors):
        indices, similarity = map(np.asarray, given)
        itself = indices[:, 0] if indices.ndim == 2 and indices.size else ()
        if np.array_equal(itself, np.arange(num_rows)):
            return Neighbors(indices, similarity)
        given = indices
    if hasattr(given, "tocoo"):
        graph = given.tocoo()
        num_lists, rows, others = graph.shape[0], graph.row, graph.col
    else:
        others = _find_indices(given)
        num_lists = len(others)
        rows = np.repeat(np.arange(num_lists), others.shape[1])
        others = others.ravel()
    if num_lists != num_rows:
        raise ValueError(
            f"neighbors are of {num_lists} rows; expected {num_rows}, as the features"
        )
    low, high = others.min(initial=0), others.max(initial=-1)
    if low < -1 or high >= num_rows:
        raise ValueError(
            f"neighbors span [{low}, {high}]; expected row numbers in "
            f"[0, {num_rows}), -1 for none"
        )
    is_edge = (others >= 0) & (others != rows)
    edges = np.unique(rows[is_edge].astype(np.int64) * num_rows + others[is_edge])
    if not len(edges):
        raise ValueError("neighbors list no row beside the row itself")
    rows, others = np.divmod(edges, num_rows)
    cosines = np.empty(len(edges), np.float32)
    for start in range(0, len(edges), _EDGES):
        part = slice(start, start + _EDGES)
        pairs = features[rows[part]], features[others[part]]
        cosines[part] = np.einsum("ed,ed->e", *pairs)
    order = np.lexsort((others, -cosines, rows))
    place = 1 + np.arange(len(edges)) - np.searchsorted(rows, rows)
    kept = place < width
    columns = 1 + int(place[kept].max(initial=0))
    indices = np.full((num_rows, columns), -1, np.int32)
    similarity = np.full((num_rows, columns), -np.inf, np.float32)
    indices[:, 0], similarity[:, 0] = np.arange(num_rows), 1
    slot = rows[kept], place[kept]
    indices[slot], similarity[slot] = others[order][kept], cosines[order][kept]
    return Neighbors(indices, similarity)


def _find_indices(given: Any) -> np.ndarray:
    """Finds the row numbers [N, K] among one or more arrays."""
    parts = given[:2] if isinstance(given, tuple) else (given,)
    found = [array for array in map(np.asarray, parts) if array.dtype.kind in "iu"]
    if len(found) != 1 or found[0].ndim != 2:
        kinds = " and ".join(
            f"{array.dtype} {array.shape}" for array in map(np.asarray, parts)
        )
        raise ValueError(
            f"neighbors are {kinds}; expected one array of integers [N, K], which may "
            "be beside one of distances, or a sparse graph [N, N]"
        )
    return found[0]
