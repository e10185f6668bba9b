"""Vectors alone: files of FAISS and of big-ann-benchmarks, all mapped.

    .fvecs .bvecs           every row: its length as int32, then float32 or uint8
    .fbin .f16bin .u8bin    N and D as uint32, then the rows (also .i8bin, .ibin)
    .index .faiss           a flat index of FAISS, or one of ids over it

The ids of an index (`IndexIDMap`) are its column `id`.
"""

import pathlib
import struct
from collections.abc import Iterator

import numpy as np

from gfa_jax.datasets import arrays
from gfa_jax.datasets.atomic import stream_array
from gfa_jax.datasets.formats.table import Table, Wanted, blocks

_DTYPES = {
    ".fvecs": "<f4",
    ".bvecs": "|u1",
    ".fbin": "<f4",
    ".f16bin": "<f2",
    ".u8bin": "|u1",
    ".i8bin": "|i1",
    ".ibin": "<i4",
}
_BIN_HEADER = struct.Struct("<2I")
# d, ntotal, two unused, is_trained, metric
_FAISS_HEADER = struct.Struct("<i3q?i")
_FAISS_FLAT = (b"IxFI", b"IxF2", b"IxFl")
_FAISS_IDS = (b"IxMp", b"IxM2")


def read_vecs(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps `.fvecs` and `.bvecs`, and reads the length before every row."""
    del wanted
    dtype = np.dtype(_DTYPES[path.suffix.lower()])
    with arrays.open_input(path) as file:
        size, head = arrays.file_bytes(file), file.read(4)
        dim = int.from_bytes(head, "little", signed=True)
        row_bytes = 4 + dim * dtype.itemsize
        if len(head) < 4 or dim < 1 or size % row_bytes:
            raise ValueError(
                f"got {size} bytes, expected rows of {row_bytes}, as the first one "
                f"says that it has {dim} values; cut short, or another format?"
            )
        rows = np.memmap(file, np.uint8, "r", 0, (size // row_bytes, row_bytes))
    first = 0
    for block in blocks(rows):
        lengths = np.ascontiguousarray(block[:, :4]).view("<i4")[:, 0]
        arrays.check_entries(
            lengths == dim,
            lengths,
            name=str(path),
            expected=f"{dim} values",
            first=first,
        )
        first += len(block)
    values = rows if dtype.itemsize == 1 else rows.view(dtype)
    yield Table(values[:, 4 // dtype.itemsize :])


def write_vecs(path: pathlib.Path, table: Table) -> None:
    """Writes every row after its length."""
    dtype = np.dtype(_DTYPES[path.suffix.lower()])
    dim = table.features.shape[1]
    with path.open("wb") as file:
        for block in blocks(table.features):
            rows = np.empty((len(block), 4 + dim * dtype.itemsize), np.uint8)
            rows[:, :4] = np.frombuffer(dim.to_bytes(4, "little"), np.uint8)
            values = np.ascontiguousarray(_cast(block, dtype))
            rows[:, 4:] = values.view(np.uint8)
            stream_array(file, rows)


def read_bin(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps the rows after the header of big-ann-benchmarks."""
    del wanted
    dtype = np.dtype(_DTYPES[path.suffix.lower()])
    with arrays.open_input(path) as file:
        size, head = arrays.file_bytes(file), file.read(_BIN_HEADER.size)
        if len(head) < _BIN_HEADER.size:
            raise ValueError(f"got {size} bytes, fewer than its header; cut short?")
        rows, dim = _BIN_HEADER.unpack(head)
        expected = _BIN_HEADER.size + rows * dim * dtype.itemsize
        if size != expected or not rows * dim:
            raise ValueError(
                f"got {size} bytes, expected {expected} for the header's {rows} rows "
                f"of {dim} values; the file is cut short or damaged"
            )
        yield Table(np.memmap(file, dtype, "r", _BIN_HEADER.size, (rows, dim)))


def write_bin(path: pathlib.Path, table: Table) -> None:
    """Writes the header of big-ann-benchmarks and the rows."""
    dtype = np.dtype(_DTYPES[path.suffix.lower()])
    with path.open("wb") as file:
        file.write(_BIN_HEADER.pack(*table.features.shape))
        for block in blocks(table.features):
            stream_array(file, _cast(block, dtype))


def read_faiss(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps the vectors of a flat index, in the order in which they were added."""
    del wanted
    with arrays.open_input(path) as file:
        kind, rows, dim, columns = file.read(4), 0, 0, {}
        has_ids = kind in _FAISS_IDS
        if has_ids:
            _faiss_header(file)
            kind = file.read(4)
        if kind not in _FAISS_FLAT:
            raise ValueError(
                f"a FAISS index of the kind {kind!r}; only flat ones hold the vectors "
                "as they were: numpy.save('features.npy', faiss.read_index(path)"
                ".reconstruct_n())"
            )
        dim, rows = _faiss_header(file)
        (words,) = struct.unpack("<Q", _exactly(file, 8))
        start, size = file.tell(), 4 * rows * dim
        end = start + size
        if words != rows * dim or rows < 1 or dim < 1:
            raise ValueError(f"an index of {rows} × {dim} that holds {words} values")
        if has_ids and arrays.file_bytes(file) == end + 8 + 8 * rows:
            columns = {"id": np.fromfile(file, "<i8", rows, offset=size + 8)}
        elif has_ids or arrays.file_bytes(file) != end:
            raise ValueError(
                f"got {arrays.file_bytes(file)} bytes, expected {end} for an index of "
                f"{rows} × {dim}; the file is cut short or damaged"
            )
        yield Table(np.memmap(file, "<f4", "r", start, (rows, dim)), columns)


def write_faiss(path: pathlib.Path, table: Table) -> None:
    """Writes a flat index of inner products."""
    rows, dim = table.features.shape
    with path.open("wb") as file:
        unused = 1 << 20
        file.write(b"IxFI" + _FAISS_HEADER.pack(dim, rows, unused, unused, True, 0))
        file.write(struct.pack("<Q", rows * dim))
        for block in blocks(table.features):
            stream_array(file, _cast(block, np.dtype("<f4")))


def _faiss_header(file) -> tuple[int, int]:
    head = _FAISS_HEADER.unpack(_exactly(file, _FAISS_HEADER.size))
    if head[-1] > 1:  # the argument of another metric
        file.read(4)
    return head[0], head[1]


def _exactly(file, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise ValueError("the file is cut short in its header")
    return content


def _cast(block: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Converts values to those of a format, which must hold them."""
    is_whole, given = dtype.kind in "iu", block.dtype
    cast = block.astype(dtype)
    if is_whole == (given.kind in "iu") and (
        np.can_cast(given, dtype) if is_whole else given.itemsize <= dtype.itemsize
    ):
        return cast
    if not is_whole or not np.array_equal(cast, block):
        raise ValueError(
            f"the values are {block.dtype}, the format holds {dtype.name}; give gfa "
            f"convert --dtype={dtype.name}, or name another format"
        )
    return cast
