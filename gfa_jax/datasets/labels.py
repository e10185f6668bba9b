"""Identity labels, one a feature row, as integers or strings.

    .npy, .npz    one array
    .meta, .txt   one label a line (learn-to-cluster)
    .csv          one column of a table (see `label_table`)

Labels are integers if every one of them is, otherwise strings in Unicode's form NFC.
The integer -1 and the strings "", "-1" and "nan" stand for an unknown identity, which
never matches; an array may hold NaN for it.
"""

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from gfa_jax.datasets.arrays import known_suffix, open_input, read_array, whole_numbers
from gfa_jax.datasets.atomic import write_array, write_arrays, write_text
from gfa_jax.datasets.label_table import read_column

_SUFFIXES = (".npy", ".npz", ".meta", ".txt", ".csv")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_UNKNOWN = ("", "-1", "nan")


def read_labels(
    path: str | os.PathLike[str],
    *,
    column: str | int | None = None,
    key: str = "labels",
) -> np.ndarray:
    """Reads one label a row.

    Args:
        path: `.npy`; `.npz`; `.meta` or `.txt` with one label a line; `.csv`. Text is
            UTF-8, its lines end with LF or CRLF, the last one with or without.
        column: of a `.csv`, its name or its number from 0. None takes the column
            named label, labels, subject_id, identity or id (in that order, in any
            case), or the only column.
        key: name of the array in a `.npz`.

    Returns:
        [N] int64 where every label is an integer ("007" is 7), otherwise str.

    Raises:
        ValueError: missing, empty or corrupt file, an unknown suffix, an object
            array (a pickle), another shape, labels that are fractions, a blank line
            (named by its number), text that is not UTF-8, no such column (the columns
            are listed), or `column` for another format.
    """
    suffix = known_suffix(path, "read", _SUFFIXES)
    if column is not None and suffix != ".csv":
        raise ValueError(
            f"cannot read {path}: got column={column!r}, which is for .csv files only"
        )
    if suffix in (".npy", ".npz"):
        return _from_array(read_array(path, key=key), str(path))
    text = _read_text(path)
    if suffix == ".csv":
        return _from_text(read_column(text, column=column, source=str(path)))
    return _from_text(_read_lines(text, str(path)))


def write_labels(path: str | os.PathLike[str], labels: ArrayLike) -> None:
    """Writes one label a row atomically, in the format of the suffix.

    Strings of digits come back from a text format as integers.

    Args:
        path: destination: `.npy`, `.npz` (array `labels`), `.meta`, `.txt` or `.csv`
            (column `label`).
        labels: [N] integers or strings, N >= 1.

    Raises:
        ValueError: unknown suffix, another shape or dtype, a label that a line cannot
            hold (empty, a line break, blanks at an end), or the file cannot be
            written; `path` is then as it was.
    """
    suffix = known_suffix(path, "write", _SUFFIXES)
    labels = as_labels(labels)
    check_labels(labels, labels.size)
    if suffix == ".npy":
        write_array(path, labels)
    elif suffix == ".npz":
        write_arrays(path, {"labels": labels})
    else:
        entries = [str(label) for label in labels.tolist()]
        _check_entries(entries, str(path))
        if suffix == ".csv":
            buffer = io.StringIO()
            rows = [["label"], *([entry] for entry in entries)]
            csv.writer(buffer, lineterminator="\n").writerows(rows)
            write_text(path, buffer.getvalue())
        else:
            write_text(path, "".join(f"{entry}\n" for entry in entries))


