"""Integers in text, a few a line: large protocol lists in NumPy and little memory.

IJB-C's covariate protocol has 47.4 million lines. NumPy converts them in blocks; only
a malformed block is searched for the line to name.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from gfa_jax.datasets.arrays import open_input

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK_BYTES = 8 << 20


def count_lines(path: str | os.PathLike[str]) -> int:
    """Counts the lines of a text file, the last with or without a line feed."""
    lines, block = 0, b""
    with open_input(path) as file:
        while more := file.read(_BLOCK_BYTES):
            block = more
            lines += block.count(b"\n")
    return lines + (not block.endswith(b"\n"))


def integer_blocks(
    path: str | os.PathLike[str], *, widths: tuple[int, ...]
) -> Iterator[tuple[int, np.ndarray]]:
    """Reads lines of integers >= 0, separated by commas or by blanks, in blocks.

    The first line may be a header: it is skipped if none of its fields is a number. The
    first line of numbers says how many a line holds, one of `widths`, and whether
    commas or blanks (spaces, tabs) separate them. Lines end with LF or CRLF. Yields the
    line number, from 1, of the block's first line, and [m, C] int64. Memory: about 15
    bytes for each byte of a block of 8 MB.

    Raises:
        ValueError: missing or empty file, only a header, or a malformed line, named
            by its number: blank, another number of fields, a negative number, a
            fraction, text, or a number beyond int64.
    """
    line, layout = 1, None
    with open_input(path) as file:
        for block in _whole_lines(file):
            first = block[: block.index(b"\n")]
            if line == 1 and _is_header(first):
                block = block[len(first) + 1 :]
                line = 2
                if not block:
                    continue
                first = block[: block.index(b"\n")]
            if layout is None:
                layout = _find_layout(first, widths, f"{path}, line {line}")
            values = _parse(block, *layout)
            if values is None:
                raise _malformed(block, *layout, path, line)
            yield line, values
            line += len(values)
    if layout is None:
        raise ValueError(f"cannot read {path}: it holds only a header line")


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yields blocks of bytes that end with a line feed."""
    rest = file.read(len(_BYTE_ORDER_MARK)).removeprefix(_BYTE_ORDER_MARK)
    while more := file.read(_BLOCK_BYTES):
        lines, feed, tail = more.rpartition(b"\n")
        if feed:
            yield rest + lines + feed
            rest = tail
        else:
            rest += more
        if len(rest) > _BLOCK_BYTES:
            raise ValueError(
                f"cannot read {file.name}: a line longer than {_BLOCK_BYTES} bytes; it "
                "is not a text file of integers"
            )
    if rest:
        yield rest.removesuffix(b"\n") + b"\n"


def _fields(line: bytes) -> list[bytes]:
    return line.replace(b",", b" ").split()


def _is_header(line: bytes) -> bool:
    """Tells whether no field of a line, which has some, is a number."""
    for field in _fields(line):
        with contextlib.suppress(ValueError):
            float(field)
            return False
    return bool(_fields(line))


def _find_layout(line: bytes, widths: tuple[int, ...], where: str) -> tuple[int, bool]:
    width = len(_fields(line))
    if width not in widths:
        raise ValueError(
            f"{where}: got {_shown(line)}, expected "
            f"{' or '.join(str(width) for width in widths)} integers"
        )
    return width, b"," in line


def _parse(block: bytes, width: int, commas: bool) -> np.ndarray | None:
    """Returns [m, width] int64, or None where any line is malformed."""
    if not block.strip():
        return None  # NumPy warns of it
    try:
        values = np.loadtxt(
            io.StringIO(block.decode("latin-1")),
            np.int64,
            comments=None,
            delimiter="," if commas else None,
            ndmin=2,
        )
    except ValueError:
        return None
    # A blank line is left out without a word.
    is_whole = values.shape == (block.count(b"\n"), width) and values.min() >= 0
    return values if is_whole else None


def _malformed(
    block: bytes,
    width: int,
    commas: bool,
    path: str | os.PathLike[str],
    first_line: int,
) -> ValueError:
    lines = block.splitlines(keepends=True)
    parsed = (_parse(line, width, commas) for line in lines)
    bad = next(at for at, values in enumerate(parsed) if values is None)
    separator = "commas" if commas else "blanks"
    return ValueError(
        f"{path}, line {first_line + bad}: got {_shown(lines[bad])}, expected {width} "
        f"integers >= 0 separated by {separator}"
    )


def _shown(line: bytes) -> str:
    text = line.strip().decode("utf-8", "replace")
    if not text:
        return "a blank line"
    return repr(text if len(text) <= 40 else text[:40] + "…")
