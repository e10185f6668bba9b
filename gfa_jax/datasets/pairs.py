"""Verification pairs (i, j[, same]) as row numbers of the feature matrix.

`same` is 1 for a genuine pair, two rows of one identity, and 0 for an impostor
pair. Where it is absent, the labels decide.
"""

import os
from typing import NamedTuple

import numpy as np

from gfa_jax.datasets import arrays
from gfa_jax.datasets.integer_lines import count_lines, integer_blocks
from gfa_jax.datasets.reading import one_line_errors


class Pairs(NamedTuple):
    """Pairs of rows, genuine or impostor."""

    indices: np.ndarray  # [M, 2] int64 row numbers, counted from 0
    same: np.ndarray | None  # [M] bool, True for a genuine pair; None: not known


@one_line_errors
def read_pairs(path: str | os.PathLike[str], *, key: str = "pairs") -> Pairs:
    """Reads pairs of row numbers from text or from a NumPy file.

    Text holds `i,j` or `i,j,same` a line, separated by commas or by blanks, with or
    without a header line; the order of the columns is fixed. It is read twice, in
    blocks. Memory: 17 bytes a pair for text, twice that for NumPy files.

    Args:
        path: `.csv` or `.txt`; `.npy` or `.npz` with an integer [M, 2] or [M, 3].
        key: name of the array in a `.npz`.

    Returns:
        Pairs, `same` None where the file does not say it.

    Raises:
        ValueError: missing, empty or corrupt file, an unknown suffix, a malformed
            line (named by its number), another shape, or a `same` other than 0 and 1.
    """
    suffix = arrays.known_suffix(path, "read", (".csv", ".txt", ".npy", ".npz"))
    if suffix in (".csv", ".txt"):
        return _read_text(path)
    table = arrays.read_array(path, key=key)
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        raise ValueError(
            f"{path}: got shape {table.shape}, expected [M, 2] or [M, 3] with the "
            "columns i, j[, same]"
        )
    table = arrays.whole_numbers(table, name=str(path))
    return Pairs(table[:, :2], _same(table, str(path), "row", 0))


def check_pairs(pairs: Pairs, num_rows: int) -> None:
    """Checks pairs against the features that they point into.

    Args:
        pairs: of M pairs.
        num_rows: N of the features.

    Raises:
        ValueError: no pair, another shape or dtype, a row number outside [0, N)
            (the first such pair is named), or `same` known and no genuine or no
            impostor pair among them.
    """
    indices, same = pairs
    if indices.ndim != 2 or indices.shape[1] != 2 or indices.dtype.kind not in "iu":
        raise ValueError(
            f"pairs: got indices of shape {indices.shape} and dtype {indices.dtype}, "
            "expected integers [M, 2]"
        )
    if len(indices) == 0:
        raise ValueError("pairs: got none, expected at least one")
    if indices.min() < 0 or indices.max() >= num_rows:
        outside = ((indices < 0) | (indices >= num_rows)).any(axis=1)
        first = int(np.argmax(outside))
        hint = "are these the features that the pairs were made for?"
        if indices.min() >= 1 and indices.max() == num_rows:
            hint = "they seem to count from 1: subtract 1"
        raise ValueError(
            f"pairs: {np.count_nonzero(outside)} of {len(indices)} point outside the "
            f"{num_rows} rows, first pair {first} (counted from 0) with rows "
            f"{indices[first, 0]} and {indices[first, 1]}; {hint}"
        )
    if same is None:
        return
    if same.shape != (len(indices),) or same.dtype != np.bool_:
        raise ValueError(
            f"pairs: got same of shape {same.shape} and dtype {same.dtype}, expected "
            f"bool [{len(indices)}]"
        )
    genuine = int(np.count_nonzero(same))
    if genuine in (0, len(same)):
        raise ValueError(
            f"pairs: got {genuine} genuine and {len(same) - genuine} impostor pairs; a "
            "ROC curve needs both"
        )


def _read_text(path: str | os.PathLike[str]) -> Pairs:
    lines = count_lines(path)
    indices = np.empty((lines, 2), np.int64)
    same, filled = None, 0
    for line, table in integer_blocks(path, widths=(2, 3)):
        block = slice(filled, filled + len(table))
        filled += len(table)
        indices[block] = table[:, :2]
        block_same = _same(table, str(path), "line", line)
        if block_same is not None:
            same = np.empty(lines, np.bool_) if same is None else same
            same[block] = block_same
    return Pairs(indices[:filled], None if same is None else same[:filled])


def _same(table: np.ndarray, path: str, unit: str, first: int) -> np.ndarray | None:
    if table.shape[1] == 2:
        return None
    same = table[:, 2]
    expected = "same=1 for a genuine or same=0 for an impostor pair"
    arrays.check_entries(
        (same == 0) | (same == 1),
        same,
        name=path,
        expected=expected,
        first=first,
        unit=unit,
    )
    return same == 1
