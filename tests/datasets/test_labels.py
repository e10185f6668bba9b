import csv

import numpy as np
import pytest

from gfa_jax import datasets, metrics

INTEGERS = np.array([3, -1, 3, 2**62, 0])
STRINGS = np.array(["Ann Lee", "Zoë", "Ann Lee", "7b", 'a "b", c'])
both_kinds = pytest.mark.parametrize("labels", [INTEGERS, STRINGS], ids=["int", "str"])


def read_text(tmp_path, content, suffix=".txt", **options):
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(content)
    return datasets.read_labels(path, **options)


@both_kinds
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".meta", ".txt", ".csv"])
def test_every_format(tmp_path, suffix, labels):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, labels)
    elif suffix == ".npz":
        np.savez(path, labels=labels)
    elif suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["label"], *([entry] for entry in labels)])
    else:
        path.write_text("".join(f"{entry}\n" for entry in labels), encoding="utf-8")
    got = datasets.read_labels(path)
    np.testing.assert_array_equal(got, labels)
    assert got.dtype == labels.dtype


@pytest.mark.parametrize(
    "content",
    [
        b"3\n-1\n7\n",
        b"3\n-1\n7",
        b"3\r\n-1\r\n7\r\n",
        b"\xef\xbb\xbf3\n-1\n007\n",
        b" 3\n-1 \n+7\n",
    ],
)
@pytest.mark.parametrize("suffix", [".meta", ".txt", ".csv"])
def test_integers_as_text(tmp_path, content, suffix):
    got = read_text(tmp_path, content, suffix)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [3, -1, 7])


def test_whole_numbers_of_pandas(tmp_path):
    got = read_text(tmp_path, b"who,x\n3.0,a\n,b\n3,c\n-1.0,d\n", ".csv", column="who")
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [3, -1, 3, -1])


@pytest.mark.parametrize("odd", ["1.5", "n3", "1_0", "٣", "9" * 19, "1e3"])
def test_one_other_entry_makes_them_strings(tmp_path, odd):
    got = read_text(tmp_path, f"3\n{odd}\n007\n".encode())
    np.testing.assert_array_equal(got, ["3", odd, "007"])


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"1\n\n2\n", 2), (b"1\r\n2\r\n \r\n3", 3), (b"1\n\n", 2), (b"\n1\n", 1)],
)
def test_blank_line(tmp_path, content, line):
    with pytest.raises(ValueError, match=f"line {line}: blank"):
        read_text(tmp_path, content, ".meta")
    if b" " not in content:
        with pytest.raises(ValueError, match=f"line {line}: blank"):
            read_text(tmp_path, content, ".csv")


def test_not_text(tmp_path):
    with pytest.raises(ValueError, match="line 2: not UTF-8 text"):
        read_text(tmp_path, b"ok\n\xff\xfe\n")
    with pytest.raises(ValueError, match="line 2: a zero byte"):
        read_text(tmp_path, b"ok\n\0\n")


class TestTable:
    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize(
        ("header", "column"),
        [
            (b"file,label,id", None),
            (b"file,Labels,id", None),
            (b"file,SUBJECT_ID,age", None),
            (b"file,identity,age", None),
            (b"file,ID,age", None),
            (b"file,who,label", "who"),
            (b"file,WHO,label", "who"),
            (b"who,WHO,label", "WHO"),
            (b"a,b,c", "b"),
            (b"a,b,c", "1"),
            (None, "1"),
        ],
    )
    def test_column(self, tmp_path, header, column, line_end):
        lines = [b"x.jpg,5,1", b'"y,1.jpg",6,2', b"z.jpg,5,3", b""]
        content = line_end.join(lines if header is None else [header, *lines])
        got = read_text(tmp_path, content, ".csv", column=column)
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, [5, 6, 5])

    @pytest.mark.parametrize(
        ("content", "labels"),
        [
            (b"Ann\nBob\nAnn\n", ["Ann", "Bob", "Ann"]),
            (b"person\n4\n5\n", [4, 5]),  # a header: the only entry without a number
        ],
    )
    def test_the_only_column(self, tmp_path, content, labels):
        got = read_text(tmp_path, content, ".csv")
        np.testing.assert_array_equal(got, labels)

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize(
        ("lines", "column", "message"),
        [
            (
                b"file,person a,1",
                None,
                r"usual name.*--labels_column.*'file', 'person'",
            ),
            (b"file,person a,1", "who", r"the name 'who'.*: 'file', 'person'"),
            (b"a,b 1,2", "-1", r"the name '-1'; .*\(0 to 1\)"),
            (b"a,b 1,2", "2", r"the name '2'; .*\(0 to 1\)"),
            (b"label,label 1,2", None, r"columns \[0, 1\] are all named 'label'"),
            (b"label,file 1,a 2,b,c", None, "line 3: got 3 fields, expected 2"),
            (b"label,file 1,a  2,b", None, "line 3: blank"),
            (b'label,file "1,a', None, "line 2: "),
            (b"label,file", None, "only a header line"),
        ],
    )
    def test_refused(self, tmp_path, lines, column, message, line_end):
        content = lines.replace(b" ", line_end)
        with pytest.raises(ValueError, match=message):
            read_text(tmp_path, content, ".csv", column=column)

    def test_column_of_a_file_of_labels_alone(self, tmp_path):
        with pytest.raises(ValueError, match=r"column='a', which a file of one label"):
            read_text(tmp_path, b"1\n2\n", ".txt", column="a")


