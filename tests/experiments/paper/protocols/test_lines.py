import pytest

from experiments.paper.protocols import lines
from experiments.paper.protocols.lines import text_lines, to_integer
from tests.problems import refused


def read(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    return list(text_lines(path))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n \n"])
def test_lines_with_their_numbers(tmp_path, line_end, end):
    got = read(
        tmp_path, line_end.join([b"\xef\xbb\xbfa b", b" c\t", "é".encode()]) + end
    )
    assert got == [(1, "a b"), (2, "c"), (3, "é")]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"a\n\nb\n", "line 2: blank, with lines after it"),
        (b"\n\na\n", "line 1: blank"),
        (b"\n \n", "only blank lines"),
        (b"a\n\xff\xfe\n", "line 2: not UTF-8"),
        (b"a\nb\0c\n", "line 2: not a line of text"),
        (b"a\n" + b"b" * lines._LINE_BYTES, "line 2: not a line of text"),
        (b"", "the file is empty"),
    ],
)
def test_refused(tmp_path, content, match):
    refused(match, read, tmp_path, content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("0", 0),
        (" 007 ", 7),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("٣", None),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("a", None),
    ],
)
def test_integers(field, value):
    assert to_integer(field) == value
