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


@pytest.mark.parametrize("first", [b"1", b"1,2,3,4", b"", b"1,x,2,3"])
def test_first_line_settles_the_columns(tmp_path, first):
    with pytest.raises(ValueError, match=r"line 1: got .*expected 2 or 3 integers"):
        read_text(tmp_path, first + b"\n1,2\n")


@pytest.mark.parametrize("first", [b"1,x", b"1.5,2", b"-1,2"])
def test_first_line_with_a_number_is_no_header(tmp_path, first):
    with pytest.raises(ValueError, match="line 1: got"):
        read_text(tmp_path, first + b"\n1,2\n")


def test_only_a_header(tmp_path):
    for content in (b"i,j\n", b"i,j"):
        with pytest.raises(ValueError, match="it holds only a header line"):
            read_text(tmp_path, content)


@pytest.mark.parametrize("header", [b"", b"i,j,same\n"])
def test_same_is_neither_0_nor_1(tmp_path, header):
    line = 3 + bool(header)
    with pytest.raises(ValueError, match=f"line {line}: got same=2, expected 1 for"):
        read_text(tmp_path, header + b"1,2,0\n3,4,1\n5,6,2\n")
    np.save(tmp_path / "a.npy", [[1, 2, 0], [3, 4, -1]])
    with pytest.raises(ValueError, match="row 1: got same=-1"):
        datasets.read_pairs(tmp_path / "a.npy")


def test_binary_file_under_the_name_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(integer_lines, "_BLOCK_BYTES", 64)
    with pytest.raises(ValueError, match="a line longer than 64 bytes"):
        read_text(tmp_path, b"1" * 1000)


def test_arrays_of_other_shapes_and_values(tmp_path):
    path = tmp_path / "a.npy"
    for shape in [(4,), (4, 4), (2, 2, 2)]:
        np.save(path, np.zeros(shape, int))
        with pytest.raises(ValueError, match=r"expected \[M, 2\] or \[M, 3\]"):
            datasets.read_pairs(path)
    np.save(path, [[1.0, 2.5]])
    with pytest.raises(ValueError, match=r"row 0 holds 2\.5"):
        datasets.read_pairs(path)


class TestCheck:
    pairs = datasets.Pairs(
        np.array([[0, 1], [2, 2], [3, 0]]), np.array([True, True, False])
    )

    def test_counts(self):
        assert datasets.check_pairs(self.pairs, 4) == (3, 2, 1, 1)
        unknown = datasets.Pairs(self.pairs.indices, None)
        assert datasets.check_pairs(unknown, 4) == (3, None, None, 1)

    def test_a_row_with_itself_is_left_out(self):
        pairs = datasets.drop_self_pairs(self.pairs)
        np.testing.assert_array_equal(pairs.indices, [[0, 1], [3, 0]])
        np.testing.assert_array_equal(pairs.same, [True, False])

    def test_outside_the_features(self):
        with pytest.raises(
            ValueError, match=r"1 of 3 point outside the 3 rows, first pair 2 .*3 and 0"
        ):
            datasets.check_pairs(self.pairs, 3)
        negative = self.pairs._replace(indices=self.pairs.indices - 1)
        with pytest.raises(ValueError, match=r"2 of 3 .* first pair 0 .* -1 and 0"):
            datasets.check_pairs(negative, 4)

    @pytest.mark.parametrize(
        ("value", "counts"),
        [(True, "3 genuine and 0 impostor"), (False, "0 genuine and 3 impostor")],
    )
    def test_one_kind_only(self, value, counts):
        with pytest.raises(ValueError, match=f"got {counts} pairs"):
            datasets.check_pairs(self.pairs._replace(same=np.full(3, value)), 4)

    def test_other_shapes_and_dtypes(self):
        with pytest.raises(ValueError, match=r"expected integers \[M, 2\]"):
            datasets.check_pairs(datasets.Pairs(np.zeros((3, 3), int), None), 4)
        with pytest.raises(ValueError, match=r"expected integers \[M, 2\]"):
            datasets.check_pairs(datasets.Pairs(np.zeros((3, 2)), None), 4)
        with pytest.raises(ValueError, match=r"dtype int64, expected bool \[3\]"):
            datasets.check_pairs(self.pairs._replace(same=np.array([1, 2, 0])), 4)
        with pytest.raises(ValueError, match="got none"):
            datasets.check_pairs(datasets.Pairs(np.zeros((0, 2), int), None), 4)


def test_real_file(real_data, tmp_path):
    archive = real_data("lfw.npz")
    np.savetxt(tmp_path / "lfw.csv", archive["pairs"], fmt="%d", delimiter=",")
    np.savez(tmp_path / "lfw.npz", official=archive["pairs"])
    text = datasets.read_pairs(tmp_path / "lfw.csv")
    binary = datasets.read_pairs(tmp_path / "lfw.npz", key="official")
    for got in (text, binary):
        assert datasets.check_pairs(got, 13233) == (6000, 3000, 3000, 0)
        np.testing.assert_array_equal(got.indices, archive["pairs"][:, :2])
