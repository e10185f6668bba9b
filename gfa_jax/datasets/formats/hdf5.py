"""`.h5`, `.hdf5`: data sets by name, read by h5py in a process of its own.

The C library underneath can hang or die of a damaged file; there it does so alone.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from gfa_jax.datasets import arrays
from gfa_jax.datasets.formats.table import (
    Table,
    Wanted,
    array_name,
    block_rows,
    blocks,
    find_array,
    find_column,
    one_column,
)

_CHILD = pathlib.Path(__file__).with_name("hdf5_child.py")
# Without a word for so long, the child hangs; a slow disk reads the second in a second.
_SILENT_SECONDS, _BYTES_A_SECOND = 4.0, 20e6


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Reads one data set, mapped where it lies in one piece; others are the columns."""
    with arrays.open_input(path) as file:
        size = arrays.file_bytes(file)
    seconds = _SILENT_SECONDS + size / _BYTES_A_SECOND
    with _child(path, size, seconds) as ask:
        found = {name: told for name, *told in json.loads(ask(None))}
        shapes = {name: shape for name, (shape, *_) in found.items()}
        if wanted.only:
            names = [name for name, shape in shapes.items() if len(shape) == 1]
            if not names:
                raise ValueError(f"no data set of a value a row; it holds {[*shapes]}")
            name = names[find_column(names, wanted)]
            yield one_column(name, _column(ask, name))
            return
        key = (wanted.key or "").strip("/") or None
        name = find_array(shapes, key)
        shape, dtype, offset = found[name]
        if len(shape) != 2 or dtype is None:
            raise ValueError(f"data set {name!r} has shape {shape}; expected [N, D]")
        same = [each for each, shape_ in shapes.items() if shape_ == shape[:1]]
        columns = {each.replace("/", "_"): _column(ask, each) for each in same}
        dtype = np.dtype(dtype)
        row_bytes = shape[1] * dtype.itemsize
        if offset is not None and 0 <= offset <= size - shape[0] * row_bytes:
            yield Table(
                np.memmap(path, dtype, "r", offset, tuple(shape)), columns, (name,)
            )
            return
        step = block_rows(row_bytes)
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            content = ask([name, start, stop], (stop - start) * row_bytes)
            rows = np.frombuffer(content, dtype).reshape(stop - start, shape[1])
            own = {each: values[start:stop] for each, values in columns.items()}
            yield Table(rows, own, (name,))


def write(path: pathlib.Path, table: Table) -> None:
    """Writes vectors and columns as data sets."""
    with h5py.File(path, "w") as file:
        if table.vectors:
            rows = file.create_dataset(
                array_name(table), table.features.shape, table.features.dtype
            )
            start = 0
            for block in blocks(table.features):
                rows[start : start + len(block)] = block
                start += len(block)
        for each, values in table.columns.items():
            is_text = values.dtype.kind in "OU"
            options = {"dtype": h5py.string_dtype()} if is_text else {}
            file.create_dataset(
                each or "index", data=values.tolist() if is_text else values, **options
            )


def _column(ask: Any, name: str) -> np.ndarray:
    values = json.loads(ask([name, None, None]))
    is_text = any(isinstance(each, str) for each in values)
    return np.array(values, object if is_text else None)


@contextlib.contextmanager
def _child(path: pathlib.Path, size: int, seconds: float) -> Iterator[Any]:
    """Yields what sends the child a request and returns its answer."""
    command = [sys.executable, "-P", str(_CHILD), str(path), str(size)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        stdin, stdout, stderr = child.stdin, child.stdout, child.stderr
        assert stdin and stdout and stderr

        def ask(request: Any, count: int | None = None) -> bytes:
            timer = threading.Timer(seconds, child.kill)
            timer.start()
            try:
                with contextlib.suppress(BrokenPipeError):
                    stdin.write(json.dumps(request).encode() + b"\n")
                    stdin.flush()
                answer = stdout.readline() if count is None else stdout.read(count)
                if answer.endswith(b"\n") or (count and len(answer) == count):
                    return answer
                reason = stderr.read().decode("utf-8", "replace").strip()
            finally:
                timer.cancel()
            reason = reason.splitlines()[-1] if reason else "the HDF5 library failed"
            raise ValueError(f"cannot read {path}: {reason}; is it whole?")

        try:
            yield ask
        finally:
            child.kill()
