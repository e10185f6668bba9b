"""An unfinished search on disk: its arrays, and the hash of what they belong to.

The hash is of every row and of all options and versions that decide a bit of the
result. Files of anything else are refused, not mixed in and not overwritten.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import write_arrays
from gfa_jax.neighbors.tiles import Best

_FILE = "neighbors"
# Of the file and of the order of the pairs; another one makes old files other.
_LAYOUT = 1


class Store:
    """The arrays of one search, in files that are replaced as a whole."""

    def __init__(self, folder: pathlib.Path, key: str):
        """Keeps files in `folder`, for the search whose hash is `key`."""
        self._folder = folder
        self._key = key

    def load(self, name: str, fields: Sequence[str]) -> list[np.ndarray] | None:
        """Maps the arrays `fields` of the file `name`; None where there is none.

        Raises:
            ValueError: a file of another search, or one that is damaged.
        """
        path = self._folder / f"{name}.npz"
        if not path.exists():
            return None
        if str(read_array(path, key="key")) != self._key:
            raise ValueError(
                f"{path} is of other rows, options or versions; name another "
                "checkpoint folder, or remove this one to begin anew"
            )
        return [read_array(path, key=field) for field in fields]

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores the arrays of the file `name`, in one step."""
        head = {"key": np.array(self._key)}
        write_arrays(self._folder / f"{name}.npz", head | dict(arrays))

    def keep(
        self, name: str, fields: Sequence[str], make: Callable[[], Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """Loads the arrays, or makes (in the order of `fields`) and stores them."""
        kept = self.load(name, fields)
        if kept is None:
            self.save(name, dict(zip(fields, make(), strict=True)))
            kept = self.load(name, fields)
        assert kept is not None
        return kept

    def read(self, empty: Best) -> tuple[int, Best]:
        """Reads how many pairs of chunks are merged, and the lists after these.

        Of a search that begins these are 0 and the `empty` lists, [K, N].
        """
        kept = self.load(_FILE, ("merged", *Best._fields))
        if kept is None:
            return 0, empty
        # The file is replaced while the lists are in use: they must not map it.
        merged, *stored = map(np.array, kept)
        lists: Any = stored
        return int(merged), Best(*lists)

    def write(self, merged: int, best: Best) -> None:
        """Stores the number of pairs of chunks that are merged, and the lists."""
        self.save(_FILE, {"merged": np.array(merged)} | best._asdict())


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
    return Store(path, digest.hexdigest())
