"""Folders of shards: what was written is what is read, and damage is refused."""

import hashlib
import json
import shutil

import ml_dtypes
import numpy as np
import pytest

from gfa_jax import datasets


@pytest.fixture
def features(rng):
    return rng.standard_normal((23, 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, features):
    datasets.write_shards(tmp_path / "pool", features, rows_per_shard=7)
    return tmp_path / "pool"


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def write(folder, manifest):
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("rows_per_shard", [1, 10, 100])
def test_what_was_written_is_read(tmp_path, features, dtype, rows_per_shard):
    stored = features.astype(dtype)
    datasets.write_shards(tmp_path, stored, rows_per_shard=rows_per_shard)
    got = datasets.read_shards(tmp_path)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, stored)


def test_the_manifest_says_what_is_there(folder, features):
    manifest = manifest_of(folder)
    assert {name: manifest[name] for name in ("rows", "width", "dtype")} == {
        "rows": 23,
        "width": 5,
        "dtype": "float32",
    }
    assert [entry["rows"] for entry in manifest["shards"]] == [7, 7, 7, 2]
    for entry in manifest["shards"]:
        content = (folder / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert len(list(folder.iterdir())) == 5


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 23), (0, 1), (6, 8), (7, 14), (20, 23), (3, 22)]
)
def test_rows_across_parts(folder, features, start, stop):
    rows = datasets.read_rows(datasets.open_shards(folder), start, stop)
    np.testing.assert_array_equal(rows, features[start:stop])


def test_new_shards_replace_the_old_ones(folder, features):
    datasets.write_shards(folder, features[::-1], rows_per_shard=23)
    np.testing.assert_array_equal(datasets.read_shards(folder), features[::-1])
    assert len(list(folder.iterdir())) == 2


def test_parts_without_their_manifest_leave_the_old_matrix(folder, features):
    datasets.write_part(folder, features[:3] + 1, number=0)
    np.testing.assert_array_equal(datasets.read_shards(folder), features)


def test_only_the_parts_touched_are_hashed(folder):
    last = folder / manifest_of(folder)["shards"][3]["file"]
    damaged = bytearray(last.read_bytes())
    damaged[-1] ^= 1
    last.write_bytes(damaged)
    shards = datasets.open_shards(folder)
    assert len(datasets.read_rows(shards, 0, 21)) == 21
    with pytest.raises(ValueError, match="its SHA-256 is"):
        datasets.read_rows(shards, 20, 22)


def first_missing(folder, manifest):
    (folder / manifest["shards"][1]["file"]).unlink()


def named_twice(folder, manifest):
    manifest["shards"][2] = manifest["shards"][1]


def copied(folder, manifest):
    shutil.copy(folder / manifest["shards"][1]["file"], folder / "copy.npy")
    manifest["shards"][2] = manifest["shards"][1] | {"file": "copy.npy"}


def other_width(folder, manifest):
    np.save(folder / manifest["shards"][1]["file"], np.ones((7, 6), np.float32))


def other_dtype(folder, manifest):
    np.save(folder / manifest["shards"][1]["file"], np.ones((7, 5)))


def fewer_rows(folder, manifest):
    np.save(folder / manifest["shards"][1]["file"], np.ones((6, 5), np.float32))


def other_total(folder, manifest):
    manifest["rows"] = 24


def no_shards(folder, manifest):
    manifest["shards"] = []


def outside(folder, manifest):
    manifest["shards"][0]["file"] = "../pool.npy"


def other_format(folder, manifest):
    manifest["format"] = "tar"


def later_version(folder, manifest):
    manifest["version"] = 2


def text_for_number(folder, manifest):
    manifest["shards"][0]["rows"] = "7"


def a_pickle(folder, manifest):
    bad = np.array([[{}]], object)
    np.save(folder / manifest["shards"][1]["file"], bad, allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (first_missing, "1 of 4 shards are missing: part-00001"),
        (named_twice, "part-00001.* is doubled"),
        (copied, r"copy\.npy is doubled: part-00001"),
        (other_width, "got columns 6, expected 5"),
        (other_dtype, "got dtype float64, expected float32"),
        (fewer_rows, "got rows 6, expected 7"),
        (other_total, "the manifest says 24 rows, its 4 shards hold 23"),
        (no_shards, "names no shard"),
        (outside, "expected a file of the folder"),
        (other_format, "expected a manifest with format"),
        (later_version, "got version 2, expected 1"),
        (text_for_number, "shard 0: rows is '7'; expected int"),
        (a_pickle, "pickle"),
    ],
)
def test_damage_is_refused(folder, damage, message):
    manifest = manifest_of(folder)
    damage(folder, manifest)
    write(folder, manifest)
    with pytest.raises(ValueError, match=message) as error:
        datasets.read_shards(folder)
    assert "\n" not in str(error.value)


def test_bad_folders_and_arguments_are_refused(tmp_path, folder, features):
    with pytest.raises(ValueError, match=r"there is no manifest\.json"):
        datasets.open_shards(tmp_path)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        datasets.open_shards(folder)
    with pytest.raises(ValueError, match="rows_per_shard is 0"):
        datasets.write_shards(tmp_path / "x", features, rows_per_shard=0)
    with pytest.raises(ValueError, match="have no row"):
        datasets.write_shards(tmp_path / "x", features[:0], rows_per_shard=1)
    with pytest.raises(ValueError, match="has no row"):
        datasets.write_part(tmp_path, features[:0], number=0)
    with pytest.raises(ValueError, match="expected"):
        datasets.write_part(tmp_path, features.astype(int), number=0)
    datasets.write_shards(folder, features, rows_per_shard=9)
    shards = datasets.open_shards(folder)
    for start, stop in ((-1, 3), (3, 3), (0, 24)):
        with pytest.raises(ValueError, match="expected 0 to 23"):
            datasets.read_rows(shards, start, stop)
