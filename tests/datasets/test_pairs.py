import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfa_jax import datasets
from gfa_jax.datasets import integer_lines
from gfa_jax.datasets.integer_lines import integer_blocks

INDICES = np.array([[0, 5], [3, 3], [123456789012, 7]])
SAME = np.array([True, False, True])


def read_text(tmp_path, content, name="pairs.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return datasets.read_pairs(path)


def table(same):
    return np.column_stack([INDICES, SAME]) if same else INDICES


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("separator", [",", "\t", " ", "  ", ", ", " ,\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_text(tmp_path, same, header, separator, line_end, last):
    lines = [separator.join(str(value) for value in row) for row in table(same)]
    if header:
        lines.insert(0, separator.join(["i", "j", "same"][: 2 + same]))
    content = line_end.join(lines) + (line_end if last else "")
    for name in ("pairs.csv", "pairs.txt"):
        pairs = read_text(tmp_path, content.encode(), name)
        assert pairs.indices.dtype == np.int64
        np.testing.assert_array_equal(pairs.indices, INDICES)
        if same:
            assert pairs.same is not None
            assert pairs.same.dtype == np.bool_
            np.testing.assert_array_equal(pairs.same, SAME)
        else:
            assert pairs.same is None


def test_byte_order_mark_and_outer_blanks(tmp_path):
    pairs = read_text(tmp_path, b"\xef\xbb\xbf 1, 2 \r\n03 ,4\t\n")
    np.testing.assert_array_equal(pairs.indices, [[1, 2], [3, 4]])


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays(tmp_path, same, dtype, suffix):
    array = table(same) % 1000
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, array.astype(dtype))
    else:
        np.savez(path, pairs=array.astype(dtype))
    pairs = datasets.read_pairs(path)
    np.testing.assert_array_equal(pairs.indices, INDICES % 1000)
    assert pairs.indices.dtype == np.int64
    assert (pairs.same is None) == (not same)
    if pairs.same is not None:
        np.testing.assert_array_equal(pairs.same, SAME)


@given(
    rows=st.lists(st.tuples(*[st.integers(0, 10**18 - 1)] * 3), min_size=1),
    width=st.sampled_from([2, 3]),
    comma=st.booleans(),
    block_bytes=st.integers(60, 200),
)
def test_any_numbers_over_any_blocks(tmp_path_factory, rows, width, comma, block_bytes):
    rows = [row[:width] for row in rows]
    path = tmp_path_factory.mktemp("pairs") / "a.txt"
    separator = "," if comma else " "
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integer_lines, "_BLOCK_BYTES", block_bytes)
        blocks = list(integer_blocks(path, widths=(2, 3)))
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), rows)
    sizes = [len(block) for _, block in blocks]
    assert [line for line, _ in blocks] == [*(1 + np.cumsum([0, *sizes[:-1]]))]


MALFORMED = [
    b"1",
    b"1,2,3",
    b"",
    b"  ",
    b"1,x",
    b"1,-2",
    b"1,2.0",
    b"1,,2",
    b",1,2",
    b"1,2,",
    b"1 2",
    b"1;2",
    b"1,10000000000000000000",
    b"1,99999999999999999999999",
    b"1,2\0",
    b"\xff,1",
]


@pytest.mark.parametrize("bad", MALFORMED)
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("block_bytes", [32, 1 << 20])
def test_malformed_line_is_named(tmp_path, monkeypatch, bad, header, block_bytes):
    monkeypatch.setattr(integer_lines, "_BLOCK_BYTES", block_bytes)
    lines = [b"10,11"] * 20 + [bad] + [b"1,2"] * 5
    content = b"i,j\n" * header + b"\n".join(lines) + b"\n"
    line = 21 + header
    with pytest.raises(
        ValueError, match=rf"pairs\.csv, line {line}: got .*expected 2 integers"
    ) as got:
        read_text(tmp_path, content)
    assert "\n" not in str(got.value)