class TestArrays:
    def test_name(self, tmp_path):
        np.savez(tmp_path / "a.npz", who=np.array([1, 2], np.int8), age=np.arange(2))
        got = datasets.read_labels(tmp_path / "a.npz", column="who")
        assert got.dtype == np.int64
        with pytest.raises(ValueError, match=r"no column .*'who', 'age'"):
            datasets.read_labels(tmp_path / "a.npz")

    def test_whole_floats(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([1.0, 2.0], np.float32))
        assert datasets.read_labels(tmp_path / "a.npy").dtype == np.int64

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.array([1.0, 1.5]), "row 1 holds 1.5, expected whole numbers"),
            (np.ones((3, 1), int), r"got shape \(3, 1\), expected \[N\]"),
            (np.array([b"\xff"]), "bytes that are not UTF-8"),
        ],
    )
    def test_refused(self, tmp_path, array, message):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(ValueError, match=message):
            datasets.read_labels(tmp_path / "a.npy")


class TestUnknown:
    def test_known_identities(self):
        for labels in (
            [3, -1, 3, 0],
            ["a", "", "b", "a"],
            ["a", "NaN", "b", "a"],
            ["7", "-1", "7", "8"],
            [1.0, np.nan, 2.0, 1.0],
            np.array(["a", None, "b", "a"], object),
            np.array(["a", np.nan, "b", "a"], object),
            np.array([b"a", b"", b"b", b"a"]),
            np.array([3, None, 4, 3], object),
        ):
            known = datasets.known_identities(labels)
            np.testing.assert_array_equal(known, [True, False, True, True])

    @pytest.mark.parametrize("entry", [b"", b"nan", b"-1"])
    def test_of_a_table(self, tmp_path, entry):
        got = read_text(tmp_path, b"file,label\na,4\nb,%s\nc,5\n" % entry, ".csv")
        np.testing.assert_array_equal(got, [4, -1, 5])
        got = read_text(tmp_path, b"file,label\na,Ann\nb,%s\nc,Bo\n" % entry, ".csv")
        np.testing.assert_array_equal(datasets.known_identities(got), [1, 0, 1])

    def test_nan_in_an_array(self, tmp_path):
        np.save(tmp_path / "a.npy", [4.0, np.nan, 5.0])
        got = datasets.read_labels(tmp_path / "a.npy")
        np.testing.assert_array_equal(got, [4, -1, 5])


def test_strings_as_pandas_and_h5py_keep_them(tmp_path):
    names = ["Zoe\u0308", "Ann", "Zo\u00eb"]  # one name in two Unicode forms
    encoded = np.array([name.encode() for name in names])
    for labels in (np.array(names, object), encoded, names):
        codes, classes = datasets.encode_labels(labels)
        np.testing.assert_array_equal(codes, [1, 0, 1])
        np.testing.assert_array_equal(classes, ["Ann", "Zo\u00eb"])
        assert metrics.cluster_scores(labels, [0, 1, 0]).pairwise.f_score == 1
        rows = np.eye(2)[[0, 1, 0]]
        assert metrics.all_pairs_roc(rows, labels).roc.num_genuine == 1
        ranked = metrics.rank_gallery(rows, rows, labels, labels, own_rows=np.arange(3))
        assert ranked.counted.sum() == 2
    np.save(tmp_path / "a.npy", encoded)
    got = datasets.read_labels(tmp_path / "a.npy")
    np.testing.assert_array_equal(got, ["Zo\u00eb", "Ann", "Zo\u00eb"])
    text = "".join(f"{name}\n" for name in names).encode()
    np.testing.assert_array_equal(read_text(tmp_path, text), got)


def test_unknown_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"'\.lst', expected one of \.npy"):
        datasets.read_labels(tmp_path / "a.lst")


@both_kinds
def test_encode(labels):
    codes, classes = datasets.encode_labels(labels)
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(classes[codes], labels)
    np.testing.assert_array_equal(classes, np.unique(labels))
    np.testing.assert_array_equal(np.unique(codes), np.arange(len(classes)))


@pytest.mark.parametrize(
    ("labels", "num_rows", "message"),
    [
        (INTEGERS, 7, "got 5, expected 7, one a feature row"),
        (STRINGS, 4, "or is a header line among them"),
        (np.ones(3), 3, "got dtype float64"),
        (np.array(["a", 1], object), 2, r"labels\.astype\(str\)"),
        (np.array([[1], [2]]), 2, r"got shape \(2, 1\)"),
        (np.array(3), 1, r"got shape \(\)"),
        (np.zeros(0, int), 0, "got none"),
    ],
)
def test_labels_that_do_not_fit(labels, num_rows, message):
    datasets.check_labels(INTEGERS, 5)
    with pytest.raises(ValueError, match=message):
        datasets.check_labels(labels, num_rows)


def test_real_file(real_data, tmp_path):
    labels = real_data("lfw.npz")["labels"]
    np.savetxt(tmp_path / "lfw.meta", labels, fmt="%d")
    got = datasets.read_labels(tmp_path / "lfw.meta")
    np.testing.assert_array_equal(got, labels)
    assert len(datasets.encode_labels(got)[1]) == 5749
