import numpy as np
import pytest

from experiments.paper.protocols import (
    Count,
    match_folders,
    match_names,
    mismatches,
)
from experiments.paper.protocols.counts import count_pairs
from tests.problems import refused


@pytest.mark.parametrize(
    ("name", "row_name"),
    [
        ("A/A_0001.jpg", "A/A_0001.jpg"),
        ("A/A_0001.jpg", "lfw/A/A_0001.png"),
        ("A/A_0001.jpg", "A_0001.JPEG"),
        ("../Data/Images/001/frontal/01.jpg", "001/frontal/01.jpg"),
        ("A/0", r"frames\A\0"),
        ("Robert_F._Kennedy_Jr./0", "Robert_F._Kennedy_Jr./0"),
        ("img/1.png", "./1.png"),
        ("Zoe\u0308/1.png", "Zo\u00eb/1.png"),
    ],
)
def test_one_image_by_two_names(name, row_name):
    np.testing.assert_array_equal(match_names([name], ["z/y/x.jpg", row_name]), [1])


def test_repeats_and_order():
    rows = match_names(np.array(["b.jpg", "a.jpg", "b.jpg"]), ["a.png", "b.png"])
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows, [1, 0, 1])


@pytest.mark.parametrize(
    ("names", "row_names", "match"),
    [
        (["A/0", "B/0"], ["A/0", "C/0"], "1 of 2 are not among the 2 .* 'B/0'"),
        (["A/0"], ["0", "0"], "'0' stands for more than one row"),
        (["A/0", "B/0"], ["0"], "'0' stands for more than one row or name"),
        (["A/0"], ["x/A/0", "y/A/0"], "'A/0' stands for more than one"),
        ([""], ["a"], "got an empty one"),
        (["a"], ["../"], "got an empty one"),
        (["a"], [], "1 of 1 are not among the 0"),
    ],
)
def test_refused(names, row_names, match):
    refused(match, match_names, names, row_names)


def test_frames_lie_in_the_folders_of_their_videos():
    frames = ["A/1/0.10.jpg", "A/0/0.2.jpg", r"B\1\x.jpg", "A/1/0.11.jpg"]
    segments = match_folders(frames, np.array(["A/0", "A/1", "B/1"]))
    np.testing.assert_array_equal(segments, [1, 0, 2, 1])
    with pytest.raises(ValueError, match=r"1 of 3 are not .* 'B\\\\1'|'B/1'"):
        match_folders(frames, ["A/0", "A/1"])


def test_counts():
    counts = count_pairs(np.array([True, False, False]), total=3, genuine=2)
    assert counts == (
        Count("pairs", 3, 3),
        Count("genuine pairs", 1, 2),
        Count("impostor pairs", 2, None),
    )
    assert mismatches(counts) == (Count("genuine pairs", 1, 2),)
    assert [str(count) for count in counts] == [
        "3 pairs (expected 3)",
        "1 genuine pairs (expected 2)",
        "2 impostor pairs",
    ]
    assert str(Count("pairs", 47404001, 47404001)) == (
        "47,404,001 pairs (expected 47,404,001)"
    )
