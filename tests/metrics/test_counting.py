"""Both counters against np.bincount, and all pairs by either of them."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfa_jax.metrics import all_pairs_roc, counting


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
    monkeypatch.setattr(counting, "_WORTH_COMPILING", 0)
    compiled = measure(features, labels)
    for part in ("roc", "histogram", "impostor_tail", "genuine"):
        for expected, found in zip(
            getattr(plain, part), getattr(compiled, part), strict=True
        ):
            np.testing.assert_array_equal(expected, found)
    assert plain.tail_floor == compiled.tail_floor > -1
