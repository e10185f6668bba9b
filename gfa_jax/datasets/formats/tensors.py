"""`.safetensors`: the length of a JSON header, the header, and raw values; mapped.

The library of that name would copy what is mapped here, and knows no bfloat16 of NumPy.
"""

import json
import math
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from gfa_jax.datasets import arrays
from gfa_jax.datasets.atomic import stream_array
from gfa_jax.datasets.formats.table import (
    Table,
    Wanted,
    array_name,
    find_array,
    find_column,
    one_column,
)

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "BOOL": "|b1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_MOST_HEADER = 100 << 20


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps one tensor; those of a value a row are the columns."""
    with arrays.open_input(path) as file:
        size = arrays.file_bytes(file)
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        start = 8 + length
        if start > min(size, _MOST_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        told = json.loads(file.read(length))
        told.pop("__metadata__", None)
        if wanted.only:
            name = [*told][find_column([*told], wanted)]
            yield one_column(name, _tensor(file, told[name], start, size))
            return
        name = find_array({each: told[each]["shape"] for each in told}, wanted.key)
        features = _tensor(file, told[name], start, size)
        columns = {
            each: _tensor(file, told[each], start, size)
            for each in told
            if told[each]["shape"] == [len(features)]
        }
        yield Table(features, columns, (name,))


def write(path: pathlib.Path, table: Table) -> None:
    """Writes vectors and columns of numbers as tensors; text has no place there."""
    told, end = {}, 0
    tensors = {array_name(table): table.features, **table.columns}
    for each, values in tensors.items():
        span = [end, end + values.nbytes]
        end = span[1]
        dtype = _NAMES[values.dtype.newbyteorder("=")]
        told[each] = {"dtype": dtype, "shape": values.shape, "data_offsets": span}
    header = json.dumps(told).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for values in tensors.values():
            stream_array(file, values)


def holds(values: np.ndarray) -> bool:
    """Tells whether a column can be a tensor."""
    return values.dtype in _NAMES


def _tensor(file: Any, told: Any, start: int, size: int) -> np.ndarray:
    dtype, shape = np.dtype(_DTYPES[told["dtype"]]), tuple(map(int, told["shape"]))
    first, last = map(int, told["data_offsets"])
    fits = 0 <= first <= last <= size - start and min(shape, default=0) >= 0
    if not fits or math.prod(shape) * dtype.itemsize != last - first:
        raise ValueError(
            f"a tensor of shape {shape} and type {dtype} in bytes {first} to {last} of "
            f"{size - start}; the file is cut short or damaged"
        )
    if not math.prod(shape):
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", start + first, shape)
