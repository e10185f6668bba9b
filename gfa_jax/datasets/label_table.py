"""One column of a comma-separated table, found by name, by number or by habit.

A table may or may not start with a header. Its first row is one where a name in it
is the name asked for or a usual name of a label column, or where it is the only
entry of the column that is not an integer.
"""

import csv
import io
import re
from collections.abc import Sequence

_USUAL_NAMES = ("label", "labels", "subject_id", "identity", "id")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def read_column(text: str, *, column: str | int | None, source: str) -> list[str]:
    """Returns the entries of one column, without the header and without outer blanks.

    Args:
        text: the table; fields may be quoted.
        column: name of the column, exact or else in any case; or its number from 0;
            None takes the first usual name, or the only column.
        source: path of the file, for the error.

    Returns:
        One string a row, empty for a blank field.

    Raises:
        ValueError: no such column or no usual name (the columns are listed), a name
            that fits two columns, a row of another length (named by line number),
            only a header, or quotes that do not close.
    """
    rows = _read_rows(text, source)
    number, has_header = _find_column(rows, column, source)
    entries = [row[number] for row in rows]
    if not has_header and len(entries) > 1:
        first, *others = (not entry or _INTEGER.fullmatch(entry) for entry in entries)
        has_header = not first and all(others)
    if has_header:
        entries = entries[1:]
    if not entries:
        raise ValueError(f"cannot read {source}: it holds only a header line")
    return entries


def _read_rows(text: str, source: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            rows.append([field.strip() for field in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{source}, line {reader.line_num}: {error}") from error
    for row, line in zip(rows, lines, strict=True):
        if not row:
            raise ValueError(f"{source}, line {line}: blank, expected a row")
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{source}, line {line}: got {len(row)} fields, expected "
                f"{len(rows[0])} as in the first line"
            )
    return rows


def _find_column(
    rows: Sequence[Sequence[str]], column: str | int | None, source: str
) -> tuple[int, bool]:
    """Returns the number of the column, and whether the first row names it."""
    first = rows[0]
    if isinstance(column, int):
        if not 0 <= column < len(first):
            raise ValueError(
                f"{source}: got column {column}, expected 0 to {len(first) - 1}"
            )
        return column, any(name.lower() in _USUAL_NAMES for name in first)
    for name in _USUAL_NAMES if column is None else (column,):
        number = _match(first, name, source)
        if number is not None:
            return number, True
    if column is None and len(first) == 1:
        return 0, False
    wanted = "a usual name of labels" if column is None else f"the name {column!r}"
    raise ValueError(
        f"{source}: no column has {wanted}; give column, by number (0 to "
        f"{len(first) - 1}) or by name, from the first line: {', '.join(first)}"
    )


def _match(names: Sequence[str], wanted: str, source: str) -> int | None:
    exact = [number for number, name in enumerate(names) if name == wanted]
    loose = [n for n, name in enumerate(names) if name.lower() == wanted.lower()]
    found = exact or loose
    if len(found) > 1:
        raise ValueError(
            f"{source}: columns {found} are all named {wanted!r}; give column by number"
        )
    return found[0] if found else None
