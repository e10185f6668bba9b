import pickle
import struct

import ml_dtypes
import numpy as np
import pytest

from gfa_jax import datasets


@pytest.fixture
def features(rng):
    return rng.normal(size=(7, 6)).astype(np.float32)


def with_header(features, *header):
    return struct.pack("<4i", *header) + features.tobytes()


def test_challenge_file(tmp_path, features):
    path = tmp_path / "a.bin"
    path.write_bytes(with_header(features, 7, 6, 24, 5))
    for dim in (None, 6):
        got = datasets.read_features(path, dim=dim)
        assert isinstance(got, np.memmap)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, features)


def test_raw_file(tmp_path, features):
    path = tmp_path / "a.bin"
    path.write_bytes(features.tobytes())
    np.testing.assert_array_equal(datasets.read_features(path, dim=6), features)
    np.testing.assert_array_equal(
        datasets.read_features(path, dim=3), features.reshape(14, 3)
    )


def test_header_of_640_rows_starts_like_a_pickle(tmp_path):
    path = tmp_path / "a.bin"
    datasets.write_features(path, np.ones((640, 2), np.float32))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert datasets.read_features(path).shape == (640, 2)


def test_written_bytes_are_the_challenge_format(tmp_path, features):
    datasets.write_features(tmp_path / "a.bin", features)
    content = (tmp_path / "a.bin").read_bytes()
    assert content == with_header(features, 7, 6, 24, 5)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_short_floats_widen_exactly(tmp_path, features, dtype):
    short = features.astype(dtype)
    datasets.write_features(tmp_path / "a.bin", short)
    got = datasets.read_features(tmp_path / "a.bin")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got.astype(dtype), short)


def test_float64_is_not_rounded_in_silence(tmp_path, features):
    with pytest.raises(ValueError, match="got float64, expected float32 or shorter"):
        datasets.write_features(tmp_path / "a.bin", features.astype(np.float64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(3, 1), (0, 4), (2, 0)])
def test_shapes_that_the_header_cannot_tell(tmp_path, shape):
    with pytest.raises(ValueError, match="at least 1 row and 2 columns"):
        datasets.write_features(tmp_path / "a.bin", np.zeros(shape, np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dim", [None, 6])
@pytest.mark.parametrize("change", [-1, -24, 1, 24])
def test_header_disagrees_with_the_size(tmp_path, features, change, dim):
    path = tmp_path / "a.bin"
    content = with_header(features, 7, 6, 24, 5)
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    got = 184 + change
    with pytest.raises(
        ValueError, match=f"got {got} bytes, expected 184 for the header's 7 rows × 6"
    ):
        datasets.read_features(path, dim=dim)


def test_header_disagrees_with_dim(tmp_path, features):
    path = tmp_path / "a.bin"
    datasets.write_features(path, features)
    with pytest.raises(ValueError, match="got dim=4, but the file's header says 6"):
        datasets.read_features(path, dim=4)


def test_no_header_and_no_dim(tmp_path, features):
    (tmp_path / "a.bin").write_bytes(features.tobytes())
    with pytest.raises(ValueError, match=r"no header .* in its 168 bytes; give dim"):
        datasets.read_features(tmp_path / "a.bin")


@pytest.mark.parametrize("change", [-1, 2])
def test_raw_file_of_no_whole_number_of_rows(tmp_path, features, change):
    content = features.tobytes()
    content = content[:change] if change < 0 else content + bytes(change)
    (tmp_path / "a.bin").write_bytes(content)
    message = f"got {len(content)} bytes, expected a multiple of 24 .*dim is wrong"
    with pytest.raises(ValueError, match=message):
        datasets.read_features(tmp_path / "a.bin", dim=6)


@pytest.mark.parametrize("dim", [0, -3])
def test_dim_below_one(tmp_path, features, dim):
    (tmp_path / "a.bin").write_bytes(features.tobytes())
    with pytest.raises(ValueError, match=f"got dim={dim}, expected at least 1"):
        datasets.read_features(tmp_path / "a.bin", dim=dim)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dim", [None, 1])
def test_pickled_verification_set(tmp_path, dim, protocol):
    content = pickle.dumps(([b"\xff\xd8jpeg"] * 3, [True, False]), protocol=protocol)
    (tmp_path / "lfw.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"it is a pickle .*which can run code"):
        datasets.read_features(tmp_path / "lfw.bin", dim=dim)


@pytest.mark.parametrize("dim", [None, 6, 1])
@pytest.mark.parametrize("stored", [6, 7])
def test_megaface_file_of_one_image(tmp_path, dim, stored):
    values = np.ones(stored, np.float32)
    (tmp_path / "a.bin").write_bytes(with_header(values, 6, 1, 4, 5))
    with pytest.raises(ValueError, match="a MegaFace file of one image"):
        datasets.read_features(tmp_path / "a.bin", dim=dim)
