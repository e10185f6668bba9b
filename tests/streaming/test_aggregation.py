"""`streaming.aggregate` is `aggregate` from file to file, whatever the chunks."""

import functools
import pathlib

import jax
import ml_dtypes
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import streaming
from gfa_jax.streaming import aggregation
from tests.problems import TOLERANCE, clustered_features, gathered, refused

N, D, K = 130, 8, 6
PARAMS = gfa.Params(gamma=0.5, threshold=0.4)


@pytest.fixture
def features(rng):
    return clustered_features(rng, num_rows=N, dim=D)


@pytest.fixture
def neighbors(features):
    found = gfa.exact_neighbors(features, k=K)
    indices = np.array(found.indices)
    # Rows with empty slots, and one that nobody is listed by.
    indices[3, 2:] = -1
    indices[7] = -1
    return gfa.Neighbors(indices, found.similarity)


@pytest.fixture
def streamed(features, neighbors, tmp_path):
    """The function on a memory map of the features, in chunks of 32 rows."""
    np.save(tmp_path / "features.npy", features)
    return functools.partial(
        streaming.aggregate,
        np.load(tmp_path / "features.npy", mmap_mode="r"),
        neighbors,
        PARAMS,
        path=tmp_path / "refined.npy",
        chunk_size=32,
    )


def assert_close(got, want, atol=TOLERANCE) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        ((0, 1, 3), {}),
        ([2], {"graph": "rescore", "weighting": "uniform", "include_self": False}),
        ([2], {"renormalize": False, "mask": "soft"}),
    ],
)
def test_equals_aggregate(features, neighbors, streamed, steps, options):
    for num_steps in steps:
        arguments = gathered(options | {"num_steps": num_steps})
        got = streamed(**arguments)
        want = gfa.aggregate(features, neighbors, PARAMS, **arguments)
        assert_close(got, want)
        assert got.features.dtype == features.dtype


@pytest.mark.parametrize("num_steps", [0, 1, 3])
def test_weights_given_equal_aggregate(
    rng, features, neighbors, streamed, tmp_path, num_steps
):
    weights = rng.random((N, K)) * (rng.random((N, K)) < 0.7)
    np.save(tmp_path / "weights.npy", weights)
    mapped = np.load(tmp_path / "weights.npy", mmap_mode="r")
    got = streamed(num_steps=num_steps, weights=mapped)
    want = gfa.aggregate(
        features, neighbors, PARAMS, num_steps=num_steps, weights=weights
    )
    assert_close(got, want)
    assert got.features.dtype == features.dtype


@pytest.mark.parametrize("chunk_size", [7, 4096])
def test_the_chunks_do_not_matter(streamed, chunk_size):
    assert_close(streamed(num_steps=2, chunk_size=chunk_size), streamed(num_steps=2))


def test_the_result_is_one_whole_file(streamed, tmp_path):
    result = streamed(num_steps=3)
    assert isinstance(result.features, np.memmap)
    stored = np.load(tmp_path / "refined.npy", allow_pickle=False)
    np.testing.assert_array_equal(stored, result.features)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"features.npy", "refined.npy"}


def test_only_the_rows_that_are_needed_are_read(features, neighbors, tmp_path):
    class Counted:
        shape, dtype, read = features.shape, features.dtype, 0

        def __getitem__(self, rows):
            taken = features[rows]
            self.read = max(self.read, len(taken))
            return taken

    rows = Counted()
    streaming.aggregate(
        rows,
        neighbors,
        PARAMS,
        num_steps=1,
        path=tmp_path / "refined.npy",
        chunk_size=8,
    )
    assert rows.read <= 8 * K


