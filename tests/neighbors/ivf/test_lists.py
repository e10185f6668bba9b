"""Merging by sorting keeps the K best of every row, each once."""

import collections
import concurrent.futures

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from gfa_jax.neighbors.ivf import lists


@pytest.fixture(scope="module")
def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        yield threads


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(1, 12),
    k=st.integers(1, 6),
    parts=st.lists(st.integers(0, 40), max_size=4),
)
def test_merged_lists_are_the_best_of_all(pool, seed, num_rows, k, parts):
    random = np.random.default_rng(seed)
    best = lists.empty(num_rows, k)
    times = collections.Counter()
    offered: dict[int, dict[int, float]] = {row: {} for row in range(num_rows)}
    for size in parts:
        rows = random.integers(num_rows, size=size).astype(np.int32)
        others = random.integers(100_000, size=size).astype(np.int32)
        others[: size // 2] %= 5
        # The same again from part to part, twice at the most.
        few = np.ones(size, bool)
        for place, pair in enumerate(zip(rows.tolist(), others.tolist(), strict=True)):
            times[pair] += 1
            few[place] = times[pair] <= 2
        rows, others = rows[few], others[few]
        # A pair has one cosine; equal ones, both zeros and negative ones among them.
        cosine = ((others % 7) / np.float32(4) - np.float32(0.5)).astype(np.float32)
        cosine[others % 7 == 2] *= np.float32(-1)
        lists.merge(best, [lists.Found(rows, others, cosine)], pool)
        for place in range(len(rows)):
            offered[rows[place]][others[place]] = cosine[place]
    for row, candidates in offered.items():
        order = sorted(candidates, key=lambda j: (-candidates[j], j))[:k]
        padding = k - len(order)
        np.testing.assert_array_equal(best.indices[row], order + [-1] * padding)
        np.testing.assert_array_equal(
            best.similarity[row],
            [candidates[j] for j in order] + [-np.inf] * padding,
        )
