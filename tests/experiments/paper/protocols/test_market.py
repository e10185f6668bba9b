import numpy as np
import pytest

from experiments.paper.protocols import read_market

NAMES = [
    "-1_c1s1_000401_03.jpg",
    "0000_c1s1_000151_01.jpg",
    "0002_c6s1_000451_03.jpg",
    "1501_c3s3_000000_00.jpg",
    "1501_c4s3_000000_00.jpg",
]


def check(images, rows):
    np.testing.assert_array_equal(images.rows, rows)
    np.testing.assert_array_equal(images.identities, [0, 2, 1501, 1501])
    np.testing.assert_array_equal(images.cameras, [1, 6, 3, 4])
    assert {count.name: count.found for count in images.counts} == {
        "images": 4,
        "identities": 2,
        "distractors": 1,
        "bad detections left out": 1,
    }


def test_a_folder(tmp_path):
    for name in [*reversed(NAMES), "Thumbs.db"]:
        (tmp_path / name).touch()
    images = read_market(tmp_path, subset="gallery")
    assert images.names.tolist() == NAMES[1:]
    check(images, [1, 2, 3, 4])


def test_a_list_of_names(tmp_path):
    path = tmp_path / "gallery.txt"
    listed = [*NAMES[1:3], NAMES[0], *NAMES[3:]]
    path.write_text("".join(f"bounding_box_test/{name}\n" for name in listed))
    images = read_market(path, subset="gallery")
    assert images.names.tolist() == [f"bounding_box_test/{name}" for name in NAMES[1:]]
    check(images, [0, 1, 3, 4])


def test_cameras_of_two_digits(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("0002_c1s1_0.jpg\n0002_c10s1_0.jpg\n0002_c17_0.jpg\n")
    images = read_market(path, subset="query")
    np.testing.assert_array_equal(images.cameras, [1, 10, 17])


@pytest.mark.parametrize(
    ("subset", "expected"),
    [("train", (12936, 751)), ("query", (3368, 750)), ("gallery", (15913, 750))],
)
def test_published_counts(tmp_path, subset, expected):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES))
    counts = read_market(path, subset=subset).counts
    assert tuple(count.expected for count in counts[:2]) == expected


@pytest.mark.parametrize(
    "bad", ["0002_s1.jpg", "a_c1.jpg", "c1_0002.jpg", "-2_c1s1.jpg"]
)
def test_another_name(tmp_path, bad):
    path = tmp_path / "names.txt"
    path.write_text("\n".join([*NAMES, bad]))
    with pytest.raises(
        ValueError,
        match=rf"names.txt, line {len(NAMES) + 1}: got the name '{bad}', expected PERS",
    ):
        read_market(path, subset="query")


def test_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no \.jpg file in the folder"):
        read_market(tmp_path, subset="query")
    with pytest.raises(ValueError, match="No such file"):
        read_market(tmp_path / "none", subset="query")
    with pytest.raises(
        ValueError, match="subset is 'test'; expected one of train, que"
    ):
        read_market(tmp_path, subset="test")  # pyright: ignore[reportArgumentType]
