"""`.npy`, one array, and `.npz`, arrays by name; mapped unless compressed."""

import pathlib
from collections.abc import Iterator

import numpy as np

from gfa_jax.datasets import arrays, atomic
from gfa_jax.datasets.formats.table import (
    Table,
    Wanted,
    array_name,
    find_array,
    find_column,
    one_column,
)


def read_npy(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps the array; of one column, [N] itself."""
    array = arrays.read_array(path, key="")
    yield one_column("label", array) if wanted.only else Table(array)


def read_npz(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps one array; those of a value a row are the columns."""
    found = arrays.npz_shapes(path)
    if wanted.only:
        name = [*found][find_column([*found], wanted)]
        yield one_column(name, arrays.read_array(path, key=name))
        return
    name = find_array(found, wanted.key)
    features = arrays.read_array(path, key=name)
    others = [each for each, shape in found.items() if shape == features.shape[:1]]
    columns = {each: arrays.read_array(path, key=each) for each in others}
    yield Table(features, columns, (name,))


def write_npy(path: pathlib.Path, table: Table) -> None:
    """Writes the vectors alone."""
    with path.open("wb") as file:
        atomic.write_npy(file, table.features)


def write_npz(path: pathlib.Path, table: Table) -> None:
    """Writes vectors and columns as arrays by name; text at its greatest length."""
    columns = {
        name: np.array(values.tolist(), np.str_) if values.dtype == object else values
        for name, values in table.columns.items()
    }
    vectors = {array_name(table): table.features} if table.vectors else {}
    atomic.write_npz(path, vectors | columns)
