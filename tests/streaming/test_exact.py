"""Streamed search: the ids of the search in memory, whatever happens in between."""

import functools
import warnings
from typing import Any

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import streaming
from gfa_jax.neighbors import exact, tiles
from gfa_jax.streaming import exact as streamed
from tests import oracle
from tests.neighbors.agreement import assert_agree
from tests.problems import (
    StoppedError,
    clustered_features,
    interrupt_after,
    quantised_features,
    recorded,
    refused,
)

N, D, K = 300, 6, 5
# One shape of tile for the searches in memory as well: compiling is what they cost.
search = functools.partial(gfa.exact_neighbors, k=K, tile_size=32)
# Five chunks of two tiles, the last one short.
stream = functools.partial(streaming.exact_neighbors, k=K, chunk_size=64, tile_size=32)


@pytest.fixture
def features(rng):
    return clustered_features(rng, num_rows=N, dim=D).astype(np.float32)


@pytest.fixture
def mapped(features, tmp_path):
    np.save(tmp_path / "features.npy", features)
    return np.load(tmp_path / "features.npy", mmap_mode="r")


def assert_same(got, want) -> None:
    chex.assert_trees_all_equal(got, want)
    assert got.indices.dtype == want.indices.dtype


# --- the result -------------------------------------------------------------------


def test_equals_the_search_in_memory(features, mapped):
    want = search(features)
    got = stream(mapped)
    assert isinstance(got.indices, np.ndarray)
    assert got.indices.dtype == np.int32
    assert got.similarity.dtype == np.float32
    assert_agree(features, got, want)
    assert_agree(features, got, oracle.exact_neighbors(features, K))


@pytest.mark.parametrize("chunk_size", [64, 4096])
def test_ties_go_to_the_lower_number_whatever_the_chunks(rng, chunk_size):
    # Every product is exact in float32, and many tie.
    features = quantised_features(rng, num_rows=N, dim=D)
    got = stream(features, chunk_size=chunk_size)
    want = oracle.exact_neighbors(features, K)
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_array_equal(got.similarity, want.similarity)


def test_half_precision_read_by_slices_is_multiplied_in_float32(features):
    half, (calls, progress) = features.astype(ml_dtypes.bfloat16), recorded()

    class Slices:
        shape, dtype = half.shape, half.dtype

        def __len__(self):
            return N

        def __getitem__(self, rows: slice):
            assert len(half[rows]) <= 64
            return half[rows]

    got = stream(Slices(), progress=progress)
    assert_same(got, stream(half.astype(np.float32)))
    assert calls == [(15, "neighbors")]


# --- interrupted ------------------------------------------------------------------


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(streamed, "_SAVE_SECONDS", 0.0)


