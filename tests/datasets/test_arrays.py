import os

import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets.arrays import whole_numbers


class Bomb:
    def __reduce__(self):
        return os._exit, (66,)


def save_npz(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.zeros((0, 4), np.float32),
        np.array(["a", "bc"]),
        np.arange(3, dtype=">f4"),
        np.arange(3, dtype=">i8"),
    ],
)
@pytest.mark.parametrize("form", ["npy", "stored", "compressed"])
def test_reads_what_numpy_saved(tmp_path, array, form):
    path = tmp_path / ("a.npy" if form == "npy" else "a.npz")
    if form == "npy":
        np.save(path, array)
    else:
        save_npz(path, form == "compressed", other=np.arange(3), x=array)
    got = datasets.read_array(path, key="x")
    np.testing.assert_array_equal(got, array)
    assert got.dtype == array.dtype.newbyteorder("=")
    if array.dtype.isnative:
        assert isinstance(got, np.memmap) == (form != "compressed" and array.size > 0)


def test_long_header_of_version_2(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.arange(4), version=(2, 0))
    np.testing.assert_array_equal(
        datasets.read_array(tmp_path / "a.npy", key="x"), np.arange(4)
    )


def a_bomb(path):
    array = np.array([Bomb()], object)
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        save_npz(path, x=array)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"cannot read .*: No such file"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.touch(), "the file is empty"),
        (os.mkfifo, "it is a device or pipe"),
        (a_bomb, "an object array is a pickle"),
        (lambda path: path.write_bytes(b"\x80\x04\x95abc."), r"not a whole \.np"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_unreadable(tmp_path, suffix, make, message):
    path = tmp_path / f"a{suffix}"
    make(path)
    with pytest.raises(ValueError, match=message):
        datasets.read_array(path, key="x")


@pytest.mark.parametrize("change", [-1, -100, 1, 100])
def test_npy_of_wrong_length(tmp_path, change):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(100.0))
    whole = path.read_bytes()
    path.write_bytes(whole[:change] if change < 0 else whole + bytes(change))
    size = len(whole) + change
    with pytest.raises(ValueError, match=f"got {size} bytes, expected {len(whole)}"):
        datasets.read_array(path, key="x")


def test_key_is_missing(tmp_path):
    save_npz(tmp_path / "a.npz", x=np.arange(3), labels=np.arange(3))
    with pytest.raises(ValueError, match="no array 'features' in it; it holds x, lab"):
        datasets.read_array(tmp_path / "a.npz", key="features")


def test_archive_cut_short(tmp_path):
    path = tmp_path / "a.npz"
    save_npz(path, x=np.arange(100))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"not a whole \.npz archive"):
        datasets.read_array(path, key="x")


def test_compressed_values_are_verified(tmp_path, rng):
    path = tmp_path / "a.npz"
    save_npz(path, compressed=True, x=rng.normal(size=500))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read .*a\.npz"):
        datasets.read_array(path, key="x")


def test_encrypted_member(tmp_path):
    path = tmp_path / "a.npz"
    save_npz(path, x=np.arange(3))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it is encrypted"):
        datasets.read_array(path, key="x")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["npy", "stored", "compressed"])
def test_damaged_headers_raise_nothing_but_value_errors(tmp_path, rng, form):
    path = tmp_path / ("a.npy" if form == "npy" else "a.npz")
    if form == "npy":
        np.save(path, np.arange(6.0).reshape(2, 3))
    else:
        save_npz(path, form == "compressed", x=np.arange(6.0).reshape(2, 3))
    whole = path.read_bytes()
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for position in rng.integers(0, len(whole), size=rng.integers(1, 4)):
            content[position] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            datasets.read_array(path, key="x")
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("dtype", ["i1", "u8", "f2", "f4", "f8", "?", ">i4"])
def test_whole_numbers(dtype):
    got = whole_numbers(np.array([[0, 1], [1, 1]], dtype), name="ids")
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [[0, 1], [1, 1]])


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (0.5, "f8", r"ids: row 8 holds 0.5, expected"),
        (np.nan, "f8", r"ids: row 8 holds nan"),
        (np.inf, "f8", r"ids: row 8 holds inf"),
        (2**24 + 2, "f4", r"2\*\*24, all that float32 holds"),
        (2**63, "u8", r"below 2\*\*63"),
    ],
)
def test_numbers_that_are_not_whole(value, dtype, message):
    with pytest.raises(ValueError, match=message):
        whole_numbers(np.array([[0, 1], [2, value]], dtype), name="ids", first_row=7)
    exact = np.array([2**24], np.float32)
    assert whole_numbers(exact, name="ids") == 2**24
