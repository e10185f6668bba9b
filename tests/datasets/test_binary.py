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


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((7, 6), "f8", "got float64, expected float32 or shorter"),
        ((3, 1), "f4", "at least 1 row and 2 columns"),
        ((0, 4), "f4", "at least 1 row and 2 columns"),
        ((2, 0), "f4", "at least 1 row and 2 columns"),
    ],
)
def test_what_the_format_cannot_hold(tmp_path, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        datasets.write_features(tmp_path / "a.bin", np.zeros(shape, dtype))
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


@pytest.mark.parametrize(
    ("header", "change", "dim", "message"),
    [
        (True, 0, 4, "got dim=4, but the file's header says 6"),
        (False, 0, None, r"no header .* in its 168 bytes; give --dim"),
        (
            False,
            -1,
            6,
            "got 167 bytes, expected a multiple of 24 .*--dim",
        ),
        (
            False,
            2,
            6,
            "got 170 bytes, expected a multiple of 24 .*--dim",
        ),
        (False, 0, 0, "got dim=0, expected at least 1"),
        (False, 0, -3, "got dim=-3, expected at least 1"),
    ],
)
def test_dim_and_file_disagree(tmp_path, features, header, change, dim, message):
    content = with_header(features, 7, 6, 24, 5) if header else features.tobytes()
    content = content[:change] if change < 0 else content + bytes(change)
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
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
