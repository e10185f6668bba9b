"""Arrays on disk that a team of processes fills, each its rows, stage by stage.

The arrays of a stage appear when every process has written its part, and have the hash
of all that decides their bits in their names: a rerun, of any number of processes, goes
on after the last stage that was finished. Rows are written, not mapped, so that a full
disk is an error; what is mapped to be read is given back piece by piece.
"""

import contextlib
import mmap
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gfa_jax.datasets import resumable
from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import write_header

# Of the rows that a chunk leads to, in float32.
_CHUNK_BYTES = 2**27
# Chunks are whole multiples of it.
_GRAIN = 1024
# Bytes of a map that are read before its pages are given back.
_MOST_MAPPED = 2**28

Outline = tuple[tuple[int, ...], Any]  # shape and dtype
Writer = Callable[[int, np.ndarray], None]  # writes rows, the first at this number


class Team(NamedTuple):
    """Which process of how many this is; by default the only one.

    Attributes:
        number: of this process, in [0, size).
        size: P, how many there are.
        wait: returns when all processes have called it, as often as this one has; all
            then see what each has written. It raises where another one has failed.
    """

    number: int = 0
    size: int = 1
    wait: Callable[[], None] = lambda: None

    def own(self, num_rows: int, *, grain: int = 1) -> range:
        """Returns the rows of this process, whole multiples of `grain`, maybe none."""
        grains = -(-num_rows // grain)
        first, stop = (grains * p // self.size for p in (self.number, self.number + 1))
        return range(min(first * grain, num_rows), min(stop * grain, num_rows))


class Workspace(NamedTuple):
    """A folder of stages, the hash of what they depend on, and who fills them."""

    folder: pathlib.Path
    key: str
    team: Team = Team()

    def extend(self, value: Any) -> "Workspace":
        """Adds a JSON value to what the stages to come depend on."""
        return self._replace(key=resumable.extend(self.key, value))

    def path(self, stage: str, name: str) -> pathlib.Path:
        """Returns the file of an array of a stage."""
        return self.folder / f"{stage}-{name}-{self.key[:16]}.npy"

    def fill(
        self,
        stage: str,
        outlines: Mapping[str, Outline],
        work: Callable[[dict[str, Writer]], None],
    ) -> dict[str, np.ndarray]:
        """Maps the arrays of a stage, which is done first where it is not yet.

        Every process calls this at the same point. Outlines are by name, as are what
        `work` is given, to write its rows of each array, and the read-only memory maps
        of all rows that come back. A file that cannot be written, here or in another
        process, is a ValueError.
        """
        is_first = self.team.number == 0
        paths = {name: self.path(stage, name) for name in outlines}
        parts = {name: path.with_suffix(".part") for name, path in paths.items()}
        try:
            if is_first:  # which alone decides
                self.folder.mkdir(exist_ok=True)
                for part in parts.values():
                    part.unlink(missing_ok=True)
                if not all(path.exists() for path in paths.values()):
                    for name, (shape, dtype) in outlines.items():
                        _make(parts[name], shape, np.dtype(dtype))
            self.team.wait()
            is_done = not any(part.exists() for part in parts.values())
            if not is_done:
                with contextlib.ExitStack() as stack:
                    files = {
                        n: stack.enter_context(p.open("r+b", 0))
                        for n, p in parts.items()
                    }
                    work({n: _writer(file, *outlines[n]) for n, file in files.items()})
                    for file in files.values():
                        os.fsync(file.fileno())
                self.team.wait()
                if is_first:
                    for name, part in parts.items():
                        part.replace(paths[name])
            self.team.wait()
        except OSError as error:
            raise ValueError(
                f"cannot write to {self.folder}: {error.strerror or error}; the same "
                "command goes on after the last finished stage"
            ) from error
        return {
            name: read_array(path, key=name).view(outlines[name][1])
            for name, path in paths.items()
        }


def _make(path: pathlib.Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    with path.open("wb") as file:
        write_header(file, shape, dtype)
        file.truncate(file.tell() + int(np.prod(shape)) * dtype.itemsize)


def _writer(file: Any, shape: tuple[int, ...], dtype: Any) -> Writer:
    """Returns what writes rows to a file that ends with the rows of an array."""
    row_bytes = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    begin = os.fstat(file.fileno()).st_size - shape[0] * row_bytes

    def write(start: int, rows: np.ndarray) -> None:
        values = np.ascontiguousarray(rows, dtype).reshape(-1).view(np.uint8).data
        file.seek(begin + start * row_bytes)
        while values:
            values = values[file.write(values) :]

    return write


def chunk_rows(num_rows: int, width: int, dim: int) -> int:
    """Says how many rows are handled at once with the candidates that they lead to."""
    size = max(_GRAIN, _CHUNK_BYTES // (4 * width * dim) // _GRAIN * _GRAIN)
    return min(size, -(-num_rows // _GRAIN) * _GRAIN)


def release(array: Any) -> None:
    """Gives the pages of a memory map back, which count as memory of this process."""
    owner = _map_of(array)
    if owner is not None and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def take(array: Any, numbers: np.ndarray) -> np.ndarray:
    """Reads rows by their sorted numbers; of a memory map at most 256 MB at a time."""
    if _map_of(array) is None:
        return array[numbers]
    rows = np.empty((len(numbers), *array.shape[1:]), array.dtype)
    step = max(1, _MOST_MAPPED // max(1, array.nbytes // len(array)))
    start = 0
    while start < len(numbers):
        stop = int(np.searchsorted(numbers, numbers[start] + step))
        rows[start:stop] = array[numbers[start:stop]]
        release(array)
        start = stop
    return rows


def _map_of(array: Any) -> mmap.mmap | None:
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array
