"""Template numbers of a protocol file, and the positions that they stand for.

IJB's lists name templates by integers with gaps. A table from number to position turns
a block of 47 million pairs into row numbers by one gather.
"""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from gfa_jax.datasets.integer_lines import count_lines, integer_blocks

UNKNOWN, DROPPED = -1, -2
# 64 MiB of int32; IJB's numbers end below 200,000.
_LARGEST_ID = 2**24 - 1


def read_ids(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a list of template or subject numbers, one a line: ascending, each once."""
    blocks = [values[:, 0] for _, values in integer_blocks(path, widths=(1,))]
    return np.unique(np.concatenate(blocks))


def index_templates(
    template_ids: np.ndarray, *, dropped: np.ndarray | None = None
) -> np.ndarray:
    """Tabulates the position of every template among those that are kept.

    [largest number + 2] int32: the position, `DROPPED`, or `UNKNOWN` for a number that
    is not a template's, as the last entry always is. Refuses numbers above 2**24 − 1.
    """
    largest = int(template_ids.max())
    if largest > _LARGEST_ID:
        raise ValueError(
            f"template {largest}: expected numbers up to {_LARGEST_ID}; renumber the "
            "templates"
        )
    kept = np.ones(len(template_ids), np.bool_) if dropped is None else ~dropped
    positions = np.full(largest + 2, UNKNOWN, np.int32)
    positions[template_ids] = np.where(kept, np.cumsum(kept) - 1, DROPPED)
    return positions


def read_template_pairs(
    path: str | os.PathLike[str],
    positions: np.ndarray,
    *,
    subject_ids: np.ndarray | None = None,
    progress: Callable | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Reads pairs of template numbers and turns them into positions.

    A line holds two numbers, and a pair is genuine where their subjects are equal; or,
    without `subject_ids`, three, of which the third is 1 for a genuine pair and 0 for
    an impostor pair. Commas or blanks, with or without a header. Pairs with a dropped
    template are left out. The file is read twice, in blocks: O(lines), memory 17 bytes
    a line and about 200 MB.

    Args:
        path: the file.
        positions: table of `index_templates`.
        subject_ids: [S] subject of each kept template.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            blocks of lines, whose number is not known before.

    Returns:
        indices: [m, 2] int64 pairs of kept templates, in the order of the file.
        same: [m] bool, True for a genuine pair.
        num_pairs: how many pairs the file holds, kept or not.

    Raises:
        ValueError: missing or empty file, a malformed line, a number that is no
            template, or a third number other than 0 and 1, each named by its line.
    """
    lines = count_lines(path)
    indices, same = np.empty((lines, 2), np.int64), np.empty(lines, np.bool_)
    width = 3 if subject_ids is None else 2
    blocks = integer_blocks(path, widths=(width,))
    if progress is not None:
        blocks = progress(blocks, total=None, desc=f"reading {pathlib.Path(path).name}")
    num_pairs, filled = 0, 0
    for line, table in blocks:
        num_pairs += len(table)
        rows = positions[np.minimum(table[:, :2], len(positions) - 1)]
        _refuse(rows == UNKNOWN, table, path, line, "two template numbers of the lists")
        if subject_ids is None:
            label = table[:, 2:]
            _refuse((label != 0) & (label != 1), table, path, line, "a label of 0 or 1")
        keep = (rows != DROPPED).all(axis=1)
        rows = rows[keep]
        block = slice(filled, filled + len(rows))
        filled += len(rows)
        indices[block] = rows
        if subject_ids is None:
            same[block] = table[keep, 2] == 1
        else:
            same[block] = subject_ids[rows[:, 0]] == subject_ids[rows[:, 1]]
    return indices[:filled], same[:filled], num_pairs


def _refuse(
    bad: np.ndarray,
    table: np.ndarray,
    path: str | os.PathLike[str],
    line: int,
    expected: str,
) -> None:
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        shown = ",".join(str(value) for value in table[row].tolist())
        raise ValueError(
            f"{path}, line {line + row}: got {shown!r}, expected {expected}"
        )
