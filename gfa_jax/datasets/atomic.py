"""Files that appear whole or not at all.

A writer fills a temporary file in the destination's own folder; only when it is
complete and flushed to the disk is it renamed over the destination, which the file
system does in one step. A reader therefore sees the old file or the new one, never
half of either, and a failed write leaves the old file untouched.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import stat
import types
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gfa_jax.datasets.arrays import known_suffix

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_BLOCK_BYTES = 16 << 20


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path that becomes `path` when the block succeeds.

    The temporary lies in the folder of `path`, exists already (empty) and has the
    same suffix. It is removed on any failure, KeyboardInterrupt included; a process
    killed outright leaves a hidden file `.gfa_jax-*` and the old `path` whole. Where
    `path` is a symbolic link, the file it points to is replaced; a file that is
    replaced hands on its permissions.

    Args:
        path: of the file to write.

    Yields:
        The temporary path.

    Raises:
        ValueError: `path` is a folder, a device or read-only, its folder is missing
            or not writable, or the disk is full. An OSError about another file
            passes through as it is.
    """
    destination = pathlib.Path(os.path.realpath(path))
    _check_destination(path, destination)
    temporary = destination.with_name(
        f".gfa_jax-{secrets.token_hex(8)}{destination.suffix}"
    )
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        if destination.exists():
            temporary.chmod(stat.S_IMODE(destination.stat().st_mode))
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(destination)
        _flush_folder(destination.parent)
    except OSError as error:
        if error.filename is not None and pathlib.Path(error.filename) != temporary:
            raise
        raise ValueError(
            f"cannot write {path}: {error.strerror or error}; nothing was written"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a read-only disk refuses even this
            temporary.unlink(missing_ok=True)


def lock_folder(folder: pathlib.Path) -> int | None:
    """Locks a folder until the descriptor returned is closed; no file is left.

    A BlockingIOError tells that another process has. None where the system locks no
    folder, as Windows and some network file systems.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes text as UTF-8, newlines as they are, atomically.

    Args:
        path: see `atomic_path`, also for what it raises.
        text: of the whole file.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes strict JSON, atomically; NumPy values become plain ones.

    Args:
        path: see `atomic_path`.
        value: of mappings, sequences, strings and numbers.

    Raises:
        ValueError: NaN or Inf, which JSON cannot hold; what `atomic_path` refuses.
    """
    text = json.dumps(
        value, indent=2, allow_nan=False, ensure_ascii=False, default=_plain
    )
    write_text(path, text + "\n")


def write_array(path: str | os.PathLike[str], array: ArrayLike) -> dict[str, Any]:
    """Writes one array of any dtype but object as `.npy`, atomically, in blocks.

    bfloat16 is stored as NumPy stores it, two raw bytes a value (`V2`). Of an array on
    a device a block is written while the next one is on its way.

    Args:
        path: see `atomic_path`, also for what it raises.
        array: of any shape.

    Returns:
        `fingerprints.fingerprint` of the file, of which every block was hashed while it
        was written.
    """
    known_suffix(path, "write", (".npy",))
    rows: Any = array if hasattr(array, "copy_to_host_async") else np.asarray(array)
    digest, size = hashlib.sha256(), 0
    with (
        concurrent.futures.ThreadPoolExecutor(1) as hasher,
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
    ):

        def write(data: Any) -> None:
            nonlocal size
            hashed = hasher.submit(digest.update, data)
            file.write(data)
            hashed.result()
            size += memoryview(data).nbytes

        write_npy(types.SimpleNamespace(write=write), rows)
    return {"bytes": size, "sha256": digest.hexdigest()}


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, ArrayLike]) -> None:
    """Writes arrays by name as an uncompressed `.npz`; see `write_array`.

    The same arrays give the same bytes: no clock enters the file.

    Args:
        path: see `atomic_path`, also for what it raises.
        arrays: name -> array.
    """
    known_suffix(path, "write", (".npz",))
    with atomic_path(path) as temporary:
        write_npz(temporary, arrays)


def stream_array(file: Any, array: np.ndarray) -> None:
    """Appends the values of `array` to a binary file, row-major, block by block.

    No header; a memory-mapped array is never held in memory whole.
    """
    rows = array if array.ndim else array.reshape(1)
    row_bytes = max(1, rows.nbytes // max(1, len(rows)))
    step = max(1, _BLOCK_BYTES // row_bytes)
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    for block in _ahead(blocks):
        values = np.ascontiguousarray(block)
        file.write(values.reshape(-1).view(np.uint8).data)


def _ahead(blocks: Iterable[Any]) -> Iterator[Any]:
    """Lets the next block come from its device while one is in use."""
    waiting = []
    for block in blocks:
        if hasattr(block, "copy_to_host_async"):
            block.copy_to_host_async()
        waiting.append(block)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def write_npz(path: pathlib.Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes the archive of `write_arrays`, not atomically."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as file:
                write_npy(file, np.asarray(array))


def write_npy(file: Any, array: np.ndarray) -> None:
    """Writes a header and the values; no object array, which is a pickle."""
    if array.dtype.hasobject:
        raise ValueError(
            f"got an array of dtype {array.dtype}, which only a pickle can hold; "
            "give it a number or string dtype"
        )
    write_header(file, array.shape, array.dtype)
    stream_array(file, array)


def write_header(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Begins a `.npy` of row-major values, which `stream_array` goes on with."""
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _check_destination(path: str | os.PathLike[str], destination: pathlib.Path) -> None:
    fault = None
    if destination.is_dir():
        fault = "it is a folder; name a file in it"
    elif not destination.parent.is_dir():
        fault = f"there is no folder {destination.parent}; create it first"
    elif destination.exists() and not destination.is_file():
        fault = "it is a device or pipe; name a regular file"
    # A rename replaces even a read-only file, which an ordinary write would refuse.
    elif destination.exists() and not os.access(destination, os.W_OK):
        fault = "it is read-only; name another file"
    if fault is not None:
        raise ValueError(f"cannot write {path}: {fault}")


def _flush_folder(folder: pathlib.Path) -> None:
    # The rename is done by now; some systems cannot flush a folder, and the file
    # is whole either way.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"got a {type(value).__name__}, which JSON cannot hold")
