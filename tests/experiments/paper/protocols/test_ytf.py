import numpy as np
import pytest
import scipy.io

from experiments.paper.protocols import mismatches, read_ytf_mat, read_ytf_splits
from gfa_jax.datasets import check_pairs

NAMES = ["Ann/0", "Ann/3", "Robert_F._Kennedy_Jr./1", "Bo/0"]
#        fold, pair, first, second, same
PAIRS = [(1, 1, 0, 1, 1), (1, 2, 3, 2, 0), (2, 1, 1, 0, 1), (2, 2, 2, 0, 0)]
HEADER = "split number, pair number, first name, second name, is same"


def lines(separator=", ", corrected=False):
    return [
        separator.join(
            [
                str(fold),
                str(pair),
                NAMES[i],
                NAMES[j],
                *([str(1 - same)] if corrected else []),
                str(same),
            ]
        )
        for fold, pair, i, j, same in PAIRS
    ]


def read(tmp_path, content, line_end="\n", last=True):
    path = tmp_path / "splits.txt"
    path.write_bytes((line_end.join(content) + line_end * last).encode())
    return read_ytf_splits(path)


def check(protocol):
    first, second = protocol.names[protocol.pairs.indices].T
    assert first.tolist() == [NAMES[i] for _, _, i, _, _ in PAIRS]
    assert second.tolist() == [NAMES[j] for _, _, _, j, _ in PAIRS]
    np.testing.assert_array_equal(protocol.pairs.same, [1, 0, 1, 0])
    assert protocol.pairs.same.dtype == np.bool_
    np.testing.assert_array_equal(protocol.folds, [0, 0, 1, 1])


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("header", [[], [HEADER]])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("separator", [", ", ","])
def test_the_format(tmp_path, corrected, header, line_end, last, separator):
    content = header + lines(separator, corrected)
    check(read(tmp_path, content, line_end, last))


def test_counts(tmp_path):
    plain = {count.name: count for count in read(tmp_path, lines()).counts}
    assert plain["genuine pairs"][1:] == (2, 2500)
    assert plain["pairs"][1:] == (4, 5000)
    assert plain["folds"][1:] == (2, 10)
    corrected = read(tmp_path, lines(corrected=True)).counts
    assert {count.name: count for count in corrected}["genuine pairs"][1:] == (2, None)


@pytest.mark.parametrize(
    "bad",
    [
        "1, 9, Ann/0, Bo/0",
        "1, 9, Ann/0, Bo/0, 2",
        "1, 9, Ann/0, Bo/0, same",
        "0, 9, Ann/0, Bo/0, 1",
        "1, x, Ann/0, Bo/0, 1",
        "1, 9, , Bo/0, 1",
        "1",
        HEADER,
        "1, 9, Ann/0, Bo/0, 1, 1",
        "-1, 9, Ann/0, Bo/0, 1",
    ],
)
@pytest.mark.parametrize("header", [[], [HEADER]])
def test_malformed_line_is_named(tmp_path, bad, header):
    content = [*header, *lines()[:2], bad, *lines()[2:]]
    with pytest.raises(
        ValueError,
        match=rf"splits\.txt, line {3 + len(header)}: got .*expected 5 fields",
    ) as got:
        read(tmp_path, content)
    assert "\n" not in str(got.value)


def test_neither_five_nor_six_columns(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: .*expected 5 or 6 fields"):
        read(tmp_path, ["1, 1, Ann/0, 1"])


def test_a_pair_number_twice(tmp_path):
    with pytest.raises(
        ValueError, match="line 5: pair 1 of fold 2 stands in line 3 too"
    ):
        read(tmp_path, [*lines(), "2, 1, Ann/0, Bo/0, 0"])


def test_only_a_header(tmp_path):
    with pytest.raises(ValueError, match="only a header"):
        read(tmp_path, [HEADER])


def test_the_official_file(real_data):
    protocol = read_ytf_splits(real_data("ytf_splits.txt"))
    assert mismatches(protocol.counts) == ()
    assert check_pairs(protocol.pairs, len(protocol.names)) == (5000, 2500, 2500, 0)
    for fold in range(10):
        same = np.asarray(protocol.pairs.same)[protocol.folds == fold]
        assert (len(same), same.sum()) == (500, 250)


class TestMat:
    # [pairs a fold, 3, folds], videos from 1
    splits = np.array(
        [
            [(i + 1, j + 1, same) for _, _, i, j, same in PAIRS[k : k + 2]]
            for k in (0, 2)
        ]
    ).transpose(1, 2, 0)

    def read(self, tmp_path, **arrays):
        path = tmp_path / "meta_and_splits.mat"
        content = {
            "video_names": np.array(NAMES, object)[:, None],
            "Splits": self.splits,
            **arrays,
        }
        scipy.io.savemat(path, {k: v for k, v in content.items() if v is not None})
        return read_ytf_mat(path)

    @pytest.mark.parametrize("dtype", [np.float64, np.uint16, np.uint8])
    def test_the_format(self, tmp_path, dtype):
        protocol = self.read(tmp_path, Splits=self.splits.astype(dtype))
        check(protocol)
        assert protocol.names.tolist() == NAMES
        assert protocol.counts[0] == ("videos", 4, 3425)

    @pytest.mark.parametrize(
        ("arrays", "match"),
        [
            ({"Splits": None}, "no array 'Splits'"),
            ({"video_names": None}, "no array 'video_names'"),
            ({"Splits": splits[:, :2]}, r"shape \(2, 2, 2\), expected \[pairs, 3, fol"),
            ({"Splits": splits[:, :, 0]}, r"shape \(2, 3\)"),
            ({"Splits": splits + 0.5}, r"row 0 holds 1\.5"),
            (
                {"Splits": splits + np.array([[1], [0], [0]])},
                "videos 1 to 5 .*expected 1 to 4",
            ),
            ({"Splits": splits - np.array([[1], [0], [0]])}, "videos 0 to 3"),
            ({"Splits": splits + np.array([[0], [0], [1]])}, "labels 1 to 2"),
            (
                {"video_names": np.array(["a", "b", "c", "a"], object)},
                "'a' is listed tw",
            ),
        ],
    )
    def test_refused(self, tmp_path, arrays, match):
        with pytest.raises(ValueError, match=match) as got:
            self.read(tmp_path, **arrays)
        assert "\n" not in str(got.value)

    @pytest.mark.parametrize("content", [b"not a MATLAB file" * 20, b"MATLAB 7.3" * 60])
    def test_another_file(self, tmp_path, content):
        path = tmp_path / "a.mat"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a whole MATLAB file") as got:
            read_ytf_mat(path)
        assert "\n" not in str(got.value)

    def test_cut_short(self, tmp_path):
        self.read(tmp_path)
        path = tmp_path / "meta_and_splits.mat"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="cannot read"):
            read_ytf_mat(path)
