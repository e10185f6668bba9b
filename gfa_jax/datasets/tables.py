"""Features with what a file says of each of them: read, carried along, written back.

Which suffix is read and written by what is in `formats`.
"""

import itertools
import os
import pathlib
import tempfile
from collections.abc import Collection, Iterator

import ml_dtypes
import numpy as np

from gfa_jax.datasets import formats
from gfa_jax.datasets.arrays import open_input
from gfa_jax.datasets.atomic import atomic_path, stream_array
from gfa_jax.datasets.formats import folder, tensors
from gfa_jax.datasets.formats.table import Table, Wanted, blocks
from gfa_jax.datasets.reading import check_room, one_line_errors


@one_line_errors
def read_table(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    dim: int | None = None,
    without: Collection[str | None] = (),
    spill: str | os.PathLike[str] | None = None,
) -> Table:
    """Reads the features of a file and the other values of every row.

    The vectors are the array `key`, else the one called features, embeddings or the
    like, else the only [N, D]. In a table (.csv, .tsv, .txt, .jsonl, .parquet, .arrow,
    .feather) they are the column of lists, or the columns numbered at their end, by
    number (f0 … f511), or else all columns of numbers whose name is not that of an id
    or a label. All else that holds one value a row is a column. Text is read as
    float32, integers are converted to it; a missing value is NaN.

    .npy, .npz (not compressed), .h5 (in one piece), .safetensors, .bin, .fvecs, .fbin
    and their kin, and a flat FAISS index are mapped, everything else is read in blocks
    of 16 MB: into memory, or with `spill` into a file there that has no name and is
    gone with the array.

    Args:
        path: the file, its format by its suffix; or a folder of .npy, a vector each,
            whose stems are the ids and whose folders, if any, the labels.
        key: which array, data set or column holds the vectors; for numbered columns
            what their names begin with.
        dim: D: needed for raw .bin files, otherwise held against the file.
        without: names of columns of numbers that are no vectors; None counts for none.
        spill: a folder for what cannot be mapped.

    Returns:
        The table: features [N, D], columns [N] by name, text as objects.

    Raises:
        ValueError: whatever is wrong with the file, in one line; an unknown suffix.
        ImportError: the format needs `pip install 'gfa_jax[formats]'`.
    """
    names = tuple(name for name in without if name is not None)
    table = _join(_open(path, Wanted(key, dim, names)), path, spill)
    if dim not in (None, table.features.shape[-1]):
        raise ValueError(
            f"{path}: got rows of {table.features.shape[-1]} values, expected dim={dim}"
        )
    return table


@one_line_errors
def read_column(
    path: str | os.PathLike[str], column: str | None = None, *, are_ids: bool = False
) -> np.ndarray:
    """Reads one column of a file of any format.

    Args:
        path: as for `read_table`.
        column: its name (exact, or else in any case) or its number from 0; None takes
            the one named label, labels, subject_id, identity or id, or the only one.
        are_ids: whether None takes the one named id, name, path or the like instead.

    Returns:
        [N], text as objects.

    Raises:
        ValueError: as for `read_table`; no such column (the columns are listed).
        ImportError: the format needs `pip install 'gfa_jax[formats]'`.
    """
    wanted = Wanted(only=True, column=column, are_ids=are_ids)
    columns = dict(_join(_open(path, wanted), path, None).columns)
    if pathlib.Path(path).is_dir() and not are_ids:  # of people
        columns.pop("id")
    if not columns:
        raise ValueError(f"cannot read {path}: it holds vectors only")
    return next(iter(columns.values()))


