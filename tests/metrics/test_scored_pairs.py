"""Scores of given pairs, and the best of a stream."""

import hypothesis
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st

from gfa_jax.metrics import pair_scores
from gfa_jax.metrics.scored_pairs import RunningTop


@pytest.mark.parametrize("num_pairs", [0, 1, 256, 257, 1000])
def test_scores_are_dot_products(rng, num_pairs):
    features = rng.normal(size=(50, 17))
    pairs = rng.integers(0, 50, size=(num_pairs, 2))
    expected = np.sum(features[pairs[:, 0]] * features[pairs[:, 1]], axis=1)
    # Sums of 17 products of size about 1, in another order.
    np.testing.assert_allclose(pair_scores(features, pairs), expected, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_half_precision_is_multiplied_in_single(rng, dtype):
    features = rng.normal(size=(20, 8)).astype(dtype)
    pairs = rng.integers(0, 20, size=(30, 2)).astype(np.uint8)
    wide = features.astype(np.float64)
    scores = pair_scores(features, pairs)
    assert scores.dtype == np.float32
    expected = np.sum(wide[pairs[:, 0]] * wide[pairs[:, 1]], axis=1)
    # float32 sums of 8 products of size up to about 10.
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_memory_maps_and_device_arrays(rng, tmp_path):
    features = rng.normal(size=(20, 8)).astype(np.float32)
    pairs = rng.integers(0, 20, size=(30, 2))
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    expected = pair_scores(features, pairs)
    np.testing.assert_array_equal(pair_scores(mapped, pairs), expected)
    np.testing.assert_array_equal(pair_scores(jnp.asarray(features), pairs), expected)


@pytest.mark.parametrize(
    ("features", "pairs", "message"),
    [
        (np.ones(4), [[0, 1]], "expected \\[N, D\\]"),
        (np.ones((4, 2), int), [[0, 1]], "expected a floating dtype"),
        (np.ones((4, 2)), [0, 1], "expected \\[M, 2\\] row numbers"),
        (np.ones((4, 2)), [[0, 1, 1]], "expected \\[M, 2\\] row numbers"),
        (np.ones((4, 2)), [[0.0, 1.0]], "expected integer row numbers"),
        (np.ones((4, 2)), [[0, 4]], "from 0 to 4; expected 0 to 3"),
        (np.ones((4, 2)), [[-1, 1]], "from -1 to 1; expected 0 to 3"),
    ],
)
def test_bad_pairs_are_refused(features, pairs, message):
    with pytest.raises(ValueError, match=message):
        pair_scores(features, pairs)


@hypothesis.given(
    st.integers(1, 12),
    st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=12),
)
def test_running_top_misses_nothing_above_its_floor(size, batches):
    top = RunningTop(size, np.float32)
    scores = np.array([score for batch in batches for score in batch], np.float32)
    row = 0
    for batch in batches:
        batch_scores = np.array(batch, np.float32)
        rows = np.stack([np.arange(row, row + len(batch))] * 2, axis=1)
        row += len(batch)
        above = batch_scores > top.floor
        top.add(batch_scores[above], rows[above].astype(np.int32))
    kept = top.pairs()
    above = np.flatnonzero(scores > top.floor)
    assert sorted(kept.rows[:, 0].tolist()) == above.tolist()
    np.testing.assert_array_equal(kept.scores, scores[kept.rows[:, 0]])
    assert np.all(np.diff(kept.scores) <= 0)
    if scores.size <= size:
        assert top.floor == -np.inf
    else:
        # The floor is the best score that does not fit.
        assert top.floor == np.sort(scores)[-size - 1]
