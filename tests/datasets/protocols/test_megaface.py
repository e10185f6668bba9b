import pickle
import struct

import numpy as np
import pytest

from gfa_jax.datasets.protocols import read_megaface


def write(path, values, header=None):
    values = np.asarray(values, "<f4")
    header = (len(values), 1, 4, 5) if header is None else header
    path.write_bytes(struct.pack("<4i", *header) + values.tobytes())
    return path


@pytest.fixture
def features(rng):
    return rng.standard_normal((4, 512)).astype(np.float32)


def test_the_format(tmp_path, features):
    paths = [write(tmp_path / f"{i}.bin", row) for i, row in enumerate(features)]
    got = read_megaface(paths[::-1])
    np.testing.assert_array_equal(got.features, features[::-1])
    assert got.features.dtype == np.float32
    assert got.is_noise is None
    assert got.counts == (("images", 4, None),)


def test_noise_cleaned_files(tmp_path, features):
    marks = [0, 100, 0, 0]
    paths = [
        write(tmp_path / f"{i}.bin", [*row, mark])
        for i, (row, mark) in enumerate(zip(features, marks, strict=True))
    ]
    with pytest.raises(ValueError, match="513 values, the noise-cleaned form of 512"):
        read_megaface(paths)
    got = read_megaface(paths, strip_noise=True)
    np.testing.assert_array_equal(got.features, features)
    np.testing.assert_array_equal(got.is_noise, [False, True, False, False])
    assert got.counts[1] == ("noise images", 1, None)


@pytest.mark.parametrize(
    ("strip_noise", "dim", "match"),
    [
        (True, 512, r"header \(512, 1, 4, 5\), expected \(513, 1, 4, 5\)"),
        (False, 256, r"header \(512, 1, 4, 5\), expected \(256, 1, 4, 5\)"),
        (False, 511, "the noise-cleaned form of 511"),
    ],
)
def test_another_length(tmp_path, features, strip_noise, dim, match):
    path = write(tmp_path / "a.bin", features[0])
    with pytest.raises(ValueError, match=match):
        read_megaface([path], dim=dim, strip_noise=strip_noise)


@pytest.mark.parametrize("header", [(512, 2, 4, 5), (512, 1, 8, 5), (512, 1, 4, 6)])
def test_another_header(tmp_path, features, header):
    path = write(tmp_path / "a.bin", features[0], header)
    with pytest.raises(ValueError, match=r"got the header \(512, .*MegaFace"):
        read_megaface([path])


def test_damaged_files(tmp_path, features):
    path = write(tmp_path / "a.bin", features[0])
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:-4], whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="expected 2064 bytes for 512 values"):
            read_megaface([path])
    path.write_bytes(whole[:15])
    with pytest.raises(ValueError, match="got the header None"):
        read_megaface([path])


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps(([b"jpeg"], [True])))
    with pytest.raises(ValueError, match="got the header"):
        read_megaface([path])


def test_no_and_missing_file(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        read_megaface([])
    with pytest.raises(ValueError, match="No such file"):
        read_megaface([tmp_path / "a.bin"])


def test_progress(tmp_path, features):
    paths = [write(tmp_path / f"{i}.bin", row) for i, row in enumerate(features)]
    calls = []

    def progress(iterable, *, total, desc):
        calls.append((total, desc))
        return iterable

    read_megaface(paths, progress=progress)
    assert calls == [(4, "reading features")]
