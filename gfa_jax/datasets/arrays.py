"""NumPy files, memory-mapped where they can be, and never unpickled.

A `.npy` file is a header and the raw values; an uncompressed member of a `.npz` is
the same thing at an offset, so both are mapped instead of loaded. The header's
shape must account for every byte: a file cut short or grown is refused.
"""

import contextlib
import json
import lzma
import math
import os
import pathlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from gfa_jax.datasets.reading import check_room, one_line_errors

_BAD_NPY = (ValueError, EOFError, SyntaxError, TypeError, tokenize.TokenError)
_BAD_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(NotImplementedError, RuntimeError, OverflowError, KeyError),
)
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1


def open_input(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file for reading in binary; the caller closes it.

    A ValueError refuses a missing, unreadable or empty file, a folder and a device.
    """
    source = pathlib.Path(path)
    try:
        if source.exists() and not source.is_file():
            kind = "a folder" if source.is_dir() else "a device or pipe"
            raise ValueError(f"cannot read {path}: it is {kind}; name a file")
        file = source.open("rb")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    if file_bytes(file) == 0:
        file.close()
        raise ValueError(f"cannot read {path}: the file is empty")
    return file


def read_json(path: str | os.PathLike[str], expected: str) -> Any:
    """Reads JSON; a ValueError refuses anything else, and says what was expected."""
    with open_input(path) as file:
        try:
            return json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"cannot read {path}: no JSON ({error}); expected {expected}"
            ) from error


def read_head(
    path: pathlib.Path, types: Mapping[str, type], kind: tuple[str, int]
) -> dict[str, Any]:
    """Reads the file of JSON that says what a folder holds: `kind`, and these values.

    `kind` is its format and version.
    """
    expected = f"a folder of the format {kind[0]!r}"
    if not path.is_file():
        raise ValueError(
            f"cannot read {path.parent}: there is no {path.name} in it; expected "
            f"{expected}"
        )
    head = read_json(path, expected)
    check_types(head, {"format": str, "version": int, **types}, str(path))
    told = head["format"], head["version"]
    if told != kind:
        raise ValueError(
            f"{path}: got format and version {told}, expected {kind}; make it again "
            "with this version"
        )
    return head


def check_types(entry: Any, types: Mapping[str, type], name: str) -> None:
    """Refuses what is no JSON object with values of these types."""
    for key, kind in types.items():
        value = entry.get(key) if isinstance(entry, dict) else None
        if type(value) is not kind:
            raise ValueError(f"{name}: {key} is {value!r}; expected {kind.__name__}")


def file_bytes(file: BinaryIO) -> int:
    """Returns the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def known_suffix(
    path: str | os.PathLike[str], verb: str, suffixes: Sequence[str]
) -> str:
    """Returns the suffix of a path in lower case, and refuses one that is not known.

    The ValueError says what was to be done, `verb`, and which are known.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in suffixes:
        raise ValueError(
            f"cannot {verb} {path}: got the suffix {suffix!r}, expected one of "
            f"{', '.join(suffixes)}"
        )
    return suffix


@one_line_errors
def read_array(path: str | os.PathLike[str], *, key: str) -> np.ndarray:
    """Reads the array of a `.npy` file, or the array `key` of a `.npz` file.

    A `.npy` file and an uncompressed `.npz` member are memory-mapped read-only: no
    memory is used until values are touched. A mapped `.npz` member may be unaligned,
    which NumPy and JAX handle, and its checksum is not verified, which would read it
    whole. A compressed member is loaded and verified; an array of the other byte order
    is loaded and its bytes are swapped.

    Args:
        path: `.npy` or `.npz`.
        key: name of the array in a `.npz`.

    Returns:
        The array in its stored shape and dtype, in the byte order of this machine.

    Raises:
        ValueError: missing, empty, truncated, oversized or corrupt file, an object
            array (a pickle), no array of that name, or another suffix.
    """
    suffix = known_suffix(path, "read", (".npy", ".npz"))
    with open_input(path) as file:
        if suffix == ".npy":
            array = _map_npy(file, start=0, length=file_bytes(file), source=str(path))
        else:
            with damaged(path), zipfile.ZipFile(file) as archive:
                array = _read_member(archive, file, key, str(path))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


@contextlib.contextmanager
def damaged(path: str | os.PathLike[str]) -> Iterator[None]:
    """Refuses what fails in the block as a damaged archive."""
    try:
        yield
    except _BAD_ZIP as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"cannot read {path}: not a whole .npz archive ({reason}); copy or save it "
            "again"
        ) from error


def npz_shapes(path: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Reads the shapes of the arrays of a `.npz` file, by name."""
    with open_input(path) as file, damaged(path), zipfile.ZipFile(file) as archive:
        shapes = {}
        for member in archive.infolist():
            name, suffix, _ = member.filename.rpartition(".npy")
            if suffix and not member.flag_bits & _ENCRYPTED:
                with archive.open(member) as stream:
                    length, source = member.file_size, f"{path}, array {name!r}"
                    shapes[name] = _read_header(stream, length=length, source=source)[0]
        return shapes


def whole_numbers(array: np.ndarray, *, name: str, first_row: int = 0) -> np.ndarray:
    """Converts [N, ...] integers, or floats that hold whole numbers, to int64.

    Errors call the array `name` and number its rows from `first_row`.

    Raises:
        ValueError: a fraction, NaN, Inf, a value beyond what its dtype holds exactly
            (2**24 for float32) or beyond int64, or another dtype.
    """
    if array.dtype.kind in "bi":
        return array.astype(np.int64)
    if array.dtype.kind == "u":
        exact = array <= np.iinfo(np.int64).max
        limit = "whole numbers below 2**63"
    elif array.dtype.kind == "f":
        digits = min(np.finfo(array.dtype).nmant + 1, 62)
        exact = (np.abs(array) <= 2.0**digits) & (np.trunc(array) == array)
        limit = f"whole numbers up to 2**{digits}, all that {array.dtype} holds exactly"
    else:
        raise ValueError(
            f"{name}: got dtype {array.dtype}, expected integers; save them as int64"
        )
    check_entries(exact, array, name=name, expected=limit, first=first_row)
    return array.astype(np.int64)


def check_entries(
    good: np.ndarray,
    values: np.ndarray,
    *,
    name: str,
    expected: str,
    first: int = 0,
    unit: str = "row",
) -> None:
    """Refuses the first of the values that is not `good`; both are [N, ...].

    The ValueError names its row, or line, counted from `first`.
    """
    if not good.all():
        at = tuple(int(axis) for axis in np.argwhere(~good)[0])
        raise ValueError(
            f"{name}: {unit} {first + at[0]} holds {values[at]}, expected {expected}"
        )


def _read_member(
    archive: zipfile.ZipFile, file: BinaryIO, key: str, path: str
) -> np.ndarray:
    source = f"{path}, array {key!r}"
    held = archive.namelist()
    if f"{key}.npy" not in held:
        names = ", ".join(name.removesuffix(".npy") for name in held)
        raise ValueError(
            f"cannot read {path}: no array {key!r} in it; it holds {names}"
        )
    member = archive.getinfo(f"{key}.npy")
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"cannot read {source}: it is encrypted; save it in the clear")
    if member.compress_type == zipfile.ZIP_STORED:
        start = _start_of_member(file, member)
        return _map_npy(file, start=start, length=member.file_size, source=source)
    with archive.open(member) as stream:
        _read_header(stream, length=member.file_size, source=source)
        check_room(member.file_size, path)
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)