@pytest.fixture
def merged(monkeypatch):
    """The pairs of chunks that are merged from here on."""
    pairs = []
    merge = streamed._Search.merge

    def counted(self, start, other, size):
        merge(self, start, other, size)
        pairs.append((start // 64, other // 64))

    monkeypatch.setattr(streamed._Search, "merge", counted)
    return pairs


@pytest.mark.parametrize("steps", [0, 1, 7, 14])
def test_an_interrupted_search_goes_on_where_it_was(
    mapped, tmp_path, save_always, merged, steps
):
    undisturbed = stream(mapped)
    pairs = merged.copy()
    assert len(set(pairs)) == len(pairs) == 15
    merged.clear()
    resumable = functools.partial(stream, mapped, checkpoint=tmp_path / "search")
    with pytest.raises(StoppedError):
        resumable(progress=interrupt_after(steps))
    assert_same(resumable(), undisturbed)
    # Every pair once, in the two runs together.
    assert merged == pairs
    assert_same(resumable(), undisturbed)
    assert merged == pairs


def test_what_was_merged_after_the_last_save_is_merged_again(
    mapped, tmp_path, monkeypatch, merged
):
    resumable = functools.partial(stream, mapped, checkpoint=tmp_path / "search")
    clock = iter([0.0, 10.0, 29.0, 31.0, 31.0, 45.0, 60.0])
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(streamed.time, "monotonic", lambda: next(clock))
        resumable(progress=interrupt_after(5))
    assert len(merged) == 5
    del merged[3:]  # saved after 31 s, with three pairs
    assert_same(resumable(), stream(mapped))
    assert len(merged) == 15 + 15


def test_a_checkpoint_of_anything_else_is_refused(features, tmp_path, save_always):
    options: dict[str, Any]
    folder = tmp_path / "search"
    with pytest.raises(StoppedError):
        stream(features, checkpoint=folder, progress=interrupt_after(2))
    before = (folder / "neighbors.npz").read_bytes()
    other = features.copy()
    other[250, 3] += 1e-6
    for rows, options in (
        (other, {}),
        (features[:299], {}),
        (np.eye(300, 3, dtype=np.float32), {}),
        (features.astype(np.float64), {}),
        (features, {"k": 6}),
        (features, {"chunk_size": 96}),
        (features, {"tile_size": 64}),
    ):
        refused("of other inputs, options", stream, rows, checkpoint=folder, **options)
    assert (folder / "neighbors.npz").read_bytes() == before


def test_a_damaged_checkpoint_is_refused(features, tmp_path):
    folder = tmp_path / "search"
    stream(features, checkpoint=folder)
    whole = (folder / "neighbors.npz").read_bytes()
    (folder / "neighbors.npz").write_bytes(whole[:-40])
    with pytest.raises(ValueError, match="cannot read"):
        stream(features, checkpoint=folder)


def test_a_checkpoint_folder_that_cannot_be_is_refused(features, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing" / "search"):
        with pytest.raises(ValueError, match="cannot make the checkpoint folder"):
            stream(features, checkpoint=path)


# --- out of memory ----------------------------------------------------------------


def fails_above(rows: int, function):
    """The function, on a device without memory for more rows than these."""

    def limited(first, best, *rest, **options):
        if options["tile_size"] > rows or len(first.valid) > 2 * rows:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return function(first, best, *rest, **options)

    return limited


@pytest.fixture
def two_short_tiles(monkeypatch):
    """Both programs run out of memory with chunks of more than 64 rows."""
    monkeypatch.setattr(streamed, "sweep", fails_above(32, exact.sweep))
    monkeypatch.setattr(streamed, "merge_pair", fails_above(32, exact.merge_pair))


def test_chunks_are_halved_until_they_fit(features, two_short_tiles):
    with pytest.warns(RuntimeWarning, match="out of memory") as said:
        got = stream(features, chunk_size=256, tile_size=64)
    assert [str(w.message) for w in said] == [
        "out of memory with blocks of 256 rows; going on with 128",
        "out of memory with blocks of 128 rows; going on with 64",
        "out of memory with blocks of 64 rows; going on with 32",
    ]
    assert_agree(features, got, search(features))


def test_memory_that_runs_out_in_the_middle_doubles_nothing(features, monkeypatch):
    calls = []

    def once(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return exact.merge_pair(*arguments, **options)

    monkeypatch.setattr(streamed, "merge_pair", once)
    with pytest.warns(RuntimeWarning, match="blocks of 64 rows; going on with 32"):
        got = stream(features)
    assert_agree(features, got, search(features))


@pytest.mark.parametrize("progress", [None, lambda iterable, **_: iterable])
def test_tiles_in_memory_are_halved_until_they_fit(features, monkeypatch, progress):
    want = search(features)
    tried = []

    def limited(rows, best, start, stop, *, tile_size):
        tried.append(tile_size)
        if (tile_size > 32 and start > 0) or tile_size > 64:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return sweep(rows, best, start, stop, tile_size=tile_size)

    sweep = exact.sweep
    monkeypatch.setattr(exact, "sweep", limited)
    with pytest.warns(RuntimeWarning) as said:
        got = search(features, tile_size=128, progress=progress)
    assert "out of memory with blocks of 128 rows" in str(said[0].message)
    assert len(said) == (2 if progress else 1)
    assert tried[:2] == [128, 64]
    assert_agree(features, got, want)


def test_a_device_that_is_really_full_is_recognised():
    with pytest.raises(jax.errors.JaxRuntimeError) as error:
        jax.block_until_ready(jnp.zeros(10**15, jnp.float32))
    with pytest.warns(RuntimeWarning):
        assert tiles.halve(128, error.value) == 64


def test_other_faults_and_the_smallest_block_are_not_hidden():
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    other = jax.errors.JaxRuntimeError("INTERNAL: something else")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size, error in ((32, full), (96, full), (1024, other)):
            with pytest.raises(jax.errors.JaxRuntimeError) as raised:
                tiles.halve(size, error)
            assert raised.value is error


# --- bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (np.eye(8, dtype=np.float32), {"k": 8}, "k is 8 with 8 rows"),
        (np.eye(8, dtype=np.float32), {"k": 0}, "k is 0; expected at least 1"),
        (np.ones(8, np.float32), {}, r"shape \(8,\); expected \[N, D\]"),
        (np.ones((8, 2), np.int32), {}, "int32; expected a floating dtype"),
        (np.eye(8, dtype=np.float32), {"tile_size": 48}, "tile_size is 48; expected"),
        (np.eye(8, dtype=np.float32), {"chunk_size": 16}, "chunk_size is 16; expected"),
    ],
)
def test_bad_input_is_refused(rows, options, message):
    given: dict[str, Any] = {"k": 3} | options
    refused(message, streaming.exact_neighbors, rows, **given)
