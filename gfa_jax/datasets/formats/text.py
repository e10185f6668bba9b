"""Tables in text: a row a line, separated by commas, semicolons, tabs, | or blanks."""

import contextlib
import csv
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gfa_jax.datasets.arrays import open_input
from gfa_jax.datasets.formats.table import (
    Table,
    Wanted,
    blocks,
    check_length,
    find_column,
    find_columns,
)

_DELIMITERS = "\t;,|"
_BLANK = {"", "na", "n/a", "<na>", "null", "none"}
_LINE_BYTES = 16 << 20
_SAMPLE_ROWS = 100
_CHUNK_VALUES = 1 << 19
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+")


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Reads rows in blocks, as float32: text says nothing of a precision.

    A first line of names, and the delimiter, are found. A blank value is NaN.
    """
    rows = _rows(path)
    sample = [*itertools.islice(rows, _SAMPLE_ROWS)]
    names, has_header = _header(sample, wanted)
    line = 1 + has_header
    if len(sample) == has_header or (len(sample) == 1 and _is_words(sample[0])):
        raise ValueError("it holds only a header line")
    body = sample[has_header:]
    if wanted.only:
        vectors, is_list = [], False
        others = [find_column(names, wanted)]
    else:
        columns = [*zip(*body, strict=True)]
        are_lists, numeric = (
            [all(map(test, column)) for column in columns]
            for test in (_is_list, _is_number)
        )
        vectors, is_list = find_columns(names, are_lists, numeric, wanted)
        others = sorted({*range(len(names))} - {*vectors})
    kept: list[list[str]] = [[] for _ in others]
    rows = itertools.chain(body, rows)
    told = tuple(names[place] for place in vectors)
    width = len(_listed(body[0][vectors[0]])) if is_list else len(vectors)
    step = max(1, _CHUNK_VALUES // (len(names) + width))
    while chunk := [*itertools.islice(rows, step)]:
        for values, place in zip(kept, others, strict=True):
            values.extend([row[place] for row in chunk])
        if is_list:
            chunk = [_listed(row[vectors[0]]) for row in chunk]
            for number, values in enumerate(chunk):
                check_length(values, width, line + number)
            block = _numbers(chunk, [*range(width)], told * width, line)
        else:
            block = _numbers(chunk, vectors, names, line)
        yield Table(block, {}, told)
        line += len(chunk)
    columns = {
        names[place]: _typed(values) for values, place in zip(kept, others, strict=True)
    }
    yield Table(np.empty((0, width), np.float32), columns, told)


def write(path: pathlib.Path, table: Table) -> None:
    """Writes a header and rows, with the digits that give the same float32 again."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    names = [*table.columns, *vector_names(table)]
    form = "%d" if table.features.dtype.kind in "iu" else "%.9g"
    if table.features.dtype == np.float64:
        form = "%.17g"
    line = delimiter.join([form] * table.features.shape[1])
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(delimiter.join(map(_quoted, names)) + "\n")
        start = 0
        for block in blocks(table.features):
            stop = start + len(block)
            others = [each[start:stop].tolist() for each in table.columns.values()]
            if form == "%.9g":
                block = block.astype(np.float32)
            for number, row in enumerate(block.tolist()):
                fields = [_quoted(values[number]) for values in others]
                fields += [line % tuple(row)] if row else []
                file.write(delimiter.join(fields) + "\n")
            start = stop


def vector_names(table: Table) -> list[str]:
    """Names the columns of the vectors, one a value, as they were or by number."""
    width = table.features.shape[1]
    if len(table.vectors) == width:
        return list(table.vectors)
    return [f"{table.vectors[0]}_{number}" for number in range(width)]


def _rows(path: str | os.PathLike[str]) -> Iterator[list[str]]:
    """Yields the fields of every line, without blanks around them; all as many."""
    with open_input(path) as file:
        lines = decode_lines(file)
        first = [*itertools.islice(lines, 2)]
        delimiter = _delimiter(first)
        lines = itertools.chain(first, lines)
        if delimiter == " ":
            lines = (" ".join(each.split()) + "\n" for each in lines)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        width = None
        try:
            for row in reader:
                width = width or len(row)
                if not row:
                    raise csv.Error("blank, expected a row")
                if len(row) != width:
                    raise csv.Error(
                        f"got {len(row)} fields, expected {width} as in the first line"
                    )
                yield [field.strip() for field in row]
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def decode_lines(file) -> Iterator[str]:
    """Decodes the lines of a binary file, and refuses what is no text."""
    number = 0
    while raw := file.readline(_LINE_BYTES):
        number += 1
        where = f"{file.name}, line {number}"
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
            if not raw:
                raise ValueError(f"cannot read {file.name}: it holds no line")
        if len(raw) == _LINE_BYTES:
            raise ValueError(f"{where}: longer than {_LINE_BYTES} bytes")
        if b"\0" in raw:
            raise ValueError(f"{where}: a zero byte; it is not a text file")
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{where}: not UTF-8 text; save it as UTF-8") from None


