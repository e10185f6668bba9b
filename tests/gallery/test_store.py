"""A gallery in a folder: what comes back, what is gone, and what is refused."""

import math
import pathlib
import shutil

import numpy as np
import pytest

from gfa_jax import datasets, gallery
from gfa_jax.datasets import fingerprints
from gfa_jax.gallery import store

ROWS = datasets.synthetic_features(num_rows=260, dim=16, seed=4).features
TEXTS = ["ana", "Änne", "a\nb", "x" * 999, "-1", "nan", "\udc80", "人", " ", "a\0"]
IDS = [*TEXTS, *map(str, range(len(TEXTS), 200))]


def assert_equal(found: gallery.Gallery, expected: gallery.Gallery) -> None:
    for name in gallery.Gallery._fields:
        given, wanted = getattr(found, name), getattr(expected, name)
        if name in store.ROW_AXIS:
            rows = (slice(None),) * store.ROW_AXIS[name] + (slice(expected.count),)
            given, wanted = given[rows], wanted[rows]
        np.testing.assert_array_equal(given, wanted, err_msg=name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "made"
    store.create(folder, ROWS[:200], IDS)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return pathlib.Path(shutil.copytree(made, tmp_path / "copy"))


def test_what_is_saved_comes_back(folder):
    found = store.load(folder, whole=True)
    assert_equal(found.gallery, gallery.create(ROWS[:200]))
    assert found.ids == IDS and found.number == 1
    assert isinstance(found.gallery.stages, np.memmap)
    # Numbers are of the kind that they were, none of them a NaN in the file.
    assert type(found.gallery.count) is int and type(found.gallery.center) is float


def test_a_change_is_saved_and_what_is_removed_is_in_no_file(folder):
    store.change(folder, lambda stored: store.add(stored, ROWS[200:], range(900, 960)))
    grown = store.load(folder)
    assert grown.ids == [*IDS, *map(str, range(900, 960))] and grown.number == 2
    removed = [IDS[3], IDS[199], "907"]
    saved = store.change(folder, lambda stored: store.remove(stored, removed))
    left = store.load(folder)
    assert_equal(left.gallery, saved.gallery)
    assert {*left.ids} == {*grown.ids} - {*removed} and left.number == 3
    assert left.gallery.count == len(left.ids)
    # Neither the texts nor a row is left anywhere.
    gone = [IDS[3].encode(), *(ROWS[row].tobytes() for row in (3, 199, 207))]
    for path in folder.iterdir():
        content = path.read_bytes()
        assert not any(each in content for each in gone), path
    # A number that was given once is not given again.
    again = store.add(left, ROWS[3:4])
    assert again.ids[-1] == str(grown.next_key)


def test_a_change_finds_damage_in_a_large_file_too(folder, monkeypatch):
    monkeypatch.setattr(fingerprints, "_QUICK", 0)
    (stages,) = folder.glob("stages-*")
    stages.write_bytes(stages.read_bytes()[:-1] + b"x")
    assert store.load(folder).number == 1
    with pytest.raises(ValueError, match="is not whole: stages-"):
        store.change(folder, lambda stored: store.add(stored, ROWS[200:], range(60)))
    assert stages.exists()


def test_numbers_that_are_none_come_back(folder):
    store.change(
        folder,
        lambda stored: stored._replace(
            gallery=stored.gallery._replace(half_cosine=math.nan)
        ),
    )
    assert math.isnan(store.load(folder).gallery.half_cosine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: store.add(s, ROWS[200:], ["ana", *range(59)]),
            "2 of 60 ids|ids are",
        ),
        (lambda s: store.add(s, ROWS[200:], [7] * 60), "the id '7' is given twice"),
        (lambda s: store.add(s, ROWS[200:], [None] * 60), "row 0 has the id None"),
        (lambda s: store.add(s, ROWS[200:], [2.5] * 60), "row 0 has the id 2.5"),
        (lambda s: store.add(s, ROWS[200:], ["a"]), "got 1 ids of 60 rows"),
        (lambda s: store.add(s, ROWS[200:, :8]), "8"),
        (lambda s: store.remove(s, ["ana", "Anna"]), "1 of 2 ids are not in the gal"),
        (lambda s: store.remove(s, ["ana", "ana"]), "given twice"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(folder, change, message):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=message) as told:
        store.change(folder, change)
    assert "\n" not in str(told.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds a gallery already"):
        store.create(folder, ROWS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / f"face-{'0' * 16}.npy").write_text("mine")
    # What a creation left that was killed does not count.
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / f"stages-{'0' * 16}.npy").write_bytes(b"half")
    store.create(tmp_path / "killed", ROWS[:60])
    assert not (tmp_path / "killed" / f"stages-{'0' * 16}.npy").exists()
    for name in ("other", "faces"):
        with pytest.raises(ValueError, match="holds other files already"):
            store.create(tmp_path / name, ROWS)
    with pytest.raises(ValueError, match=r"cannot make .*notes\.txt"):
        store.create(tmp_path / "other" / "notes.txt", ROWS)
    with pytest.raises(ValueError, match="NaN"):
        store.create(tmp_path / "new", np.full((3, 2), np.nan))
    monkeypatch.setattr(gallery, "create", None)  # ids are refused before the work
    with pytest.raises(ValueError, match="given twice"):
        store.create(tmp_path / "new", ROWS, ["ana"] * len(ROWS))
    assert not (tmp_path / "new").exists()


def test_another_layout_is_refused(folder, monkeypatch):
    monkeypatch.setattr(store, "_ARRAYS", store._ARRAYS | {"more"})
    with pytest.raises(ValueError, match="holds other arrays than this version"):
        store.load(folder)
