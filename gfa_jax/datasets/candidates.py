"""Neighbour candidates found by other tools, as row numbers and cosines.

learn-to-cluster keeps the K nearest rows of every row in an array `data` of shape
(N, 2, K): row numbers, and distances 1 − cos. A slot that a search left empty
holds −1.
"""

import os

import numpy as np

from gfa_jax.datasets import arrays
from gfa_jax.datasets.reading import one_line_errors

_BLOCK_ROWS = 1 << 14
# Cosines stored in float16 stray this far outside [-1, 1].
_SLACK = 1e-2


@one_line_errors
def read_candidates(
    path: str | os.PathLike[str], *, num_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the candidates of every row, the nearest first.

    A row number that occurs again within its row counts once, at the first of its
    places. Cost O(N·K log K); memory 8 bytes a candidate, and the file itself where
    it is compressed.

    Args:
        path: learn-to-cluster `.npz` (array `data`, [N, 2, K] of row numbers and
            1 − cos), or `.npy` with integers [N, K].
        num_rows: number N of feature rows, which the file must match.

    Returns:
        indices: [N, K] int32 row numbers in [0, N), by descending cosine, equal ones
            in the order of the file; -1 for an empty slot. Those of a `.npy`, which
            holds no cosines, keep its order.
        similarity: [N, K] float32 cosines in [-1, 1], NaN for those of a `.npy`; -inf
            for an empty slot.

    Raises:
        ValueError: as for `read_array`; another shape or number of rows, a row number
            that is a fraction or outside [-1, N), a distance outside [0, 2], or no
            candidate at all.
    """
    data = arrays.read_array(path, key="data")
    if arrays.known_suffix(path, "read", (".npy", ".npz")) == ".npy":
        fits, layout = data.ndim == 2, "[N, K] row numbers"
    else:
        fits = data.ndim == 3 and data.shape[1] == 2
        layout = "[N, 2, K] with row numbers and distances 1 − cos"
    if not fits or data.shape[-1] < 1:
        raise ValueError(f"{path}: got shape {data.shape}, expected {layout}")
    if len(data) != num_rows:
        raise ValueError(
            f"{path}: got candidates of {len(data)} rows, expected {num_rows}, one set "
            "a feature row"
        )
    distances = data[:, 1] if data.ndim == 3 else None
    ids = data if distances is None else data[:, 0]
    indices = np.empty(ids.shape, np.int32)
    similarity = np.empty(ids.shape, np.float32)
    for start in range(0, num_rows, _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        numbers = arrays.whole_numbers(ids[rows], name=str(path), first_row=start)
        arrays.check_entries(
            (numbers >= -1) & (numbers < num_rows),
            numbers,
            name=str(path),
            expected=f"a row number in [0, {num_rows}) or -1",
            first=start,
        )
        if distances is None:
            numbers = _drop_repeats(numbers)
            cosines = np.full(numbers.shape, np.nan, np.float32)
        else:
            cosines = _cosines(numbers, distances[rows], str(path), start)
            numbers = _drop_repeats(numbers)
            distant = np.where(numbers < 0, np.inf, -cosines)
            nearest = np.argsort(distant, axis=1, kind="stable")
            numbers = np.take_along_axis(numbers, nearest, axis=1)
            cosines = np.take_along_axis(cosines, nearest, axis=1)
        indices[rows] = numbers
        similarity[rows] = np.where(numbers < 0, -np.inf, cosines)
    if (indices < 0).all():
        raise ValueError(f"{path}: got no candidate at all, every slot is -1")
    return indices, similarity


def _cosines(
    ids: np.ndarray, distances: np.ndarray, path: str, start: int
) -> np.ndarray:
    cosines = 1 - distances.astype(np.float32)
    good = (ids < 0) | (np.abs(cosines) <= 1 + _SLACK)
    expected = "a distance 1 − cos in [0, 2]"
    arrays.check_entries(good, distances, name=path, expected=expected, first=start)
    return np.clip(cosines, -1, 1)


def _drop_repeats(ids: np.ndarray) -> np.ndarray:
    """Returns ids [m, K] with every later repeat within a row as -1."""
    order = np.argsort(ids, axis=1, kind="stable")
    ranked = np.take_along_axis(ids, order, axis=1)
    later = np.zeros(ids.shape, np.bool_)
    np.put_along_axis(later, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return np.where(later, -1, ids)
