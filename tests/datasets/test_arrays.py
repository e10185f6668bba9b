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


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
class TestUnreadablePaths:
    def test_missing(self, tmp_path, suffix):
        with pytest.raises(ValueError, match=r"cannot read .*: No such file"):
            datasets.read_array(tmp_path / f"a{suffix}", key="x")

    def test_folder(self, tmp_path, suffix):
        (tmp_path / f"a{suffix}").mkdir()
        with pytest.raises(ValueError, match="it is a folder"):
            datasets.read_array(tmp_path / f"a{suffix}", key="x")

    def test_empty(self, tmp_path, suffix):
        (tmp_path / f"a{suffix}").touch()
        with pytest.raises(ValueError, match="the file is empty"):
            datasets.read_array(tmp_path / f"a{suffix}", key="x")

    def test_pipe(self, tmp_path, suffix):
        os.mkfifo(tmp_path / f"a{suffix}")
        with pytest.raises(ValueError, match="it is a device or pipe"):
            datasets.read_array(tmp_path / f"a{suffix}", key="x")

    def test_object_array(self, tmp_path, suffix):
        array = np.array([Bomb()], object)
        if suffix == ".npy":
            np.save(tmp_path / "a.npy", array, allow_pickle=True)
        else:
            save_npz(tmp_path / "a.npz", x=array)
        with pytest.raises(ValueError, match="an object array is a pickle"):
            datasets.read_array(tmp_path / f"a{suffix}", key="x")


def test_bare_pickle(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x80\x04\x95abc.")
    with pytest.raises(ValueError, match=r"not a whole \.npy array"):
        datasets.read_array(tmp_path / "a.npy", key="x")


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


class TestWholeNumbers:
    @pytest.mark.parametrize("dtype", ["i1", "u8", "f2", "f4", "f8", "?", ">i4"])
    def test_converts(self, dtype):
        array = np.array([[0, 1], [1, 1]], dtype)
        got = whole_numbers(array, name="ids")
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, [[0, 1], [1, 1]])

    @pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
    def test_refuses_fractions(self, value):
        array = np.array([[0.0, 1.0], [2.0, value]])
        with pytest.raises(ValueError, match=rf"ids: row 8 holds {value}, expected"):
            whole_numbers(array, name="ids", first_row=7)

    def test_refuses_numbers_that_the_dtype_rounds(self):
        exact = np.array([2**24], np.float32)
        assert whole_numbers(exact, name="ids") == 2**24
        with pytest.raises(ValueError, match=r"2\*\*24, all that float32 holds"):
            whole_numbers(np.array([2**24 + 2], np.float32), name="ids")

    def test_refuses_unsigned_overflow(self):
        with pytest.raises(ValueError, match=r"below 2\*\*63"):
            whole_numbers(np.array([2**63], np.uint64), name="ids")
