import numpy as np
import pytest

from experiments.paper.protocols import mismatches, read_ytf_splits
from gfa_jax.datasets import check_pairs
from tests.problems import refused

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
    refused(
        rf"splits\.txt, line {3 + len(header)}: got .*expected 5 fields",
        read,
        tmp_path,
        content,
    )


def test_neither_five_nor_six_columns(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: .*expected 5 or 6 fields"):
        read(tmp_path, ["1, 1, Ann/0, 1"])


def test_a_pair_number_twice(tmp_path):
    with pytest.raises(
        ValueError, match="line 5: pair 1 of fold 2 stands in line 3 too"
    ):
        read(tmp_path, [*lines(), "2, 1, Ann/0, Bo/0, 0"])


def test_the_official_file(real_data):
    protocol = read_ytf_splits(real_data("ytf_splits.txt"))
    assert mismatches(protocol.counts) == ()
    check_pairs(protocol.pairs, len(protocol.names))
    same = protocol.pairs.same
    assert same is not None and (len(same), same.sum()) == (5000, 2500)
    for fold in range(10):
        same = np.asarray(protocol.pairs.same)[protocol.folds == fold]
        assert (len(same), same.sum()) == (500, 250)
