"""Lines of text, one at a time, with the number by which an error names them."""

import os
import re
import unicodedata
from collections.abc import Iterator

from gfa_jax.datasets.arrays import open_input

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_SHOWN = 60
# Far beyond any line of a protocol, far below what a binary file could fill.
_LINE_BYTES = 1 << 16


def text_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Reads the lines of a UTF-8 text file that ends with LF or CRLF, or with neither.

    Args:
        path: the file. Blank lines may follow the last one, and a byte order mark may
            come before the first.

    Yields:
        Line number from 1, and the line in Unicode's form NFC, without blanks at its
        ends.

    Raises:
        ValueError: missing or empty file, a blank line between others, text that is
            not UTF-8, a zero byte, or a line longer than 64 KiB.
    """
    number, blank = 0, 0
    with open_input(path) as file:
        while raw := file.readline(_LINE_BYTES):
            number += 1
            if len(raw) == _LINE_BYTES or b"\0" in raw:
                raise ValueError(f"{path}, line {number}: not a line of text")
            if number == 1:
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            try:
                line = unicodedata.normalize("NFC", raw.decode()).strip()
            except UnicodeDecodeError:
                raise ValueError(f"{path}, line {number}: not UTF-8 text") from None
            if not line:
                blank = blank or number
                continue
            if blank:
                raise ValueError(f"{path}, line {blank}: blank, with lines after it")
            yield number, line
    if blank == 1:
        raise ValueError(f"cannot read {path}: it holds only blank lines")


def to_integer(field: str) -> int | None:
    """Converts up to 18 digits, blanks around them or not; None for other text."""
    field = field.strip()
    return int(field) if _INTEGER.fullmatch(field) else None


def malformed(
    path: str | os.PathLike[str], number: int, line: str, expected: str
) -> ValueError:
    """Builds the error that names a line, what it holds and what it should hold."""
    shown = line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
    return ValueError(f"{path}, line {number}: got {shown!r}, expected {expected}")