def test_an_interrupt_leaves_the_old_file(streamed, tmp_path):
    (tmp_path / "refined.npy").write_bytes(b"old")

    def interrupted(iterable, *, total, desc):
        assert total == 5
        for number, start in enumerate(iterable):
            if number == 2 and desc == "update 2 of 3":
                raise KeyboardInterrupt
            yield start

    with pytest.raises(KeyboardInterrupt):
        streamed(num_steps=3, progress=interrupted)
    assert (tmp_path / "refined.npy").read_bytes() == b"old"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"features.npy", "refined.npy"}


def test_chunks_are_halved_until_they_fit(streamed, monkeypatch):
    want = streamed(num_steps=2, chunk_size=64)
    sizes = []

    def limited(pool, indices, *rest, **options):
        sizes.append(len(indices))
        if len(sizes) > 1 and len(indices) > 32:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return update(pool, indices, *rest, **options)

    update = aggregation._update_pool
    monkeypatch.setattr(aggregation, "_update_pool", limited)
    with pytest.warns(RuntimeWarning, match="blocks of 64 rows; going on with 32"):
        got = streamed(num_steps=2, chunk_size=64)
    # 64 rows, then 130 − 64 in halves, and the second step all in halves.
    assert sizes == [64, 64, 32, 32, 32, 64, 32, 32, 32, 32, 32]
    assert_close(got, want)


# --- bfloat16 ---------------------------------------------------------------------


def test_bfloat16_storage_moves_cosines_by_less_than_stated(rng, tmp_path):
    # float32 rows, as they come; a threshold far from the cosines, so that rounding
    # flips no edge and what is left is the error of the values.
    features = clustered_features(rng, num_rows=N, dim=64, noise=0.1)
    features = features.astype(np.float32)
    params = gfa.Params(gamma=0.5, threshold=0.5)
    neighbors = gfa.exact_neighbors(features, k=K)
    run = functools.partial(
        streaming.aggregate, neighbors=neighbors, params=params, num_steps=4
    )
    want = run(features, path=tmp_path / "single.npy").features
    half = run(features, path=tmp_path / "half.npy", storage="bfloat16").features
    assert half.dtype == ml_dtypes.bfloat16
    sizes = [
        pathlib.Path(tmp_path, f"{n}.npy").stat().st_size for n in ("half", "single")
    ]
    assert sizes[0] < 0.6 * sizes[1]
    A, B = (np.asarray(x, np.float64) for x in (want, half))
    errors = np.abs(A @ A.T - B @ B.T)
    # Rounding each factor to 2⁻⁹ of itself moves a cosine by 2⁻⁸ at most, and that of
    # the steps before is pulled together with the rows.
    assert 1e-5 < errors.max() < 2**-8
    # Stored in bfloat16 to begin with, the sums are those of float32 on the same rows.
    rounded = features.astype(ml_dtypes.bfloat16)
    got = run(rounded, path=tmp_path / "rounded.npy").features
    assert got.dtype == np.float32
    exact = gfa.aggregate(rounded.astype(np.float32), neighbors, params, num_steps=4)
    np.testing.assert_allclose(got, exact.features, rtol=0, atol=1e-5)


# --- bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"storage": "float16"}, "storage is 'float16'; expected one of float32"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"num_steps": -1}, "num_steps is -1"),
        ({"path": "refined.txt"}, "must end with .npy"),
        ({"path": "missing/refined.npy"}, "there is no folder"),
        ({"params": gfa.Params(2.0, 0.5)}, "gamma is 2"),
        ({"neighbors": gfa.Neighbors(np.zeros((9, 2), int), np.zeros((9, 2)))}, "fit"),
        ({"features": np.ones((N, D), np.int32)}, "int32; expected a floating"),
    ],
)
def test_bad_input_is_refused(features, neighbors, tmp_path, change, message):
    options = {
        "features": features,
        "neighbors": neighbors,
        "params": PARAMS,
        "num_steps": 1,
        "path": "refined.npy",
    } | change
    options["path"] = tmp_path / options["path"]
    refused(message, streaming.aggregate, **options)
    assert list(tmp_path.iterdir()) == []