def _start_of_member(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    # The central directory gives the local header only; its name and extra field,
    # whose lengths may differ from the directory's, come before the data.
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile(f"no local header for {member.filename}")
    name_bytes = int.from_bytes(header[26:28], "little")
    extra_bytes = int.from_bytes(header[28:30], "little")
    return member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def _map_npy(file: BinaryIO, *, start: int, length: int, source: str) -> np.ndarray:
    file.seek(start)
    shape, fortran_order, dtype = _read_header(file, length=length, source=source)
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    if start + length > file_bytes(file):
        raise ValueError(f"cannot read {source}: the file is cut short")
    return np.memmap(
        file,
        dtype=dtype,
        mode="r",
        offset=file.tell(),
        shape=shape,
        order="F" if fortran_order else "C",
    )


def _read_header(
    stream: Any, *, length: int, source: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads an npy header whose array must fill `length` bytes, header included."""
    start = stream.tell()
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(stream)
        else:
            header = np.lib.format.read_array_header_2_0(stream)
    except _BAD_NPY as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(
            f"cannot read {source}: not a whole .npy array ({reason})"
        ) from error
    shape, _, dtype = header
    if dtype.hasobject:
        raise ValueError(
            f"cannot read {source}: an object array is a pickle, which can run code "
            "when opened; save it with a number or string dtype"
        )
    expected = stream.tell() - start + math.prod(shape) * dtype.itemsize
    if expected != length or min(shape, default=0) < 0:
        raise ValueError(
            f"cannot read {source}: got {length} bytes, expected {expected} for shape "
            f"{shape} and dtype {dtype}; the file is cut short or damaged"
        )
    return header
