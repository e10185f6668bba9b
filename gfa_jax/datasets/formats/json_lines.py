"""JSON lines: an object a row, one of whose values is the list of the vector."""

import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from gfa_jax.datasets.arrays import open_input
from gfa_jax.datasets.formats.table import (
    Table,
    Wanted,
    array_name,
    blocks,
    check_length,
    find_column,
    find_columns,
)
from gfa_jax.datasets.formats.text import decode_lines

_CHUNK_VALUES = 1 << 19


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Reads rows in blocks, vectors as float32; null is NaN, or blank in text.

    The names are those of the first row; what is neither vectors nor one value there
    is left out.
    """
    with open_input(path) as file:
        rows = _objects(file)
        first = next(rows)
        flat = [n for n, each in first.items() if not isinstance(each, list | dict)]
        vectors, is_list = [], False
        if wanted.only:
            flat = [flat[find_column(flat, wanted)]]
        else:
            are_lists = [isinstance(value, list) for value in first.values()]
            numeric = [*map(_is_number, first.values())]
            places, is_list = find_columns([*first], are_lists, numeric, wanted)
            vectors = [[*first][place] for place in places]
        others = [name for name in flat if name not in vectors]
        kept: dict[str, list[Any]] = {name: [] for name in others}
        width = len(first[vectors[0]]) if is_list else len(vectors)
        rows, line = itertools.chain([first], rows), 1
        while chunk := [*itertools.islice(rows, max(1, _CHUNK_VALUES // (width + 1)))]:
            for name, values in kept.items():
                values.extend(row.get(name) for row in chunk)
            picked = (
                row.get(vectors[0]) if is_list else [row.get(name) for name in vectors]
                for row in chunk
            )
            numbers = [
                _numbers(values, width, line + at) for at, values in enumerate(picked)
            ]
            yield Table(np.stack(numbers), {}, tuple(vectors))
            line += len(chunk)
        columns = {name: _typed(values) for name, values in kept.items()}
        yield Table(np.empty((0, width), np.float32), columns, tuple(vectors))


def write(path: pathlib.Path, table: Table) -> None:
    """Writes rows, with the digits that give the same floats again."""
    name, start = array_name(table), 0
    is_wide = len(table.vectors) != 1
    with path.open("w", encoding="utf-8") as file:
        for block in blocks(table.features):
            stop = start + len(block)
            columns = [each[start:stop].tolist() for each in table.columns.values()]
            for row, *others in zip(_shortest(block), *columns, strict=True):
                told = (
                    zip(table.vectors, row, strict=True) if is_wide else [(name, row)]
                )
                value = {**dict(zip(table.columns, others, strict=True)), **dict(told)}
                file.write(json.dumps(value, ensure_ascii=False) + "\n")
            start = stop


def _shortest(block: np.ndarray) -> Iterator[list[float]]:
    """Gives rows of numbers that print no longer than their precision asks."""
    if block.dtype.kind in "iu" or block.dtype == np.float64:
        yield from block.tolist()
        return
    for row in block.astype(np.float32).tolist():
        yield [float(f"{value:.9g}") for value in row]


def _objects(file) -> Iterator[dict[str, Any]]:
    """Parses the lines; a line that is a list is a vector alone."""
    for number, line in enumerate(decode_lines(file), 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file.name}, line {number}: no JSON: {error}") from None
        if isinstance(value, list):
            value = {"features": value}
        if not isinstance(value, dict):
            raise ValueError(
                f"{file.name}, line {number}: got {line[:40].strip()!r}, expected an "
                'object, {"id": …, "embedding": […]}'
            )
        yield value


def _numbers(values: Any, width: int, line: int) -> np.ndarray:
    """Converts the vector of one row."""
    check_length(values, width, line)
    for value in values:
        if value is not None and not _is_number(value):
            raise ValueError(
                f"line {line}: got {str(value)[:40]!r} among the values of a vector, "
                "expected a number"
            )
    return np.array([np.nan if value is None else value for value in values], "f4")


def _typed(values: list[Any]) -> np.ndarray:
    """Returns whole or other numbers where all are, otherwise text."""
    if all(type(value) is int and abs(value) < 2**63 for value in values):
        return np.array(values, np.int64)
    if all(value is None or _is_number(value) for value in values):
        return np.array([np.nan if value is None else value for value in values], "f8")
    texts = ["" if value is None else str(value) for value in values]
    return np.array(texts, object)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
