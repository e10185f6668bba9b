"""An unfinished search on disk: its lists, and the hash of what they are lists of.

The hash is of every row and of all options and versions that decide a bit of the
result. Lists of anything else are refused, not mixed in and not overwritten.
"""

import hashlib
import json
import os
import pathlib
from typing import Any, TypeVar

import jax
import numpy as np

from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import write_arrays
from gfa_jax.neighbors.tiles import Best
from gfa_jax.types import Neighbors

Lists = TypeVar("Lists", Best, Neighbors)

_FILE = "neighbors.npz"
# Of the file and of the order of the pairs; another one makes old files other.
_LAYOUT = 1


class Store:
    """The lists of one search, in one file that is replaced as a whole."""

    def __init__(self, path: pathlib.Path, key: str):
        """Keeps the lists in `path`, for the search whose hash is `key`."""
        self._path = path
        self._key = key

    @property
    def folder(self) -> pathlib.Path:
        """Where else a search may keep what belongs to these lists."""
        return self._path.parent

    def read(self, empty: Lists) -> tuple[int, Lists]:
        """Reads where the search stands.

        Args:
            empty: the lists of a search that begins, [K, N] or [N, K].

        Returns:
            The number of steps that are merged (pairs of chunks, or blocks of
            queries); the lists after these.

        Raises:
            ValueError: a file of another search, or one that is damaged.
        """
        if not self._path.exists():
            return 0, empty
        if str(read_array(self._path, key="key")) != self._key:
            raise ValueError(
                f"{self._path} is of other rows, options or versions; name another "
                "checkpoint folder, or remove this one to begin anew"
            )
        merged = int(read_array(self._path, key="merged"))
        # The file is replaced while the lists are in use: they must not map it.
        stored: Any = (
            np.array(read_array(self._path, key=name)) for name in empty._fields
        )
        return merged, type(empty)(*stored)

    def write(self, merged: int, best: Lists) -> None:
        """Stores where the search stands, in one step.

        Args:
            merged: number of steps.
            best: the lists after them.
        """
        head = {"key": np.array(self._key), "merged": np.array(merged)}
        write_arrays(self._path, head | best._asdict())


def open_store(
    folder: str | os.PathLike[str], rows: Any, options: list[Any], chunk_size: int
) -> Store:
    """Opens the checkpoint folder of a search, and makes it if it is missing.

    Args:
        folder: its path, in a folder that exists.
        rows: [N, D], read once to hash them.
        options: JSON values that decide a bit of the result.
        chunk_size: rows to read at a time.

    Returns:
        Store.

    Raises:
        ValueError: the folder cannot be made.
    """
    path = pathlib.Path(folder)
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot make the checkpoint folder {folder}: {error.strerror or error}"
        ) from error
    digest = hashlib.sha256()
    for start in range(0, len(rows), chunk_size):
        block = np.ascontiguousarray(rows[start : start + chunk_size])
        digest.update(block.reshape(-1).view(np.uint8).data)
    device = jax.devices()[0].device_kind
    environment = [jax.__version__, device, jax.config.read("jax_enable_x64")]
    what = [_LAYOUT, list(rows.shape), str(rows.dtype), options, environment]
    digest.update(json.dumps(what).encode())
    return Store(path / _FILE, digest.hexdigest())
