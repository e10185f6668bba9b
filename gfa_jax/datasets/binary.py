"""Float32 matrices in `.bin` files, with and without a header.

The ICCV19 lightweight face recognition challenge stores 16 bytes, four
little-endian int32 (rows, columns, 4 × columns, 5), and then the rows (insightface,
challenges/iccv19-lfr); learn-to-cluster stores the rows alone. Two look-alikes are
refused: insightface's verification sets are pickles of JPEG images, and MegaFace
keeps one image a file under the header (dim, 1, 4, 5).
"""

import os
import struct

import numpy as np

from gfa_jax.datasets.arrays import file_bytes, open_input
from gfa_jax.datasets.atomic import atomic_path, stream_array

_HEADER = struct.Struct("<4i")
_FLOAT32 = np.dtype("<f4")
_FLOAT32_CODE = 5


def read_binary(path: str | os.PathLike[str], *, dim: int | None) -> np.memmap:
    """Memory-maps the float32 matrix [N, D] of a `.bin` file, read-only.

    Without `dim` the header is required. With `dim` the file is raw rows of that
    length, unless it starts with the header: read as floats its four integers would
    be values below 1e-35 in a fixed ratio, which no feature holds, so a header is
    always taken for one. Its columns must then equal `dim`, and its size must fit.

    Raises:
        ValueError: missing or empty file, a size that fits no whole number of rows
            or disagrees with the header, `dim` and header disagree, no header and no
            `dim`, a pickle, or a MegaFace file of one image.
    """
    with open_input(path) as file:
        size = file_bytes(file)
        head = file.read(_HEADER.size)
        file.seek(size - 1)
        last = file.read(1)
        try:
            rows, columns, offset = _layout(head, last, size, dim)
        except ValueError as error:
            raise ValueError(f"cannot read {path}: {error}") from None
        return np.memmap(file, _FLOAT32, "r", offset, (rows, columns))


def write_binary(path: str | os.PathLike[str], features: np.ndarray) -> None:
    """Writes a matrix as float32 under the 16-byte header, atomically, in blocks.

    Raises:
        ValueError: float64, which would lose digits; no row; fewer than 2 columns,
            whose header is MegaFace's; or the file cannot be written.
    """
    rows, columns = features.shape
    if features.dtype.itemsize > _FLOAT32.itemsize:
        raise ValueError(
            f"cannot write {path}: got {features.dtype}, expected float32 or shorter; "
            "cast the features first, or write .npy"
        )
    if rows < 1 or columns < 2:
        raise ValueError(
            f"cannot write {path}: got shape {features.shape}, expected at least 1 row "
            "and 2 columns in a .bin file; write .npy"
        )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_HEADER.pack(rows, columns, 4 * columns, _FLOAT32_CODE))
        for start in range(0, rows, 4096):
            stream_array(file, features[start : start + 4096].astype(_FLOAT32))


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
            f"no header (rows, columns, 4 × columns, 5) in its {size} bytes; "
            "give dim, the length of a row, if the file is raw float32"
        )
    rows, rest = divmod(size, 4 * dim)
    if rest:
        raise ValueError(
            f"got {size} bytes, expected a multiple of {4 * dim} for float32 rows of "
            f"dim={dim} ({rows} rows and {rest} bytes over); the file is cut short or "
            "dim is wrong"
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
            "leave dim out"
        )
