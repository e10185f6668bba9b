import ml_dtypes
import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets import checks


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ">f4"]
)
@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_norms(rng, monkeypatch, dtype, block_size):
    monkeypatch.setattr(checks, "_BLOCK_ROWS", block_size)
    features = rng.normal(size=(10, 4)).astype(dtype)
    norms = datasets.check_features(features)
    expected = np.linalg.norm(features.astype(np.float64), axis=1)
    # Both are float64 sums of four squares.
    np.testing.assert_allclose(norms, expected, rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(rng, bad):
    features = rng.normal(size=(20, 4)).astype(np.float32)
    features[[3, 11, 17], [0, 1, 3]] = bad
    with pytest.raises(
        ValueError, match=r"a\.npy: 3 of 20 rows hold NaN, Inf .*: rows 3, 11, 17 \("
    ):
        datasets.check_features(features, name="a.npy")


def test_beyond_float32():
    features = np.ones((3, 2))
    features[1] = 1e200
    with pytest.raises(
        ValueError, match=r"1 of 3 rows hold .*float32's range: rows 1 "
    ):
        datasets.check_features(features)


@pytest.mark.parametrize("bad", [0.0, -0.0, 1e-40])
def test_zero_rows(rng, bad):
    features = rng.normal(size=(20, 4)).astype(np.float32)
    features[2:9] = bad
    with pytest.raises(
        ValueError, match=r"features: 7 of 20 rows are zero .*rows 2, 3, 4, 5, 6, … \("
    ):
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
