"""The door that every reader of files stands behind, whatever the bytes are."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

Reader = TypeVar("Reader", bound=Callable[..., Any])
_MEMINFO = pathlib.Path("/proc/meminfo")
_LONGEST = 300


def one_line_errors(read: Reader) -> Reader:
    """Makes a function of a path give data, or an error of one line.

    What a library raises on damaged bytes (zlib, a JSON that nests too deep, a size
    beyond the memory) becomes a ValueError that names the file. An OSError that the
    system gave, and an ImportError, pass.
    """

    @functools.wraps(read)
    def guard(path: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return read(path, *arguments, **options)
        except Exception as error:
            if isinstance(error, ImportError) or getattr(error, "errno", None):
                raise
            reason = " ".join(str(error).split())
            is_told = str(path) in reason and isinstance(error, ValueError)
            if is_told and "\n" not in str(error):
                raise
            if len(reason) > _LONGEST:
                reason = reason[:_LONGEST] + "…"
            if not isinstance(error, ValueError):
                kind = type(error).__name__
                reason = f"cannot read {path}: {kind}: {reason}; is it whole?"
            elif not is_told:
                reason = f"cannot read {path}: {reason}"
            raise ValueError(reason) from error

    return guard  # type: ignore[return-value]


def check_room(size: int, what: str | os.PathLike[str]) -> None:
    """Refuses to hold more bytes than there is free memory, where the system tells."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return
    told = dict(line.split()[:2] for line in lines)
    free = 1024 * int(told.get("MemAvailable:", 2**53))
    if size > free:
        raise ValueError(
            f"cannot read {what}: it needs {size / 1e9:,.1f} GB and {free / 1e9:,.1f} "
            "GB of memory are free; gfa refine --streamed keeps it in a file"
        )
