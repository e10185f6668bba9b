import numpy as np
import pytest

from experiments.paper.protocols import mismatches, read_lfw_pairs
from gfa_jax.datasets import check_pairs
from tests.problems import refused

LINES = [
    "Abel_Pacheco\t1\t4",
    "Akhmed_Zakayev\t12\t3",
    "Abel_Pacheco\t1\tAkhmed_Zakayev\t3",
    "Bo\t1000\tAbel_Pacheco\t4",
    "Bo\t2\t3",
    "Bo\t2\t4",
    "Bo\t1\tCy\t1",
    "Cy\t1\tBo\t3",
]
HEADER = "2\t2"


def read(tmp_path, lines, line_end="\n"):
    path = tmp_path / "pairs.txt"
    path.write_bytes((line_end.join(lines) + line_end).encode())
    return read_lfw_pairs(path)


@pytest.mark.parametrize("header", [[], [HEADER], ["2 2"]])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_the_format(tmp_path, header, line_end, separator):
    lines = [line.replace("\t", separator) for line in LINES]
    names, pairs, folds, _ = read(tmp_path, header + lines, line_end)
    first, second = names[pairs.indices].T
    assert first.tolist()[:4] == [
        "Abel_Pacheco/Abel_Pacheco_0001.jpg",
        "Akhmed_Zakayev/Akhmed_Zakayev_0012.jpg",
        "Abel_Pacheco/Abel_Pacheco_0001.jpg",
        "Bo/Bo_1000.jpg",
    ]
    assert second.tolist()[:4] == [
        "Abel_Pacheco/Abel_Pacheco_0004.jpg",
        "Akhmed_Zakayev/Akhmed_Zakayev_0003.jpg",
        "Akhmed_Zakayev/Akhmed_Zakayev_0003.jpg",
        "Abel_Pacheco/Abel_Pacheco_0004.jpg",
    ]
    assert len(names) == len(set(names.tolist()))
    np.testing.assert_array_equal(pairs.same, [1, 1, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(folds, [0, 0, 0, 0, 1, 1, 1, 1])
    check_pairs(pairs, len(names))


def test_blanks_in_names(tmp_path):
    names, pairs, _, _ = read(tmp_path, ["Ann Lee\t1\t2", "Person 1\t1\tPerson 2\t2"])
    np.testing.assert_array_equal(pairs.same, [True, False])
    assert names[pairs.indices].tolist() == [
        ["Ann Lee/Ann Lee_0001.jpg", "Ann Lee/Ann Lee_0002.jpg"],
        ["Person 1/Person 1_0001.jpg", "Person 2/Person 2_0002.jpg"],
    ]


def test_counts(tmp_path):
    assert mismatches(read(tmp_path, [HEADER, *LINES]).counts) == ()
    found = mismatches(read(tmp_path, LINES).counts)
    assert [(count.name, count.expected) for count in found] == [
        ("folds", 10),
        ("pairs", 6000),
        ("genuine pairs", 3000),
        ("impostor pairs", 3000),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "Bo\t1",
        "Bo\t1\tx",
        "Bo\t1\t1",
        "Bo\t1\t0",
        "Bo\t1\t-2",
        "Bo\t1\tBo\t2",
        "Bo\t1\tCy",
        "10",
        "Bo\t1\t2\t3\t4",
        "Bo\tx\tCy\t1",
    ],
)
@pytest.mark.parametrize("header", [[], [HEADER]])
def test_malformed_line_is_named(tmp_path, bad, header):
    refused(
        rf"pairs\.txt, line {3 + len(header)}: got .*expected 'name i",
        read,
        tmp_path,
        [*header, *LINES[:2], bad, *LINES[3:]],
    )


@pytest.mark.parametrize(
    "kept", [LINES[:-1], LINES[:4], LINES[1:], [*LINES, "Bo\t1\t9"]]
)
def test_a_number_of_pairs_that_is_not_the_headers(tmp_path, kept):
    with pytest.raises(
        ValueError, match="expected 2 of each in each of the header's 2"
    ):
        read(tmp_path, [HEADER, *kept])


def test_the_official_file(real_data):
    protocol = read_lfw_pairs(real_data("lfw_pairs.txt"))
    assert mismatches(protocol.counts) == ()
    check_pairs(protocol.pairs, len(protocol.names))
    same = protocol.pairs.same
    assert same is not None and (len(same), same.sum()) == (6000, 3000)
    np.testing.assert_array_equal(protocol.folds, np.repeat(np.arange(10), 600))
    pairs = real_data("lfw.npz")
    np.testing.assert_array_equal(protocol.pairs.same, pairs["pairs"][:, 2])
    # One row is one image: the same partition of the 12,000 places in the list.
    ours, theirs = protocol.pairs.indices.ravel(), pairs["pairs"][:, :2].ravel()
    distinct = len({*zip(ours.tolist(), theirs.tolist(), strict=True)})
    assert distinct == len(protocol.names) == len(np.unique(theirs))
