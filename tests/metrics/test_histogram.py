"""Bins that thresholds can trust."""

import hypothesis
import hypothesis.extra.numpy as hnp
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from gfa_jax.metrics import score_histogram
from gfa_jax.metrics.histogram import NUM_BINS, bin_edges, bin_numbers, count_bins


def cosines(dtype, width):
    near_edges = st.sampled_from(
        [
            dtype(np.nextafter(dtype(edge), dtype(direction)))
            for edge in (-1, -0.5, -(2.0**-15), 2.0**-15, 0.25, 1)
            for direction in (-2, edge, 2)
        ]
        + [dtype(0)]
    )
    # Subnormal numbers aside: XLA's CPU backend flushes them to zero.
    floats = st.floats(-1, 1, width=width, allow_subnormal=False)
    return hnp.arrays(dtype, 20, elements=floats | near_edges)


@hypothesis.given(st.one_of(cosines(np.float32, 32), cosines(np.float64, 64)))
def test_a_score_reaches_an_edge_as_its_bin_does(scores):
    bins = bin_numbers(scores)
    assert bins.dtype == np.uint16
    # Inner edges: the end bins are open.
    wide = scores.astype(np.float64)
    expected = np.searchsorted(bin_edges()[1:-1], wide, side="right")
    np.testing.assert_array_equal(bins, expected)
    if scores.dtype == np.float32:
        np.testing.assert_array_equal(bin_numbers(jnp.asarray(scores)), bins)


def test_counting_equals_bincount_across_chunks(rng):
    bins = rng.integers(0, NUM_BINS, size=2**18 * 2 + 17).astype(np.uint16)
    counts = count_bins(bins)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, np.bincount(bins, minlength=NUM_BINS))
    assert count_bins(bins[:0]).sum() == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_histogram_of_a_list(rng, dtype):
    scores = rng.uniform(-1, 1, size=5000).astype(dtype)
    same = rng.random(5000) < 0.3
    histogram = score_histogram(scores, same)
    wide = scores.astype(np.float64)
    for counts, chosen in ((histogram.impostor, ~same), (histogram.genuine, same)):
        expected, edges = np.histogram(wide[chosen], bins=256, range=(-1, 1))
        np.testing.assert_array_equal(counts, expected)
        np.testing.assert_array_equal(histogram.edges, edges)


def test_scores_beyond_one_are_counted_in_the_end_bins():
    histogram = score_histogram([1.0000001, -1.0000001], [1, 0])
    assert histogram.genuine[-1] == histogram.impostor[0] == 1
