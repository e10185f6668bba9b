import ml_dtypes
import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets import atomic, rows

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
    assert datasets.read_features(tmp_path / "a.npz").shape == (2, 3)
    np.savez(tmp_path / "a.npz", a=np.ones((2, 3)), b=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"which array.*'a', 'b'; .*--features_key"):
        datasets.read_features(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"no array 'c'.*'a', 'b'; .*--features_key"):
        datasets.read_features(tmp_path / "a.npz", key="c")


def test_real_file(real_data, tmp_path):
    expected = real_data("lfw.npz")["features"]
    datasets.write_features(tmp_path / "lfw.bin", expected)
    got = datasets.read_features(tmp_path / "lfw.bin")
    np.testing.assert_array_equal(got, expected)
    # Stored after normalising in float32, whose rounding moves a norm by ~1e-7.
    np.testing.assert_allclose(datasets.check_features(got), 1, atol=1e-6)


@pytest.mark.parametrize("suffix", [".xyz", ""])
def test_unknown_suffix(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    message = rf"the suffix '{suffix}', expected one of \.npy, \.npz, \.csv"
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


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ">f4"]
)
@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_norms(rng, monkeypatch, dtype, block_size):
    monkeypatch.setattr("gfa_jax.datasets.features._BLOCK_ROWS", block_size)
    features = rng.normal(size=(10, 4)).astype(dtype)
    norms = datasets.check_features(features)
    expected = np.linalg.norm(features.astype(np.float64), axis=1)
    # Both are float64 sums of four squares.
    np.testing.assert_allclose(norms, expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16, ">f4"])
@pytest.mark.parametrize("length", [1, 3])
def test_rows_come_to_the_device_as_to_the_host(rng, monkeypatch, dtype, length):
    monkeypatch.setattr("gfa_jax.datasets.features._BLOCK_ROWS", 4)
    features = rng.normal(size=(10, 6))
    features *= length / np.linalg.norm(features, axis=1, keepdims=True)
    features = features.astype(dtype)
    placed, norms = rows.place_rows(features, name="a")
    np.testing.assert_array_equal(norms, datasets.check_features(features))
    # A quotient of two rounded numbers.
    expected = rows.unit_rows(features, norms)
    np.testing.assert_allclose(placed, expected, rtol=3e-7)
    assert placed.dtype == np.float32
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="a: 1 of 10 rows hold NaN"):
        rows.place_rows(features, name="a")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, r"3 of 20 rows hold NaN, Inf .*float32's range: rows 3, 11, 17 \("),
        (np.inf, "3 of 20 rows hold NaN, Inf"),
        (-np.inf, "3 of 20 rows hold NaN, Inf"),
        (1e200, "3 of 20 rows hold NaN, Inf"),
    ],
)
def test_not_finite(rng, bad, message):
    features = rng.normal(size=(20, 4))
    features[[3, 11, 17], [0, 1, 3]] = bad
    with pytest.raises(ValueError, match=rf"a\.npy: {message}"):
        datasets.check_features(features, name="a.npy")


@pytest.mark.parametrize("bad", [0.0, -0.0, 1e-40])
def test_zero_rows(rng, bad):
    features = rng.normal(size=(20, 4)).astype(np.float32)
    features[2:9] = bad
    message = r"features: 7 of 20 rows are zero .*rows 2, 3, 4, 5, 6, … \("
    with pytest.raises(ValueError, match=message):
        datasets.check_features(features)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4), "got 1 rows, expected at least 2"),
        ((0, 4), "got 0 rows"),
        ((4, 0), "got 0 columns, expected at least 1"),
    ],
)
def test_too_small(shape, message):
    with pytest.raises(ValueError, match=message):
        datasets.check_features(np.ones(shape))


def test_zero_rows_that_are_allowed():
    norms = datasets.check_features(np.eye(3)[:2] * [[0.0], [2.0]], allow_zero=True)
    np.testing.assert_array_equal(norms, [0, 2])
