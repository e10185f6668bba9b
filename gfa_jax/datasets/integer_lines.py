"""Integers in text, a few a line: large protocol lists in NumPy and little memory.

IJB-C's covariate protocol has 47.4 million lines. Blocks of bytes are checked as
arrays (where a number starts, where a line ends, where the commas lie) and converted
in one call; only a malformed block is looked at line by line, to name the line.
"""

import bisect
import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from gfa_jax.datasets.arrays import open_input

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK_BYTES = 8 << 20
_OTHER, _BLANK, _DIGIT, _COMMA, _NEWLINE = range(5)
_KINDS = np.full(256, _OTHER, np.uint8)
_KINDS[list(b" \t\r")] = _BLANK
_KINDS[list(b"0123456789")] = _DIGIT
_KINDS[ord(",")] = _COMMA
_KINDS[ord("\n")] = _NEWLINE
# Numbers too long for int64 come back as its largest; every shorter one is below.
_LIMIT = 10**18


def count_lines(path: str | os.PathLike[str]) -> int:
    """Counts the lines of a text file, the last with or without a line feed.

    Args:
        path: the file.

    Returns:
        Number of lines, >= 1.

    Raises:
        ValueError: missing or empty file.
    """
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

    The first line may be a header: it is skipped if none of its fields is a number.
    The first line of numbers settles how many a line holds and whether commas or
    blanks (spaces, tabs) separate them. Lines end with LF or CRLF. Memory: about 15
    bytes for each byte of a block of 8 MB.

    Args:
        path: the file.
        widths: allowed numbers of integers a line.

    Yields:
        Line number (from 1) of the block's first line, and [m, C] int64 values.

    Raises:
        ValueError: missing or empty file, only a header, or a malformed line, named
            by its number: blank, another number of fields, a sign, a fraction, text,
            or more than 18 digits.
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
    fields = _fields(line)
    return bool(fields) and not any(map(_is_number, fields))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


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
    kinds = _KINDS[np.frombuffer(block, np.uint8)]
    if (kinds == _OTHER).any():
        return None
    digit = kinds == _DIGIT
    begins = digit.copy()
    begins[1:] &= ~digit[:-1]
    ends = np.flatnonzero(kinds == _NEWLINE)
    starts = np.flatnonzero(begins)
    if starts.size != ends.size * width:
        return None
    starts = starts.reshape(-1, width)
    if (starts[:, -1] > ends).any() or (starts[1:, 0] < ends[:-1]).any():
        return None
    separators = np.flatnonzero(kinds == _COMMA)
    if separators.size != commas * ends.size * (width - 1):
        return None
    if commas:
        separators = separators.reshape(-1, width - 1)
        if (separators < starts[:, :-1]).any() or (separators > starts[:, 1:]).any():
            return None
    values = np.fromstring(block.replace(b",", b" "), dtype=np.int64, sep=" ")
    return values.reshape(-1, width) if values.max() < _LIMIT else None


def _malformed(
    block: bytes,
    width: int,
    commas: bool,
    path: str | os.PathLike[str],
    first_line: int,
) -> ValueError:
    lines = block.splitlines(keepends=True)

    # Lines 0..n parse together as long as none of them is malformed.
    def fails(last: int) -> bool:
        return _parse(b"".join(lines[: last + 1]), width, commas) is None

    bad = bisect.bisect_left(range(len(lines)), True, key=fails)
    separator = "commas" if commas else "blanks"
    return ValueError(
        f"{path}, line {first_line + bad}: got {_shown(lines[bad])}, expected {width} "
        f"integers >= 0 separated by {separator}"
    )


def _shown(line: bytes) -> str:
    text = line.strip().decode("utf-8", "replace")
    return (
        repr(text if len(text) <= 40 else text[:40] + "…") if text else "a blank line"
    )
