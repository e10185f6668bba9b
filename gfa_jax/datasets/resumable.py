"""Unfinished work on disk, with the hash of everything that decides its bits.

The hash is of all rows, options and versions on which a result depends. Files of
anything else are refused, not mixed in and not overwritten. A file is written beside
its final place and renamed, so that a kill at any moment leaves the one before.
"""

import hashlib
import json
import os
import pathlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import write_arrays

# Of the files and of the order of the work; another one makes old files other.
_LAYOUT = 2
_BLOCK_ROWS = 8192
# Python 3.11 fails where two threads parse headers at once (its issue 106905).
_PARSING = threading.Lock()


def content_hash(arrays: Iterable[Any], options: Sequence[Any]) -> str:
    """Hashes arrays, JSON options, and the software and device that compute with them.

    An array is anything with a shape, a dtype and slices of rows, read in blocks; a
    number; or None.
    """
    digest, shapes = hashlib.sha256(), []
    for array in arrays:
        if not getattr(array, "shape", ()):
            array = np.ravel(np.asarray([] if array is None else array))
        shapes.append([list(array.shape), str(array.dtype)])
        for start in range(0, len(array), _BLOCK_ROWS):
            block = np.ascontiguousarray(array[start : start + _BLOCK_ROWS])
            digest.update(block.reshape(-1).view(np.uint8).data)
    device = jax.devices()[0].device_kind
    environment = [jax.__version__, device, jax.config.read("jax_enable_x64")]
    digest.update(json.dumps([_LAYOUT, shapes, options, environment]).encode())
    return digest.hexdigest()


def extend(before: str, value: Any) -> str:
    """Hashes a hash and a JSON value."""
    text = json.dumps([before, value], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The arrays of one piece of work, in files that are replaced as a whole."""

    def __init__(self, folder: pathlib.Path, key: str):
        """Keeps files in `folder`, for the work whose hash is `key`."""
        self._folder = folder
        self._key = key

    def load(self, name: str, fields: Sequence[str]) -> list[np.ndarray] | None:
        """Maps the named arrays of the file `name`.npz; None where there is none.

        A file of other work, or one that is damaged, is a ValueError.
        """
        path = self._folder / f"{name}.npz"
        if not path.exists():
            return None
        with _PARSING:
            if str(read_array(path, key="key")) != self._key:
                raise ValueError(
                    f"{path} is of other inputs, options or versions; name another "
                    "checkpoint, or remove this one to begin anew"
                )
            return [read_array(path, key=field) for field in fields]

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores the arrays of the file `name`.npz, in one step."""
        head = {"key": np.array(self._key)}
        write_arrays(self._folder / f"{name}.npz", head | dict(arrays))


def open_store(
    folder: str | os.PathLike[str], rows: Any, options: Sequence[Any]
) -> Store:
    """Opens the checkpoint folder of a piece of work, and makes it if it is missing.

    Args:
        folder: its path, in a folder that exists; a ValueError where it cannot be made.
        rows: [N, D], read once to hash them.
        options: JSON values that decide a bit of the result.
    """
    path = pathlib.Path(folder)
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot make the checkpoint folder {folder}: {error.strerror or error}"
        ) from error
    return Store(path, content_hash([rows], options))
