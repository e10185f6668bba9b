"""Candidates that were found elsewhere, brought to the library's one layout."""

import numpy as np

from gfa_jax.checks import check_integer, row_numbers
from gfa_jax.types import Array, Neighbors


def place_self(
    indices: Array,
    similarity: Array,
    *,
    k: int,
    self_similarity: Array | float = 1.0,
    rows: range | None = None,
    num_rows: int | None = None,
) -> Neighbors:
    """Puts every row in column 0 of its own candidates.

    The others keep their order, and empty slots go to the end.

    Args:
        indices: [n, M] int candidates, best first; -1 for an empty slot.
        similarity: [n, M] floating cosines of the candidates.
        k: columns of the result, at least 1, **the row itself counted**; missing ones
            are filled with -1.
        self_similarity: [n] or [] floating, A_ii.
        rows: numbers of the n rows; 0 to n - 1 by default.
        num_rows: N of the set, where these are only some of its rows.

    Returns:
        Neighbors [n, k].

    Raises:
        ValueError: arrays of other shapes, an index outside [-1, N), or k < 1.
    """
    indices, similarity = np.asarray(indices), np.asarray(similarity)
    if indices.ndim != 2 or indices.shape != similarity.shape:
        raise ValueError(
            f"indices {indices.shape} and similarity {similarity.shape} do not fit; "
            "expected both [N, M]"
        )
    rows = range(len(indices)) if rows is None else rows
    num_rows = len(indices) if num_rows is None else num_rows
    indices = np.asarray(
        row_numbers(indices, num_rows, name="candidate indices", distinct=False)
    )
    check_integer("k", k, least=1)
    row = np.arange(rows.start, rows.stop, dtype=np.int32)
    dropped = (indices == row[:, None]) | (indices < 0)
    # A stable sort by "is dropped" moves the others to the front in their order.
    order = np.argsort(dropped, axis=1, kind="stable")[:, : k - 1]
    indices, similarity, dropped = (
        np.take_along_axis(x, order, axis=1) for x in (indices, similarity, dropped)
    )
    found = np.full((len(rows), k), -1, np.int32)
    cosine = np.full((len(rows), k), -np.inf, similarity.dtype)
    found[:, 0], cosine[:, 0] = row, self_similarity
    others = np.s_[:, 1 : 1 + order.shape[1]]
    found[others] = np.where(dropped, -1, indices)
    cosine[others] = np.where(dropped, -np.inf, similarity)
    return Neighbors(found, cosine)
