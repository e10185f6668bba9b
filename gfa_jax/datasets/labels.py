"""Identity labels, one a feature row, as integers or strings.

    .npy, .npz    one array
    .meta, .txt   one label a line (learn-to-cluster)
    .csv          one column of a table, found by name, by number or by habit

Labels are integers if every one of them is, otherwise strings in Unicode's form NFC.
The integer -1 and the strings "", "-1" and "nan" stand for an unknown identity, which
never matches; an array may hold NaN for it.
"""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from gfa_jax.datasets.arrays import known_suffix, open_input, read_array, whole_numbers

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_UNKNOWN = ("", "-1", "nan")
_USUAL_NAMES = ("label", "labels", "subject_id", "identity", "id")


def read_labels(
    path: str | os.PathLike[str],
    *,
    column: str | None = None,
    key: str = "labels",
) -> np.ndarray:
    """Reads one label a row.

    The first row of a table is a header where a name in it is the name asked for or a
    usual one, or where it is the only entry of the column that is not an integer.

    Args:
        path: `.npy`; `.npz`; `.meta` or `.txt` with one label a line; `.csv`. Text is
            UTF-8, its lines end with LF or CRLF, the last one with or without.
        column: of a `.csv`, its name (exact, or else in any case) or its number from 0.
            None takes the column named label, labels, subject_id, identity or id (in
            that order, in any case), or the only column.
        key: name of the array in a `.npz`.

    Returns:
        [N] int64 where every label is an integer ("007" is 7), otherwise str.

    Raises:
        ValueError: as for `read_array`; an unknown suffix, another shape, labels that
            are fractions, a blank line or a row of another length (named by its
            number), text that is not UTF-8, no such column (the columns are listed),
            or `column` for another format.
    """
    suffix = known_suffix(path, "read", (".npy", ".npz", ".meta", ".txt", ".csv"))
    if column is not None and suffix != ".csv":
        raise ValueError(
            f"cannot read {path}: got column={column!r}, which is for .csv files only"
        )
    if suffix in (".npy", ".npz"):
        labels = as_labels(read_array(path, key=key))
        if labels.ndim != 1:
            raise ValueError(
                f"{path}: got shape {labels.shape}, expected [N], one label a row"
            )
        if labels.dtype.kind == "f":
            labels = np.where(np.isnan(labels), -1, labels)
        if labels.dtype.kind == "U":
            return np.array(labels)
        return whole_numbers(labels, name=str(path))
    text = _read_text(path)
    if suffix == ".csv":
        return _from_text(_read_column(text, column, str(path)))
    entries = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if "" in entries:
        line = entries.index("") + 1
        raise ValueError(f"{path}, line {line}: blank, expected one label a line")
    return _from_text(entries)


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

    Bytes are UTF-8 (h5py), others a ValueError; objects, as pandas keeps strings, are
    strings, None or NaN.

    Returns:
        [N] strings in Unicode's form NFC, None and NaN as ""; any other array as it is.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"labels: bytes that are not UTF-8 ({error})") from None
    if array.dtype.kind == "O":
        # NaN alone is not equal to itself.
        entries = [
            "" if each is None or (isinstance(each, float) and each != each) else each
            for each in array.flat
        ]
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
        labels: [N] integers, floating numbers or strings.

    Returns:
        [N] bool, False for -1, NaN, and the strings "", "-1" and "nan" in any case.

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


def _read_column(text: str, column: str | None, source: str) -> list[str]:
    """Returns the entries of one column, without the header and outer blanks."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append([field.strip() for field in row])
            if not row:
                raise csv.Error("blank, expected a row")
            if len(row) != len(rows[0]):
                raise csv.Error(
                    f"got {len(row)} fields, expected {len(rows[0])} as in the first "
                    "line"
                )
    except csv.Error as error:
        raise ValueError(f"{source}, line {reader.line_num}: {error}") from error
    number, has_header = _find_column(rows[0], column, source)
    entries = [row[number] for row in rows]
    if not has_header and len(entries) > 1:
        first, *others = (not entry or _INTEGER.fullmatch(entry) for entry in entries)
        has_header = not first and all(others)
    if has_header:
        entries = entries[1:]
    if not entries:
        raise ValueError(f"cannot read {source}: it holds only a header line")
    return entries


def _find_column(
    names: Sequence[str], column: str | None, source: str
) -> tuple[int, bool]:
    """Returns the number of the column, and whether the first row names it."""
    if column is not None and column.isdecimal() and int(column) < len(names):
        return int(column), any(name.lower() in _USUAL_NAMES for name in names)
    for wanted in _USUAL_NAMES if column is None else (column,):
        exact = [number for number, name in enumerate(names) if name == wanted]
        loose = [n for n, name in enumerate(names) if name.lower() == wanted.lower()]
        found = exact or loose
        if len(found) > 1:
            raise ValueError(
                f"{source}: columns {found} are all named {wanted!r}; give column by "
                "number"
            )
        if found:
            return found[0], True
    if column is None and len(names) == 1:
        return 0, False
    wanted = "a usual name of labels" if column is None else f"the name {column!r}"
    raise ValueError(
        f"{source}: no column has {wanted}; give column, by number (0 to "
        f"{len(names) - 1}) or by name, from the first line: {', '.join(names)}"
    )