def encode_labels(labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the classes from 0 in the order of their labels.

    labels = classes[codes]

    Args:
        labels: [N] integers or strings.

    Returns:
        codes: [N] int32 in [0, C).
        classes: [C] the distinct labels in ascending order.

    Raises:
        ValueError: another shape or dtype, or no label.
    """
    labels = as_labels(labels)
    check_labels(labels, labels.size)
    classes, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.int32), classes


def as_labels(labels: ArrayLike) -> np.ndarray:
    """Makes an array of labels that were given as objects, bytes or with NaN.

    Args:
        labels: [N] integers or strings; bytes are UTF-8 (h5py). Objects, as pandas
            keeps strings, must all be strings, None or NaN.

    Returns:
        [N] strings in Unicode's form NFC, None and NaN as ""; any other array as it is.

    Raises:
        ValueError: bytes that are not UTF-8.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"labels: bytes that are not UTF-8 ({error})") from None
    if array.dtype.kind == "O":
        entries = ["" if _is_missing(entry) else entry for entry in array.flat]
        if not all(isinstance(entry, str) for entry in entries):
            return array
        array = np.array(entries, np.str_).reshape(array.shape)
    if array.dtype.kind == "U" and not all(map(str.isascii, array.flat)):
        normal = [unicodedata.normalize("NFC", entry) for entry in array.flat]
        array = np.array(normal, np.str_).reshape(array.shape)
    return array


def known_identities(labels: ArrayLike) -> np.ndarray:
    """Tells the rows whose identity is known; the others never match.

    Args:
        labels: [N] integers, strings or floats.

    Returns:
        [N] bool, False for -1, NaN, and the strings "", "-1" and "nan" in any case.
    """
    labels = as_labels(labels)
    if labels.dtype.kind == "U":
        return ~np.isin(np.char.lower(labels), _UNKNOWN)
    return (labels != -1) & ~np.isnan(labels)


def separate_unknown(labels: np.ndarray) -> np.ndarray:
    """Makes every row of unknown identity an identity of its own, without a match.

    Args:
        labels: [N] signed integers or strings.

    Returns:
        [N] of the same kind; the array itself where all are known.
    """
    unknown = np.flatnonzero(~known_identities(labels))
    if not len(unknown):
        return labels
    if labels.dtype.kind == "U":
        separate = labels.astype(object)
        separate[unknown] = [f"unknown identity of row {row}" for row in unknown]
        return separate.astype(np.str_)
    separate = labels.copy()
    separate[unknown] = labels.min() - 1 - np.arange(len(unknown))
    return separate


def check_labels(labels: np.ndarray, num_rows: int) -> None:
    """Refuses labels that are not one integer or string for each of N feature rows.

    Args:
        labels: [N] identities.
        num_rows: N.

    Raises:
        ValueError: another shape, dtype or number of labels.
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


def _from_array(labels: np.ndarray, source: str) -> np.ndarray:
    if labels.ndim != 1:
        raise ValueError(
            f"{source}: got shape {labels.shape}, expected [N], one label a row"
        )
    if labels.dtype.kind in "US":
        return np.array(as_labels(labels))
    if labels.dtype.kind == "f":
        labels = np.where(np.isnan(labels), -1, labels)
    return whole_numbers(labels, name=source)


def _is_missing(entry: object) -> bool:
    return entry is None or (isinstance(entry, float) and math.isnan(entry))


def _from_text(entries: Sequence[str]) -> np.ndarray:
    # A blank or NaN among integers: what pandas writes for an unknown one.
    known = ["-1" if entry.lower() in _UNKNOWN else entry for entry in entries]
    if all(map(_INTEGER.fullmatch, known)):
        try:
            return np.array([int(entry) for entry in known], np.int64)
        except OverflowError:
            # An identifier too long for int64 is still an identifier.
            pass
    return as_labels(np.array(entries, np.str_))


def _read_text(path: str | os.PathLike[str]) -> str:
    with open_input(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}, line {line}: a zero byte; it is not a text file")
    return text


def _read_lines(text: str, source: str) -> list[str]:
    entries = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if "" in entries:
        raise ValueError(
            f"{source}, line {entries.index('') + 1}: blank, expected one label a line"
        )
    return entries


def _check_entries(entries: Sequence[str], source: str) -> None:
    for row, entry in enumerate(entries):
        if not entry or entry != entry.strip() or set(entry) & set("\n\r\0"):
            raise ValueError(
                f"cannot write {source}: label {entry!r} of row {row} is empty, or has "
                "a line break or blanks at an end; rename it, or write .npy"
            )
