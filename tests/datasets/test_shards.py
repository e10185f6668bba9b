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


def read(folder):
    shards = datasets.open_shards(folder)
    return datasets.read_rows(shards, 0, shards.shape[0])


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def write(folder, manifest):
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("rows_per_shard", [1, 10, 100])
def test_what_was_written_is_read(tmp_path, features, dtype, rows_per_shard):
    stored = features.astype(dtype)
    datasets.write_shards(tmp_path, stored, rows_per_shard=rows_per_shard)
    got = read(tmp_path)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, stored)


def test_the_manifest_says_what_is_there(folder, features):
    manifest = manifest_of(folder)
    told = [manifest[name] for name in ("rows", "width", "dtype")]
    assert told == [23, 5, "float32"]
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
    np.testing.assert_array_equal(read(folder), features[::-1])
    assert len(list(folder.iterdir())) == 2


def test_parts_without_their_manifest_leave_the_old_matrix(folder, features):
    datasets.write_part(folder, features[:3] + 1, number=0)
    np.testing.assert_array_equal(read(folder), features)


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


def holds(array):
    def replace(folder, manifest):
        np.save(folder / manifest["shards"][1]["file"], array, allow_pickle=True)

    return replace


def says(**changes):
    return lambda folder, manifest: manifest.update(changes)


def part_says(**changes):
    return lambda folder, manifest: manifest["shards"][0].update(changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (first_missing, "cannot read .*part-00001.*: No such file"),
        (named_twice, "part-00001.* is doubled"),
        (copied, r"copy\.npy is doubled: part-00001"),
        (holds(np.ones((7, 6), np.float32)), "got columns 6, expected 5"),
        (holds(np.ones((7, 5))), "got dtype float64, expected float32"),
        (holds(np.ones((6, 5), np.float32)), "got rows 6, expected 7"),
        (holds(np.array([[{}]], object)), "pickle"),
        (says(rows=24), r"\[24, 5, 'float32'\], its 4 shards hold \[23, 5"),
        (says(width=0), r"\[23, 0, 'float32'\], its 4 shards hold \[23, 5"),
        (says(dtype="float16"), r"\[23, 5, 'float16'\], its 4 shards hold"),
        (says(shards=[]), "names no shard"),
        (says(format="tar"), r"format and version \('tar', 1\), expected"),
        (says(version=2), r"shards', 2\), expected \('gfa_jax shards', 1\)"),
        (part_says(file="../pool.npy"), "expected a file of the folder"),
        (part_says(rows="7"), "shard 0: rows is '7'; expected int"),
    ],
)
def test_damage_is_refused(folder, damage, message):
    manifest = manifest_of(folder)
    damage(folder, manifest)
    write(folder, manifest)
    with pytest.raises(ValueError, match=message) as error:
        read(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_a_manifest_that_is_no_json(folder, content):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="no JSON"):
        datasets.open_shards(folder)


def test_bad_folders_and_arguments_are_refused(tmp_path, folder, features):
    shards = datasets.open_shards(folder)
    new = tmp_path / "x"
    for call, message in (
        (lambda: datasets.open_shards(tmp_path), r"there is no manifest\.json"),
        (lambda: datasets.write_shards(new, features, rows_per_shard=0), "is 0"),
        (lambda: datasets.write_shards(new, features[:0], rows_per_shard=1), "no row"),
        (lambda: datasets.write_part(tmp_path, features[:0], number=0), "has no row"),
        (lambda: datasets.write_part(tmp_path, features > 0, number=0), "expected"),
        (lambda: datasets.read_rows(shards, -1, 3), "expected 0 to 23"),
        (lambda: datasets.read_rows(shards, 3, 3), "expected 0 to 23"),
        (lambda: datasets.read_rows(shards, 0, 24), "expected 0 to 23"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
