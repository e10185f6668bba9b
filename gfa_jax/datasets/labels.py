"""Identity labels, one a feature row, as integers or strings.

    .meta, .txt   one label a line (learn-to-cluster)
    others        one column of a file of any format, by name, by number or by habit

Labels are integers if every one of them is ("007" and "7.0" are 7), otherwise strings
in Unicode's form NFC. The integer -1 and the strings "", "-1", "nan" and "<NA>" stand
for an unknown identity, which never matches; an array may hold NaN or None for it.
"""

import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from gfa_jax.datasets.arrays import open_input, whole_numbers
from gfa_jax.datasets.formats.text import decode_lines
from gfa_jax.datasets.reading import one_line_errors
from gfa_jax.datasets.tables import read_column

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}(\.0*)?")
_UNKNOWN = ("", "-1", "-1.0", "nan", "<na>")
# Strings of NumPy are all as long as the longest.
_MOST_TEXT_BYTES, _MOST_TEXT_FACTOR = 64 << 20, 32


@one_line_errors
def read_labels(
    path: str | os.PathLike[str], *, column: str | None = None
) -> np.ndarray:
    """Reads one label a row.

    The first row of a text table is a header where a name in it is the name asked for
    or a usual one, or where it alone is no number in its column.

    Args:
        path: `.meta` or `.txt` with one label a line, or a file that `read_table`
            reads. Text is UTF-8, its lines end with LF or CRLF, the last one with or
            without. Of a folder of folders, the label is the folder.
        column: the name (exact, or else in any case) of the column, array or data
            set, or its number from 0. None takes the one named label, labels,
            subject_id, identity or id (in that order, in any case), or the only one.

    Returns:
        [N] int64 where every label is a whole number, otherwise str.

    Raises:
        ValueError: whatever is wrong with the file, another shape, labels that are
            fractions, a blank line or a row of another length (named by its number),
            no such column (the columns are listed).
    """
    path = pathlib.Path(path)
    if path.suffix.lower() in (".txt", ".meta"):
        if column is not None:
            raise ValueError(
                f"cannot read {path}: got column={column!r}, which a file of one label "
                "a line does not have; leave --labels_column out"
            )
        return _from_text(read_lines(path))
    return from_column(read_column(path, column), name=str(path))


def from_column(labels: np.ndarray, *, name: str) -> np.ndarray:
    """Makes labels of a column of a table, as `read_labels` does.

    Args:
        labels: [N] numbers, strings or objects.
        name: what to call them in the error.

    Returns:
        [N] int64 where every label is a whole number, otherwise str.

    Raises:
        ValueError: labels that are fractions.
    """
    labels = as_labels(labels)
    if labels.dtype.kind == "U":
        return _from_text(labels.tolist())
    if labels.dtype.kind == "f":
        labels = np.where(np.isnan(labels), -1, labels)
    return whole_numbers(labels, name=name)


def encode_labels(labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the classes of labels.

    Args:
        labels: [N], as `check_labels` wants them.

    Returns:
        codes: [N] int32 in [0, C), labels = classes[codes].
        classes: [C] the distinct labels in ascending order.

    Examples:
        >>> datasets.encode_labels(["b", "a", "b"])[0]
        array([1, 0, 1], dtype=int32)
    """
    labels = as_labels(labels)
    check_labels(labels, labels.size)
    classes, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.int32), classes


def as_labels(labels: ArrayLike) -> np.ndarray:
    """Makes an array of labels that were given as objects or bytes.

    Bytes are UTF-8 (h5py), others a ValueError; objects, as pandas keeps them, are
    strings or integers, missing ones None, NaN or NA.

    Returns:
        [N] strings in Unicode's form NFC, missing ones as "", or integers, missing
        ones as -1; any other array as it is.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"labels: bytes that are not UTF-8 ({error})") from None
    if array.dtype.kind == "O":
        entries = [None if _is_missing(each) else each for each in array.flat]
        told = [each for each in entries if each is not None]
        if all(isinstance(each, str) for each in told):
            array = _strings(["" if each is None else each for each in entries])
        elif all(isinstance(each, int | np.integer) for each in told):
            array = np.array([-1 if each is None else each for each in entries])
        else:
            return array
        array = array.reshape(np.shape(labels))
    if array.dtype.kind == "U" and not all(map(str.isascii, array.flat)):
        normal = [unicodedata.normalize("NFC", entry) for entry in array.flat]
        array = np.array(normal, np.str_).reshape(array.shape)
    return array


def known_identities(labels: ArrayLike) -> np.ndarray:
    """Tells the rows whose identity is known; the others never match.

    Args:
        labels: [N] integers, floating numbers or strings.

    Returns:
        [N] bool, False for -1, NaN, and the strings "", "-1", "nan" and "<NA>" in any
        case.

    Examples:
        >>> datasets.known_identities(["ann", "", "-1"])
        array([ True, False, False])
    """
    labels = as_labels(labels)
    if labels.dtype.kind == "U":
        return ~np.isin(np.char.lower(labels), _UNKNOWN)
    return (labels != -1) & ~np.isnan(labels)


def check_labels(labels: np.ndarray, num_rows: int) -> None:
    """Refuses labels that are not one integer or string for each row.

    Args:
        labels: [N] integers or strings.
        num_rows: N of the features.

    Raises:
        ValueError: another shape or dtype.
    """
    if labels.ndim != 1:
        raise ValueError(
            f"labels: got shape {labels.shape}, expected [N], one label a row"
        )
    if labels.dtype.kind not in "iuU":
        raise ValueError(
            f"labels: got dtype {labels.dtype}, expected integers or strings; convert "
            "them by labels.astype(str)"
        )
    if len(labels) == 0:
        raise ValueError("labels: got none, expected one a feature row")
    if len(labels) != num_rows:
        hint = ", or is a header line among them" if len(labels) == num_rows + 1 else ""
        raise ValueError(
            f"labels: got {len(labels)}, expected {num_rows}, one a feature row; do "
            f"both files list the same samples{hint}?"
        )


def _is_missing(value: object) -> bool:
    # NaN alone is not equal to itself, and nothing at all is to the NA of pandas.
    return value is None or type(value).__name__ == "NAType" or value != value


def _from_text(entries: Sequence[str]) -> np.ndarray:
    # A blank or NaN among integers: what pandas writes for an unknown one.
    known = ["-1" if entry.lower() in _UNKNOWN else entry for entry in entries]
    if all(map(_INTEGER.fullmatch, known)):
        try:
            return np.array([int(entry.partition(".")[0]) for entry in known], np.int64)
        except OverflowError:
            # An identifier too long for int64 is still an identifier.
            pass
    return as_labels(_strings(entries))


def _strings(entries: Sequence[str]) -> np.ndarray:
    """Makes [N] str, and refuses one odd entry that would make all of them long."""
    lengths = [*map(len, entries)]
    longest = max(lengths, default=0)
    size = 4 * longest * len(entries)
    if size > _MOST_TEXT_BYTES + _MOST_TEXT_FACTOR * sum(lengths):
        raise ValueError(
            f"labels: row {lengths.index(longest)} (counted from 0) holds {longest} "
            "characters; expected names"
        )
    return np.array(entries, np.str_)


def read_lines(path: pathlib.Path) -> list[str]:
    """Reads UTF-8 text, an entry a line, which is not blank."""
    with open_input(path) as file:
        entries = [line.strip() for line in decode_lines(file)]
    if "" in entries:
        line = entries.index("") + 1
        raise ValueError(f"{path}, line {line}: blank, expected one label a line")
    return entries