def _delimiter(lines: Sequence[str]) -> str:
    """Returns what separates most numbers of the last of the first two lines."""
    last = lines[-1]
    semicolons = last.strip().split(";")
    if len(semicolons) > 1 and any(map(_DECIMAL_COMMA.fullmatch, semicolons)):
        raise ValueError(
            "numbers with decimal commas (0,5); write points: "
            "pandas.read_csv(…, sep=';', decimal=',').to_csv(…)"
        )

    def worth(delimiter: str) -> tuple[int, int]:
        fields = next(csv.reader([last], delimiter=delimiter), [])
        numbers = sum(
            len(_listed(each)) if each[:1] == "[" and each[-1:] == "]" else 1
            for each in map(str.strip, fields)
            if each and (each[0] == "[" or _is_number(each))
        )
        return numbers, len(fields)

    best = max(_DELIMITERS, key=worth)
    if worth(best)[1] == 1:  # blanks separate where they separate numbers only
        fields = last.split()
        if len(fields) > 1 and all(map(_is_number, fields[1:])):
            return " "
        return ","
    return best


def _header(rows: Sequence[Sequence[str]], wanted: Wanted) -> tuple[list[str], bool]:
    """Names the columns, and tells whether the first line does."""
    first, others = rows[0], rows[1:]
    known = {*wanted.usual, *map(str.lower, wanted.without)}
    known |= {each.lower() for each in (wanted.column, wanted.key) if each}
    known -= {name for name in known if name.isdecimal()}
    has_header = any(name.lower() in known for name in first)
    numbered = [int(name) for name in first if name.isdecimal()]
    if len(numbered) > 1 and numbered in (
        [*range(len(numbered))],
        [*range(1, len(numbered) + 1)],
    ):
        has_header |= len(numbered) > 2 or any("." in "".join(row) for row in others)
    for name, column in zip(first, zip(*others, strict=True), strict=False):
        is_named = bool(name) and not _is_number(name)
        has_header |= is_named and all(map(_is_number, column)) and any(column)
        has_header |= is_named and not _is_list(name) and all(map(_is_list, column))
    if has_header:
        return [*first], True
    return [str(number) for number in range(len(first))], False


def _is_list(field: str) -> bool:
    """Tells whether a field is a vector, as Python or NumPy prints it."""
    if not (field.startswith("[") and field.endswith("]")):
        return False
    if "..." in field and _is_list(field.replace("...", " ")):
        raise ValueError(
            f"a vector was shortened when it was printed ({field[:40]!r}…); write them "
            "whole: one column a value, or array.tolist()"
        )
    return all(map(_is_number, _listed(field)))


def _listed(field: str) -> list[str]:
    return field.strip("[]").replace(",", " ").split()


def _is_words(fields: Sequence[str]) -> bool:
    return len(fields) > 1 and not any(map(_is_number, fields))


def _is_number(field: str) -> bool:
    """Tells whether a field is a number, or blank, which stands for one."""
    if field.lower() in _BLANK:
        return True
    with contextlib.suppress(ValueError):
        float(field)
        return "_" not in field
    return False


def _numbers(
    rows: list[list[str]], places: list[int], names: Sequence[str], line: int
) -> np.ndarray:
    """Converts columns of the rows to [n, D] float32."""
    picked: Iterable[list[str]] = ([row[place] for place in places] for row in rows)
    if places == [*range(places[0], places[-1] + 1)] if places else False:
        picked = (row[places[0] : places[-1] + 1] for row in rows)
    shape = (len(rows), len(places))
    try:
        values = map(float, itertools.chain.from_iterable(picked))
        return np.fromiter(values, np.float32, shape[0] * shape[1]).reshape(shape)
    except ValueError:
        pass
    out = np.empty(shape, np.float32)
    for number, row in enumerate(rows):
        for at, place in enumerate(places):
            field = row[place]
            if not _is_number(field):
                raise ValueError(
                    f"line {line + number}, column {names[place]!r}: got "
                    f"{field[:40]!r}, expected a number; if the column is none of the "
                    "vectors, name theirs by --features_key, or this by --id_column"
                )
            out[number, at] = np.nan if field.lower() in _BLANK else float(field)
    return out


def _typed(values: list[str]) -> np.ndarray:
    """Returns int64 where that prints as the text does, otherwise objects."""
    if all(map(_INTEGER.fullmatch, values)):
        return np.array([*map(int, values)], np.int64)
    return np.array(values, object)


def _quoted(value: object) -> str:
    text = "" if value is None or value != value else str(value)
    if any(sign in text for sign in ',;\t|"\r\n '):
        text = '"' + text.replace('"', '""') + '"'
    return text
