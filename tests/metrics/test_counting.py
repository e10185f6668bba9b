"""The counters against np.bincount, and all pairs by each of them."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfa_jax.metrics import all_pairs_roc, counting, pair_counter


def counters():
    compiled = counting.compiled_counter()
    return [counting.count_and_find] + ([] if compiled is None else [compiled])


@given(st.lists(st.integers(0, 63), max_size=40), st.integers(0, 64))
def test_counts_and_places(numbers, floor):
    bins = np.array(numbers, np.uint16)
    for count in counters():
        counts = np.full(64, 7, np.int64)
        places = count(bins, counts, floor)
        np.testing.assert_array_equal(counts - 7, np.bincount(bins, minlength=64))
        np.testing.assert_array_equal(places, np.flatnonzero(bins >= floor))


def test_read_only_bins(rng):
    bins = rng.integers(0, 64, 100).astype(np.uint16)
    bins.flags.writeable = False
    for count in counters():
        counts = np.zeros(64, np.int64)
        assert count(bins, counts, 60).tolist() == np.flatnonzero(bins >= 60).tolist()
        assert counts.sum() == 100


def test_small_jobs_do_not_compile():
    assert counting.choose_counter(10**6) is counting.count_and_find


def test_all_pairs_by_the_compiled_loop(rng, monkeypatch):
    pytest.importorskip("numba")
    features = rng.standard_normal((70, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(9, size=70)
    measure = functools.partial(all_pairs_roc, block_size=16, tail_size=200)
    plain = measure(features, labels)
    assert plain.tail_floor > -1
    monkeypatch.setattr(counting, "_WORTH_COMPILING", 0)
    expect_equal(plain, measure(features, labels))


def expect_equal(plain, compiled):
    for part in ("roc", "histogram", "impostor_tail", "genuine"):
        for expected, found in zip(
            getattr(plain, part), getattr(compiled, part), strict=True
        ):
            np.testing.assert_array_equal(expected, found)
    assert plain.tail_floor == compiled.tail_floor


@pytest.mark.parametrize("most", [100, 250, 2**31 - 1])
def test_device_counts_before_and_after_they_would_overflow(rng, monkeypatch, most):
    monkeypatch.setattr(counting, "_MOST_COUNTED", most)
    counter = counting.DeviceCounter(64)
    seen = []
    for floor in (0, 64, 60, 40, 63):
        bins = rng.integers(0, 64, 100).astype(np.uint16)
        scores = rng.standard_normal(100).astype(np.float32)
        places, values = counter.count_and_find(
            jnp.asarray(bins), jnp.asarray(scores), floor
        )
        np.testing.assert_array_equal(places, np.flatnonzero(bins >= floor))
        np.testing.assert_array_equal(values, scores[bins >= floor])
        seen.append(bins)
        expected = np.bincount(np.concatenate(seen), minlength=64)
        if floor == 60:
            np.testing.assert_array_equal(counter.total(), expected)
    np.testing.assert_array_equal(counter.total(), expected)
    assert counter.total().dtype == np.int64


@pytest.mark.parametrize("tail_size", [10, 200, 10_000])
def test_all_pairs_counted_on_the_device(rng, monkeypatch, tail_size):
    features = rng.standard_normal((70, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(9, size=70)
    measure = functools.partial(all_pairs_roc, block_size=8, tail_size=tail_size)
    on_host = measure(features, labels)
    monkeypatch.setattr(pair_counter, "counts_on_device", lambda: True)
    fetched = []
    inner = pair_counter.DeviceCounter.count_and_find

    def spy(self, *arguments):
        found = inner(self, *arguments)
        fetched.append(len(found[0]))
        return found

    monkeypatch.setattr(pair_counter.DeviceCounter, "count_and_find", spy)
    expect_equal(on_host, measure(features, labels))
    # Only tiles without a genuine pair, and of those no more than the tail may want.
    assert fetched
    assert tail_size > 200 or min(fetched) < 64
