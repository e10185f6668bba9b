import ml_dtypes
import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets import atomic

DTYPES = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".NPY"])
def test_round_trip(tmp_path, rng, monkeypatch, dtype, suffix):
    monkeypatch.setattr(atomic, "_BLOCK_BYTES", 100)
    features = rng.normal(size=(33, 5)).astype(dtype)
    path = tmp_path / f"a{suffix}"
    datasets.write_features(path, features)
    got = datasets.read_features(path, dim=5)
    assert got.dtype == dtype
    assert isinstance(got, np.memmap)
    assert not got.flags.writeable
    np.testing.assert_array_equal(got, features)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".bin"])
def test_file_written_from_its_own_map(tmp_path, rng, suffix):
    path = tmp_path / f"a{suffix}"
    features = rng.normal(size=(9, 4)).astype(np.float32)
    datasets.write_features(path, features)
    datasets.write_features(path, datasets.read_features(path))
    np.testing.assert_array_equal(datasets.read_features(path), features)


def test_bfloat16_that_numpy_saved(tmp_path):
    features = np.array([[1.5, 2], [3, -4]], ml_dtypes.bfloat16)
    np.save(tmp_path / "a.npy", features)
    got = datasets.read_features(tmp_path / "a.npy")
    assert got.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(got, features)


def test_key_of_an_archive(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", flip=np.ones((2, 3), np.float32))
    assert datasets.read_features(tmp_path / "a.npz", key="flip").shape == (2, 3)
    with pytest.raises(ValueError, match="no array 'features' in it; it holds flip"):
        datasets.read_features(tmp_path / "a.npz")


def test_real_file(real_data, tmp_path):
    expected = real_data("lfw.npz")["features"]
    datasets.write_features(tmp_path / "lfw.bin", expected)
    got = datasets.read_features(tmp_path / "lfw.bin")
    np.testing.assert_array_equal(got, expected)
    # Stored after normalising in float32, whose rounding moves a norm by ~1e-7.
    np.testing.assert_allclose(datasets.check_features(got), 1, atol=1e-6)


@pytest.mark.parametrize("suffix", [".pt", ".mat", ""])
def test_unknown_suffix(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    message = rf"the suffix '{suffix}', expected one of \.npy, \.npz, \.bin"
    with pytest.raises(ValueError, match=f"cannot read .*{message}"):
        datasets.read_features(path)
    with pytest.raises(ValueError, match=f"cannot write .*{message}"):
        datasets.write_features(path, np.ones((2, 2)))


def test_dim_disagrees(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3)))
    with pytest.raises(ValueError, match="got rows of 3 values, expected dim=5"):
        datasets.read_features(tmp_path / "a.npy", dim=5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(4), r"got 1 dimensions, shape \(4,\), expected \[N, D\]"),
        (np.ones((2, 3, 4)), r"got 3 dimensions, shape \(2, 3, 4\)"),
        (np.ones((2, 3), np.uint8), "got dtype uint8, expected float16"),
        (np.ones((2, 3), np.complex64), "got dtype complex64"),
        (np.array([["a", "b"]]), "got dtype <U1"),
        (np.zeros((2, 3), "V4"), r"got dtype \|V4"),
    ],
)
def test_not_a_feature_matrix(tmp_path, array, message):
    path = tmp_path / "a.npy"
    np.save(path, array)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        datasets.read_features(path)
    with pytest.raises(ValueError, match=message):
        datasets.write_features(path, array)
    with pytest.raises(ValueError, match=message):
        datasets.check_features(array)
    assert path.read_bytes() == before
