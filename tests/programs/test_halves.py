"""The split by identity."""

import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.programs import halves, inputs


@pytest.fixture(scope="module")
def pool():
    sample = datasets.synthetic_features(num_rows=300, dim=8, seed=2)
    norms = np.ones(len(sample.features))
    names = np.array([f"person {n}" for n in sample.labels])
    return inputs.Pool("sample", sample.features, norms, names, None)


def test_the_halves_share_no_identity_and_hold_every_row(pool):
    codes, order = halves.shuffle_identities(pool, seed=4)
    count = len(order) // 2
    for half, people in zip(
        halves.split(pool, seed=4), (order[:count], order[count:]), strict=True
    ):
        rows = [row for row in range(300) if codes[row] in people]
        np.testing.assert_array_equal(half.features, pool.features[rows])
        np.testing.assert_array_equal(half.labels, codes[rows])
    other, _ = halves.split(pool, seed=5)
    assert set(np.asarray(other.labels)) != set(order[:count])


def test_a_pool_without_identities_is_refused(pool):
    with pytest.raises(ValueError, match="halves need identities"):
        halves.split(pool._replace(labels=None), seed=0)
