"""`place_self`: the row itself first, the others as they were given."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from gfa_jax.neighbors import place_self
from tests.problems import refused

INF = np.inf
# Row 0 has itself first, row 1 in the middle, row 2 not at all, row 3 an empty slot
# before itself, row 4 none.
INDICES = np.array([[0, 3, 1], [2, 1, 0], [4, 0, 1], [-1, 3, 2], [-1, -1, -1]])
SIMILARITY = np.array(
    [[1, 0.5, 0.25], [0.75, 1, 0.5], [0.5, 0.25, 0], [-INF, 1, 0.5], [-INF] * 3],
    np.float32,
)


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(1, 12),
    num_candidates=st.integers(0, 10),
    k=st.integers(1, 12),
)
def test_equals_lists_filtered_one_by_one(seed, num_rows, num_candidates, k):
    rng = np.random.default_rng(seed)
    shape = (num_rows, num_candidates)
    indices = rng.integers(-1, num_rows, size=shape)
    similarity = rng.uniform(-1, 1, size=shape)
    indices.setflags(write=False)
    got = place_self(indices, similarity, k=k)
    assert got.indices.shape == got.similarity.shape == (num_rows, k)
    for i in range(num_rows):
        others = [
            (j, s)
            for j, s in zip(indices[i], similarity[i], strict=True)
            if j not in (-1, i)
        ]
        expected = [(i, 1.0), *others, *[(-1, -INF)] * k][:k]
        assert list(zip(got.indices[i], got.similarity[i], strict=True)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": INDICES[0]}, r"indices \(3,\) and similarity \(5, 3\) do not fit"),
        ({"indices": INDICES[:, :2]}, r"indices \(5, 2\) .* expected both \[N, M\]"),
        ({"indices": INDICES + 1}, r"span \[0, 5\]; expected \[-1, 5\)"),
        ({"indices": INDICES - 1}, r"span \[-2, 3\]; expected \[-1, 5\)"),
        ({"k": 0}, "k is 0; expected at least 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    options = {"indices": INDICES, "similarity": SIMILARITY, "k": 3} | change
    indices, similarity = options.pop("indices"), options.pop("similarity")
    refused(message, place_self, indices, similarity, **options)
