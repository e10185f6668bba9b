"""A folder of `.npy` files, one vector each; their folders, where they are in some.

The column `id` holds the paths without the suffix, `label` the folder of each.
"""

import os
import pathlib
from collections.abc import Iterator

import numpy as np

from gfa_jax.datasets import arrays
from gfa_jax.datasets.formats.table import Table, Wanted, block_rows


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Reads the vectors in the order of their paths, in blocks."""
    del wanted
    files = sorted(
        pathlib.Path(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(".npy") and not name.startswith(".")
    )
    if not files:
        raise ValueError(
            f"cannot read {path}: a folder without manifest.json of shards and without "
            ".npy files of a vector each"
        )
    first = _vector(files[0])
    step = block_rows(first.nbytes)
    for start in range(0, len(files), step):
        part = files[start : start + step]
        rows = np.empty((len(part), len(first)), first.dtype)
        for number, file in enumerate(part):
            vector = _vector(file)
            if vector.shape != first.shape or vector.dtype != first.dtype:
                raise ValueError(
                    f"{file}: got {vector.dtype} {vector.shape}, expected "
                    f"{first.dtype} {first.shape} as in {files[0].name}"
                )
            rows[number] = vector
        names = [file.relative_to(path).with_suffix("") for file in part]
        columns = {"id": [name.as_posix() for name in names]}
        if any(file.parent != path for file in files):
            columns["label"] = [name.parent.as_posix() for name in names]
        columns = {key: np.array(values, object) for key, values in columns.items()}
        yield Table(rows, columns)


def _vector(file: pathlib.Path) -> np.ndarray:
    array = arrays.read_array(file, key="")
    if array.size != max(array.shape, default=0):
        raise ValueError(
            f"{file}: got shape {array.shape}, expected one vector a file; name one "
            "file, or a folder of shards with its manifest.json"
        )
    return array.reshape(-1)
