"""Float32 matrices in `.bin` files, with a header of 16 or 8 bytes or with none.

The ICCV19 lightweight face recognition challenge stores 16 bytes, four
little-endian int32 (rows, columns, 4 × columns, 5), and then the rows (insightface,
challenges/iccv19-lfr); big-ann-benchmarks stores two uint32 (rows, columns) before
them; learn-to-cluster stores the rows alone. Two look-alikes are
refused: insightface's verification sets are pickles of JPEG images, and MegaFace
keeps one image a file under the header (dim, 1, 4, 5).
"""

import pathlib
import struct
from collections.abc import Iterator

import numpy as np

from gfa_jax.datasets.arrays import file_bytes, open_input
from gfa_jax.datasets.atomic import stream_array
from gfa_jax.datasets.formats.table import Table, Wanted, blocks

_HEADER = struct.Struct("<4i")
_SHORT_HEADER = struct.Struct("<2I")
_FLOAT32 = np.dtype("<f4")
_FLOAT32_CODE = 5


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Maps the float32 matrix [N, D] of a `.bin` file.

    Without a `dim` a header is required. With one the file is raw rows of that
    length, unless it starts with a header that fits its size: read as floats, the
    integers of one would be values below 1e-35 in a fixed ratio, which no feature
    holds. Its columns must then equal `dim`.

    A ValueError refuses a size that fits no whole number of rows or disagrees with the
    header, a `dim` that does, no header and no `dim`, a pickle, and a MegaFace file of
    one image.
    """
    with open_input(path) as file:
        size = file_bytes(file)
        head = file.read(_HEADER.size)
        file.seek(size - 1)
        last = file.read(1)
        rows, columns, offset = _layout(head, last, size, wanted.dim)
        yield Table(np.memmap(file, _FLOAT32, "r", offset, (rows, columns)))


def write(path: pathlib.Path, table: Table) -> None:
    """Writes a matrix as float32 under the 16-byte header.

    A ValueError refuses float64, which would lose digits, no row, and fewer than 2
    columns, whose header is MegaFace's.
    """
    features = table.features
    rows, columns = features.shape
    if features.dtype.itemsize > _FLOAT32.itemsize:
        raise ValueError(
            f"got {features.dtype}, expected float32 or shorter; cast the features "
            "first (gfa convert --dtype=float32), or write .npy"
        )
    if rows < 1 or columns < 2:
        raise ValueError(
            f"got shape {features.shape}, expected at least 1 row and 2 columns in a "
            ".bin file; write .npy"
        )
    with path.open("wb") as file:
        file.write(_HEADER.pack(rows, columns, 4 * columns, _FLOAT32_CODE))
        for block in blocks(features):
            stream_array(file, block.astype(_FLOAT32))


def _layout(
    head: bytes, last: bytes, size: int, dim: int | None
) -> tuple[int, int, int]:
    """Returns rows, columns and the offset of the first row in bytes."""
    if dim is not None and dim < 1:
        raise ValueError(f"got dim={dim}, expected at least 1")
    if len(head) == _HEADER.size:
        rows, columns, row_bytes, code = _HEADER.unpack(head)
        if code == _FLOAT32_CODE and row_bytes == 4 * columns:
            _check_header(rows, columns, size, dim)
            return rows, columns, _HEADER.size
    if len(head) >= _SHORT_HEADER.size:
        rows, columns = _SHORT_HEADER.unpack_from(head)
        fits = rows * columns and size == _SHORT_HEADER.size + 4 * rows * columns
        if fits and dim in (None, columns):
            return rows, columns, _SHORT_HEADER.size
    # Random floats can start like a pickle, so raw rows count as one only when they
    # end like one too.
    starts_like_pickle = len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5
    if starts_like_pickle and (dim is None or last == b"."):
        raise ValueError(
            "it is a pickle (insightface's verification sets are: JPEG images, not "
            "features), which can run code when opened; extract the features first"
        )
    if dim is None:
        raise ValueError(
            f"no header (rows, columns, 4 × columns, 5, or rows, columns) in its "
            f"{size} bytes; give --dim (dim=), the length of a row, if it has none"
        )
    rows, rest = divmod(size, 4 * dim)
    if rest:
        raise ValueError(
            f"got {size} bytes, expected a multiple of {4 * dim} for float32 rows of "
            f"dim={dim} ({rows} rows and {rest} bytes over); the file is cut short or "
            "--dim (dim=) is wrong"
        )
    return rows, dim, 0


def _check_header(rows: int, columns: int, size: int, dim: int | None) -> None:
    if columns == 1:
        raise ValueError(
            f"a MegaFace file of one image (header {rows}, 1, 4, 5), whose noise-"
            "cleaned form appends a dimension that is not a feature; stack the images "
            "into one [N, D] .npy"
        )
    expected = _HEADER.size + 4 * rows * columns
    if rows < 1 or columns < 1 or size != expected:
        raise ValueError(
            f"got {size} bytes, expected {expected} for the header's {rows} rows × "
            f"{columns} columns; the file is cut short or damaged"
        )
    if dim not in (None, columns):
        raise ValueError(
            f"got dim={dim}, but the file's header says {columns} columns; "
            "leave --dim (dim=) out"
        )