def test_comma_among_blanks(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: got '3,4', .*separated by blanks"):
        read_text(tmp_path, b"1 2\n3,4\n", "pairs.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\n1,2\n", r"line 1: got .*expected 2 or 3 integers"),
        (b"1,2,3,4\n1,2\n", r"line 1: got .*expected 2 or 3 integers"),
        (b"\n1,2\n", r"line 1: got .*expected 2 or 3 integers"),
        (b"1,x,2,3\n1,2\n", r"line 1: got .*expected 2 or 3 integers"),
        # A number in the first line: it is no header.
        (b"1,x\n1,2\n", "line 1: got"),
        (b"1.5,2\n1,2\n", "line 1: got"),
        (b"-1,2\n1,2\n", "line 1: got"),
        (b"i,j\n", "it holds only a header line"),
        (b"i,j", "it holds only a header line"),
        (b"1,2,0\n3,4,1\n5,6,2\n", "line 3 holds 2, expected same=1 for"),
        (b"i,j,same\n1,2,0\n3,4,5\n", "line 3 holds 5, expected same=1 for"),
    ],
)
def test_refused_text(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_text(tmp_path, content)


def test_binary_file_under_the_name_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(integer_lines, "_BLOCK_BYTES", 64)
    with pytest.raises(ValueError, match="a line longer than 64 bytes"):
        read_text(tmp_path, b"1" * 1000)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4, int), r"expected \[M, 2\] or \[M, 3\]"),
        (np.zeros((4, 4), int), r"expected \[M, 2\] or \[M, 3\]"),
        (np.zeros((2, 2, 2), int), r"expected \[M, 2\] or \[M, 3\]"),
        ([[1.0, 2.5]], r"row 0 holds 2\.5"),
        ([[1, 2, 0], [3, 4, -1]], "row 1 holds -1, expected same=1 for"),
    ],
)
def test_refused_arrays(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        datasets.read_pairs(tmp_path / "a.npy")


INDICES_3 = np.array([[0, 1], [2, 2], [3, 0]])
SAME_3 = np.array([True, True, False])


@pytest.mark.parametrize(
    ("indices", "same", "num_rows", "message"),
    [
        (INDICES_3, SAME_3, 3, "1 of 3 point outside the 3 rows, first pair 2 .*3 and"),
        (INDICES_3 - 1, SAME_3, 4, r"2 of 3 .* first pair 0 .* -1 and 0"),
        (INDICES_3 + 1, None, 4, "they seem to count from 1"),
        (INDICES_3, np.full(3, True), 4, "3 genuine and 0 impostor"),
        (INDICES_3, np.full(3, False), 4, "0 genuine and 3 impostor"),
        (np.zeros((3, 3), int), None, 4, r"expected integers \[M, 2\]"),
        (np.zeros((3, 2)), None, 4, r"expected integers \[M, 2\]"),
        (INDICES_3, np.array([1, 2, 0]), 4, r"dtype int64, expected bool \[3\]"),
        (np.zeros((0, 2), int), None, 4, "got none"),
    ],
)
def test_pairs_that_do_not_fit(indices, same, num_rows, message):
    datasets.check_pairs(datasets.Pairs(INDICES_3, SAME_3), 4)
    with pytest.raises(ValueError, match=message):
        datasets.check_pairs(datasets.Pairs(indices, same), num_rows)


def test_real_file(real_data, tmp_path):
    archive = real_data("lfw.npz")
    np.savetxt(tmp_path / "lfw.csv", archive["pairs"], fmt="%d", delimiter=",")
    np.savez(tmp_path / "lfw.npz", official=archive["pairs"])
    text = datasets.read_pairs(tmp_path / "lfw.csv")
    binary = datasets.read_pairs(tmp_path / "lfw.npz", key="official")
    for got in (text, binary):
        datasets.check_pairs(got, 13233)
        assert got.same is not None and got.same.sum() == 3000
        np.testing.assert_array_equal(got.indices, archive["pairs"][:, :2])
