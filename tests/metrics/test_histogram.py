"""Bins that thresholds can trust."""

import hypothesis
import hypothesis.extra.numpy as hnp
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from gfa_jax.metrics import coarsen, score_histogram
from gfa_jax.metrics.histogram import bin_edges, bin_numbers, count_bins


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


@pytest.mark.parametrize("num_bins", [2, 64, 2**16])
@hypothesis.given(
    st.one_of(cosines(np.float32, 32), cosines(np.float64, 64)),
)
def test_a_score_reaches_an_edge_as_its_bin_does(num_bins, scores):
    edges = bin_edges(num_bins)
    bins = bin_numbers(scores, num_bins=num_bins)
    assert bins.dtype == np.uint16
    # Inner edges: the end bins are open.
    expected = np.searchsorted(edges[1:-1], scores.astype(np.float64), side="right")
    np.testing.assert_array_equal(bins, expected)


@hypothesis.given(cosines(np.float32, 32))
def test_device_and_host_agree(scores):
    np.testing.assert_array_equal(
        bin_numbers(jnp.asarray(scores), num_bins=2**16),
        bin_numbers(scores, num_bins=2**16),
    )


def test_counting_equals_bincount_across_chunks(rng):
    bins = rng.integers(0, 64, size=2**18 * 2 + 17).astype(np.uint16)
    counts = count_bins(bins, num_bins=64)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, np.bincount(bins, minlength=64))
    assert count_bins(bins[:0], num_bins=64).sum() == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_histogram_of_a_list(rng, dtype):
    scores = rng.uniform(-1, 1, size=5000).astype(dtype)
    same = rng.random(5000) < 0.3
    histogram = score_histogram(scores, same, num_bins=128)
    wide = scores.astype(np.float64)
    for counts, chosen in ((histogram.impostor, ~same), (histogram.genuine, same)):
        expected, edges = np.histogram(wide[chosen], bins=128, range=(-1, 1))
        np.testing.assert_array_equal(counts, expected)
        np.testing.assert_array_equal(histogram.edges, edges)


def test_scores_beyond_one_are_counted_in_the_end_bins():
    histogram = score_histogram([1.0000001, -1.0000001], [1, 0], num_bins=4)
    assert histogram.genuine.tolist() == [0, 0, 0, 1]
    assert histogram.impostor.tolist() == [1, 0, 0, 0]


def test_coarsening_is_the_coarser_histogram(rng):
    scores, same = rng.uniform(-1, 1, size=500), rng.random(500) < 0.5
    fine = score_histogram(scores, same, num_bins=1024)
    for got, expected in zip(
        coarsen(fine, num_bins=32),
        score_histogram(scores, same, num_bins=32),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match="expected at most the present 1024"):
        coarsen(fine, num_bins=2048)


@pytest.mark.parametrize("num_bins", [0, 1, 3, 100, 2**17])
def test_bin_numbers_that_are_no_power_of_two_are_refused(num_bins):
    with pytest.raises(ValueError, match="expected a power of two from 2 to 65536"):
        score_histogram([0.1, 0.2], [1, 0], num_bins=num_bins)
