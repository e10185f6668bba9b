"""The counters against np.bincount, and all pairs by each of them."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfa_jax.metrics import all_pairs_roc, counting
from gfa_jax.metrics.histogram import NUM_BINS


@given(st.lists(st.integers(0, 63), max_size=40), st.integers(0, 64))
def test_counts_and_places(numbers, floor):
    bins = np.array(numbers, np.uint16)
    bins.flags.writeable = False
    for count in {counting.count_and_find, counting.compiled_counter()} - {None}:
        counts = np.full(NUM_BINS, 7, np.int64)
        places = count(bins, counts, floor)
        np.testing.assert_array_equal(counts - 7, np.bincount(bins, minlength=NUM_BINS))
        np.testing.assert_array_equal(places, np.flatnonzero(bins >= floor))


@pytest.fixture
def measure(rng):
    """Measures all pairs of a small problem."""
    features = rng.standard_normal((70, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(9, size=70)
    return functools.partial(all_pairs_roc, features, labels, block_size=8)


def expect_equal(plain, compiled):
    for part in ("roc", "histogram", "impostor_tail", "genuine"):
        for expected, found in zip(
            getattr(plain, part), getattr(compiled, part), strict=True
        ):
            np.testing.assert_array_equal(expected, found)
    assert plain.tail_floor == compiled.tail_floor


def test_all_pairs_by_the_compiled_loop(measure, monkeypatch):
    pytest.importorskip("numba")
    plain = measure(tail_size=200)
    assert plain.tail_floor > -1
    monkeypatch.setattr(counting, "_WORTH_COMPILING", 0)
    expect_equal(plain, measure(tail_size=200))


@pytest.mark.parametrize("most", [100, 250, 2**31 - 1])
def test_device_counts_before_and_after_they_would_overflow(rng, monkeypatch, most):
    monkeypatch.setattr(counting, "_MOST_COUNTED", most)
    counter = counting.DeviceCounter()
    seen, expected = [], None
    for floor in (0, 64, 60, 40, 63):
        bins = rng.integers(0, 64, 100).astype(np.uint16)
        scores = rng.standard_normal(100).astype(np.float32)
        places, values = counter.count_and_find(
            jnp.asarray(bins), jnp.asarray(scores), floor
        )
        np.testing.assert_array_equal(places, np.flatnonzero(bins >= floor))
        np.testing.assert_array_equal(values, scores[bins >= floor])
        seen.append(bins)
        expected = np.bincount(np.concatenate(seen), minlength=NUM_BINS)
        if floor == 60:
            np.testing.assert_array_equal(counter.total(), expected)
    np.testing.assert_array_equal(counter.total(), expected)
    assert counter.total().dtype == np.int64


@pytest.mark.parametrize("tail_size", [10, 200, 10_000])
def test_all_pairs_counted_on_the_device(measure, monkeypatch, tail_size):
    on_host = measure(tail_size=tail_size)
    monkeypatch.setattr(counting, "counts_on_device", lambda: True)
    fetched = []
    inner = counting.DeviceCounter.count_and_find

    def spy(self, *arguments):
        found = inner(self, *arguments)
        fetched.append(len(found[0]))
        return found

    monkeypatch.setattr(counting.DeviceCounter, "count_and_find", spy)
    expect_equal(on_host, measure(tail_size=tail_size))
    # Only tiles without a genuine pair, and of those no more than the tail may want.
    assert fetched
    assert tail_size > 200 or min(fetched) < 64
