"""Answers, on its standard output, what `hdf5` asks of a file: a program of its own.

The first answer lists name, shape, dtype and offset of every data set as JSON; then a
request is name, start and stop of rows, as raw bytes, or without them a column, as
JSON. It imports nothing of this package, which would take seconds.
"""

import json
import sys
from typing import Any

import h5py
import numpy as np

# No filter of HDF5 makes a file smaller than by this.
_MOST_EXPANSION = 1100


def main(path: str, size: int) -> None:
    """Answers requests until there are no more."""
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        limit = (4 << 30) + 4 * size
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with h5py.File(path, "r") as file:
        for line in sys.stdin:
            request = json.loads(line)
            if request is None:
                _answer(json.dumps(_list(file, size)).encode() + b"\n")
                continue
            name, start, stop = request
            rows: Any = file[name]
            if start is None:
                rows = rows.asstr() if h5py.check_string_dtype(rows.dtype) else rows
                _answer(json.dumps(rows[:].tolist()).encode() + b"\n")
            else:
                _answer(np.ascontiguousarray(rows[start:stop]).tobytes())


def _list(file, size):
    found = []
    file.visititems(lambda name, item: found.append(_describe(name, item, size)))
    return [each for each in found if each is not None]


def _describe(name, item, size):
    """Describes a data set, if its values can be in a file of that size."""
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        return None
    stored = min(item.id.get_storage_size(), size)
    factor = 1 if item.chunks is None else _MOST_EXPANSION
    chunk = np.prod(item.chunks or (0,), dtype=float) * item.dtype.itemsize
    if max(float(item.nbytes), chunk) > stored * factor + (1 << 16):
        raise ValueError(
            f"data set {name!r} claims {item.nbytes} bytes and {stored} are stored"
        )
    dtype = item.dtype.str if item.dtype.kind in "fiu" else None
    return [name, item.shape, dtype, item.id.get_offset()]


def _answer(content):
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
