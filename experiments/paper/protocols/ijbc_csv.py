"""The CSV lists of IJB-C as NIST distributes them, one face a row.

    TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT,…

Columns are found by the names in the first line. Fields that are not asked for may be
empty, as the face boxes of some rows are.
"""

import csv
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.paper.protocols.lines import text_lines, to_integer

_NAME_COLUMN = "FILENAME"


class FaceTable(NamedTuple):
    """Columns of a list of faces."""

    names: np.ndarray  # [M] str file names
    ids: np.ndarray  # [M, C] int64, the integer columns that were asked for


def read_face_table(
    path: str | os.PathLike[str], *, columns: Sequence[str]
) -> FaceTable:
    """Reads the file name and some integer columns of a list of faces.

    Args:
        path: the file, its first line the names of the columns.
        columns: names of C integer columns.

    Returns:
        The columns, in the order asked for.

    Raises:
        ValueError: missing or empty file, no such column, only a header, or a
            malformed line, named by its number: another number of fields than the
            header, or an empty or non-integer field in one of the columns.
    """
    lines = text_lines(path)
    reader = csv.reader((line for _, line in lines), strict=True)
    names: list[str] = []
    ids: list[list[int]] = []
    try:
        header = [name.strip() for name in next(reader)]
        places = [_place(header, name, str(path)) for name in columns]
        name_place = _place(header, _NAME_COLUMN, str(path))
        for fields in reader:
            if len(fields) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num}: got {len(fields)} fields, "
                    f"expected {len(header)} as in the header"
                )
            values = [to_integer(fields[place]) for place in places]
            name = fields[name_place].strip()
            if None in values or not name:
                shown = ",".join(fields[place] for place in (*places, name_place))
                raise ValueError(
                    f"{path}, line {reader.line_num}: got {shown!r} in the columns "
                    f"{', '.join((*columns, _NAME_COLUMN))}, expected integers >= 0 "
                    "and a file name"
                )
            ids.append([value for value in values if value is not None])
            names.append(name)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    if not names:
        raise ValueError(f"cannot read {path}: it holds only a header line")
    return FaceTable(np.array(names, np.str_), np.array(ids, np.int64))


def _place(header: list[str], name: str, source: str) -> int:
    names = [column.upper() for column in header]
    if name not in names:
        raise ValueError(
            f"{source}, line 1: no column {name} in the header, which reads "
            f"{','.join(header)[:80]!r}"
        )
    return names.index(name)
