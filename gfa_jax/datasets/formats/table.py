"""What a file of features holds, and which of its parts are the vectors."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

LABEL_NAMES = ("label", "labels", "subject_id", "identity", "id")
ID_NAMES = ("id", "ids", "name", "path", "file", "filename", "image", "key", "index")
# How pandas calls an index without a name, in CSV and in Parquet.
_INDEX_NAMES = ("", "unnamed: 0", "__index_level_0__")
_NOT_VECTORS = {*LABEL_NAMES, *ID_NAMES, *_INDEX_NAMES, "identity_id", "person"}
_NOT_VECTORS |= {"camera", "camera_id", "cam", "session", "cluster", "confidence"}
_VECTOR_NAMES = ("features", "embeddings", "feature", "embedding", "vectors", "vector")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")
_BLOCK_BYTES = 16 << 20


class Table(NamedTuple):
    """Vectors, and what else a file says of each of them."""

    features: np.ndarray  # [N, D], as stored or as converted to floats
    # [N] other values by name: ids, labels, cameras; text as objects.
    columns: Mapping[str, np.ndarray] = {}
    # Names of the D columns, or of the one that holds the vectors; none where columns
    # alone are written.
    vectors: tuple[str, ...] = ("features",)


class Wanted(NamedTuple):
    """What to read."""

    # Name of the array, data set or column of the vectors, or what the names of its
    # numbered columns begin with; None to find it.
    key: str | None = None
    dim: int | None = None  # D, for a file that does not say it
    without: tuple[str, ...] = ()  # names of columns that are no vectors
    only: bool = False  # whether to read one column, `column`, and no vectors
    # Its name or number; None for the one that is named as labels are, or as ids are.
    column: str | None = None
    are_ids: bool = False

    @property
    def usual(self) -> tuple[str, ...]:
        """Names of the column where none is given, the first that is there."""
        return ID_NAMES if self.are_ids else LABEL_NAMES


def one_column(name: str, values: np.ndarray) -> Table:
    """Makes a table of one column [N] and no vectors."""
    if values.ndim != 1:
        raise ValueError(f"got shape {values.shape}, expected [N], one label a row")
    return Table(np.empty((len(values), 0), np.float32), {name: values})


def block_rows(row_bytes: int) -> int:
    """Returns how many rows a block of a file holds."""
    return max(1, _BLOCK_BYTES // max(1, row_bytes))


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts [N, …] into blocks of rows that fit well into memory."""
    step = block_rows(array.nbytes // max(1, len(array)))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def array_name(table: Table) -> str:
    """Names the one array that holds the vectors."""
    return table.vectors[0] if len(table.vectors) == 1 else "features"


def shown(names: Iterable[str]) -> str:
    """Lists names for an error, a dozen at most."""
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > 12 else ""
    return ", ".join(repr(name) for name in names[:12]) + more


def check_length(vector: object, width: int, line: int) -> None:
    """Refuses what is no list of D values."""
    if not isinstance(vector, list) or len(vector) != width:
        got = f"{len(vector)} values" if isinstance(vector, list) else "no vector"
        raise ValueError(
            f"line {line}: got {got}, expected {width} as in the first row; pad or "
            "drop it"
        )


def find_array(shapes: Mapping[str, Sequence[int]], key: str | None) -> str:
    """Returns the name of the array that holds the vectors, of arrays by name."""
    if key is not None:
        if key not in shapes:
            raise ValueError(
                f"no array {key!r} in it; it holds {shown(shapes)}; name one of them "
                "by --features_key (key=)"
            )
        return key
    tables = [name for name, shape in shapes.items() if len(shape) == 2]
    usual = [name for name in _VECTOR_NAMES if name in tables]
    if len(tables) == 1 or usual:
        return usual[0] if usual else tables[0]
    if len(shapes) == 1:  # of another shape, which the caller refuses by name
        return next(iter(shapes))
    raise ValueError(
        f"which array are the vectors? It holds {shown(shapes)}; name one by "
        "--features_key (key=)"
    )


def find_columns(
    names: Sequence[str],
    are_lists: Sequence[bool],
    numeric: Sequence[bool],
    wanted: Wanted,
) -> tuple[list[int], bool]:
    """Returns which columns are the vectors, and whether it is one of lists."""
    lists = {
        name: (0, 0)
        for name, is_list in zip(names, are_lists, strict=True)
        if is_list and name not in wanted.without
    }
    if wanted.key in lists or (lists and wanted.key is None):
        return [names.index(find_array(lists, wanted.key))], True
    return find_vectors(names, numeric, wanted), False


def find_vectors(
    names: Sequence[str], numeric: Sequence[bool], wanted: Wanted
) -> list[int]:
    """Returns which columns of one number a row are the vectors, in their order.

    Those of `wanted.key`, else the numbered ones (`f0` to `f511`), by their numbers,
    else all numeric ones whose name is not that of an id or a label.
    """
    left_out = {name.lower() for name in wanted.without}
    groups: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        match = _NUMBERED.fullmatch(name)
        if match and numeric[place] and name.lower() not in left_out:
            groups.setdefault(match[1], []).append((int(match[2]), place))
    groups = {start: group for start, group in groups.items() if len(group) > 1}
    if wanted.key is not None:
        if wanted.key in names:
            return [names.index(wanted.key)]
        groups = {key: group for key, group in groups.items() if key == wanted.key}
    if len(groups) > 1:
        raise ValueError(
            f"several groups of columns could be the vectors, {shown(groups)} with "
            "numbers; name one by --features_key (key=)"
        )
    if groups:
        ((start, group),) = groups.items()
        numbers = [number for number, _ in group]
        if len(set(numbers)) < len(numbers):
            raise ValueError(
                f"two columns have one name and number in {start!r}; rename one"
            )
        return [place for _, place in sorted(group)]
    found = [
        place
        for place, name in enumerate(names)
        if numeric[place] and name.lower() not in _NOT_VECTORS | left_out
    ]
    if wanted.key is not None or not found:
        what = f"no column {wanted.key!r}" if wanted.key else "no numeric column"
        raise ValueError(
            f"{what} in it that could be the vectors; it holds {shown(names)}; name "
            "the column, or what numbered ones begin with, by --features_key (key=)"
        )
    return found


def find_column(names: Sequence[str], wanted: Wanted) -> int:
    """Returns the number of one column of labels or the like, by name or number."""
    column, flag = wanted.column, "--id_column" if wanted.are_ids else "--labels_column"
    for name in wanted.usual if column is None else (column,):
        exact = [number for number, each in enumerate(names) if each == name]
        loose = [n for n, each in enumerate(names) if each.lower() == name.lower()]
        found = exact or loose
        if len(found) > 1:
            raise ValueError(
                f"columns {found} are all named {name!r}; give {flag} (column=) by "
                "number"
            )
        if found:
            return found[0]
    if column is None and len(names) == 1:
        return 0
    if column is not None and column.isdecimal() and int(column) < len(names):
        return int(column)
    kind = "ids" if wanted.are_ids else "labels"
    what = f"a usual name of {kind}" if column is None else f"the name {column!r}"
    raise ValueError(
        f"no column has {what}; give {flag} (column=), by number (0 to "
        f"{len(names) - 1}) or by name: {shown(names)}"
    )