def write_table(path: str | os.PathLike[str], table: Table) -> list[str]:
    """Writes features and columns atomically, in blocks, in the format of the suffix.

    .csv, .tsv and .txt have the digits that give the same float32 again; of float64
    their own, which are read as float32.

    Args:
        path: of the file; its suffix is the format.
        table: features [N, D] and columns [N].

    Returns:
        The names of the columns that the format cannot hold, which are left out.

    Raises:
        ValueError: unknown suffix, values that the format cannot hold, or the file
            cannot be written; `path` is then as it was.
        ImportError: the format needs `pip install 'gfa_jax[formats]'`.

    Examples:
        >>> table = datasets.Table(features, {"id": np.arange(300)})
        >>> datasets.write_table(folder / "rows.csv", table)
        []
        >>> datasets.read_table(folder / "rows.csv").columns["id"][:3]
        array([0, 1, 2])
    """
    path = pathlib.Path(path)
    found = formats.find(path, "write")
    holds = {"any": lambda _: True, "none": lambda _: False, "numbers": tensors.holds}
    columns = {
        name: values
        for name, values in table.columns.items()
        if holds[found.columns](values)
    }
    with atomic_path(path) as temporary:
        try:
            found.write(temporary, table._replace(columns=columns))
        except (ValueError, TypeError) as error:
            raise ValueError(f"cannot write {path}: {error}") from error
    return [name for name in table.columns if name not in columns]


def _open(path: str | os.PathLike[str], wanted: Wanted) -> Iterator[Table]:
    path = pathlib.Path(path)
    if path.is_dir():
        return folder.read(path, wanted)
    read = formats.find(path, "read").read
    open_input(path).close()
    return read(path, wanted)


def _join(
    parts: Iterator[Table],
    path: str | os.PathLike[str],
    spill: str | os.PathLike[str] | None,
) -> Table:
    """Joins blocks, in memory or in a file without a name."""
    first = next(parts)
    if isinstance(first.features, np.memmap) and first.features.dtype.kind in "iu":
        whole, columns = first.features, dict(first.columns)
        parts = (Table(np.asarray(block), {}, first.vectors) for block in blocks(whole))
        return _join(parts, path, spill)._replace(columns=columns)
    first = _as_floats(first)
    if isinstance(first.features, np.memmap) or first.features.ndim != 2:
        return first
    kept: dict[str, list[np.ndarray]] = {}

    def rows() -> Iterator[np.ndarray]:
        for part in itertools.chain([first], parts):
            for name, values in part.columns.items():
                kept.setdefault(name, []).append(values)
            yield _as_floats(part).features.astype(first.features.dtype, copy=False)

    features = _in_memory(rows(), path) if spill is None else _in_file(rows(), spill)
    joined = {name: np.concatenate(each) for name, each in kept.items()}
    return Table(features, joined, first.vectors)


def _in_memory(parts: Iterator[np.ndarray], path: str | os.PathLike[str]) -> np.ndarray:
    """Joins blocks [n, D] in an array that grows without a copy, where it can."""
    rows = next(parts)
    count = len(rows)
    for part in parts:
        needed = count + len(part)
        if needed > len(rows):
            check_room(needed * part.shape[1] * part.itemsize, path)
            if not rows.flags.owndata or not rows.flags.c_contiguous:
                rows = np.array(rows, order="C")
            rows.resize((max(2 * count, needed), part.shape[1]), refcheck=False)
        rows[count:needed] = part
        count = needed
    if len(rows) > count:
        rows.resize((count, rows.shape[1]), refcheck=False)
    return rows


def _in_file(parts: Iterator[np.ndarray], folder: str | os.PathLike[str]) -> np.ndarray:
    """Joins blocks [n, D] in a file without a name, and maps it."""
    count, part = 0, np.empty((0, 0))
    with tempfile.TemporaryFile(dir=folder) as file:
        for part in parts:
            stream_array(file, part)
            count += len(part)
        file.flush()
        if not count * part.shape[1]:
            return np.empty((count, part.shape[1]), part.dtype)
        return np.memmap(file, part.dtype, "r", 0, (count, part.shape[1]))


def _as_floats(table: Table) -> Table:
    """Takes two raw bytes a value for bfloat16, and converts integers to float32."""
    features = table.features
    if features.dtype == np.dtype("V2"):
        features = features.view(ml_dtypes.bfloat16)
    elif features.dtype.kind in "iu":
        features = features.astype(np.float32)
    features = features.astype(features.dtype.newbyteorder("="), copy=False)
    return table._replace(features=features)
