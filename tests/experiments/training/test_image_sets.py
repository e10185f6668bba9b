"""Images from files: what is good is read, what is not is named and counted."""

import numpy as np
import pytest
from PIL import Image

from experiments.training import image_sets


@pytest.fixture
def folder(tmp_path, rng):
    """Three people; one has one image."""
    for person, count in (("anna", 3), ("bert", 2), ("carl", 1)):
        (tmp_path / person).mkdir()
        for number in range(count):
            pixels = rng.integers(256, size=(20, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / person / f"{number}.png")
    return tmp_path


def test_a_folder_becomes_grey_squares_numbered_by_name(folder):
    images = image_sets.read_folder(str(folder), size=16)
    assert images.images.shape == (6, 16, 16) and images.images.dtype == np.uint8
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 2]
    with Image.open(folder / "anna" / "1.png") as image:
        expected = image.convert("L").resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images.images[1], expected)
    assert image_sets.describe(images)["identities_of_one_image"] == 1
    assert image_sets.troubles(images) == [
        "1 identities have one image: they are trained on, and in the test they make "
        "impostor pairs only"
    ]


def test_unreadable_and_duplicate_files_are_named_and_left_out(folder):
    (folder / "anna" / "empty.png").touch()
    (folder / "bert" / "text.jpg").write_text("no image")
    whole = (folder / "anna" / "0.png").read_bytes()
    (folder / "bert" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bert" / "twin.png").write_bytes(whole)
    (folder / "empty").mkdir()
    (folder / "readme.txt").write_text("beside the people")
    (folder / "anna" / ".hidden").touch()
    images = image_sets.read_folder(str(folder), size=16)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 2]
    named = [entry.split(":")[0] for entry in images.skipped]
    assert named == ["anna/empty.png", "bert/cut.png", "bert/text.jpg"]
    assert images.skipped[0].endswith("the file is empty")
    assert images.duplicates == ("bert/twin.png (as anna/0.png)",)
    first, second, _ = image_sets.troubles(images)
    assert first.startswith("3 unreadable files were skipped: anna/empty.png")
    assert second.startswith("1 files have the bytes of another one")


def test_folders_without_two_people_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        image_sets.read_folder(str(tmp_path / "missing"), size=16)
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "0.png").touch()
    with pytest.raises(ValueError, match=r"0 readable .*anna/0.png: the file is empty"):
        image_sets.read_folder(str(tmp_path), size=16)


def read(path, **options):
    given = {"images_key": "images", "labels_key": "labels", "transpose": False}
    return image_sets.read_array_file(str(path), **(given | options))


def test_an_array_file_is_read_as_it_is_described(tmp_path, rng):
    pixels = rng.integers(256, size=(5, 9, 9)).astype(np.uint8)
    labels = np.array(["x", "y", "x", "z", "z"])
    pixels[4] = pixels[1]
    np.savez(
        tmp_path / "a.npz", images=pixels, labels=labels, flat=pixels.reshape(5, 81)
    )
    images = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(images.images, pixels[:4])
    assert images.labels.tolist() == [0, 1, 0, 2]
    assert images.duplicates == ("image 4 (as 1)",)
    flat = read(tmp_path / "a.npz", images_key="flat").images
    np.testing.assert_array_equal(flat, pixels[:4])
    turned = read(tmp_path / "a.npz", transpose=True).images
    np.testing.assert_array_equal(turned, pixels[:4].transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 9, 9)), np.arange(3), "float64"),
        (np.zeros((3, 9, 8), np.uint8), np.arange(3), "square"),
        (np.zeros((3, 4, 4), np.uint8), np.arange(3), "at least 8 pixels"),
        (np.zeros((0, 9, 9), np.uint8), np.arange(0), "."),
        (np.zeros((3, 9, 9), np.uint8), np.arange(2), "2"),
        (np.array([{}, {}]), np.arange(2), "object"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, images, labels, message):
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.npz")


def test_real_images_are_read(real_data, tmp_path):
    file = real_data("orl_images.npz")
    np.savez(tmp_path / "orl.npz", images=file["features"], labels=file["labels"])
    images = read(tmp_path / "orl.npz", transpose=True)
    assert images.images.shape[1:] == (32, 32) and images.num_identities == 40
