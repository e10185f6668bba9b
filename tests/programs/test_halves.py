"""The split by identity, and the rule by which settings are chosen."""

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


@pytest.mark.parametrize(
    ("cells", "tolerance", "want"),
    [
        # The largest mean gain.
        ([(1, (0.5, 0.7)), (2, (0.6, 0.7)), (3, (0.6, 0.8))], 0.0, 3),
        # Within the tolerance, the gentlest.
        ([(1, (0.5, 0.7)), (2, (0.6, 0.79)), (3, (0.6, 0.8))], 0.01, 2),
        # Under the raw features at one target: out, whatever the mean.
        ([(1, (0.4, 0.7)), (2, (0.3, 0.99))], 0.0, 1),
        # All under: those that fall furthest are out.
        ([(1, (0.2, 0.9)), (2, (0.3, 0.6))], 0.0, 2),
        # Equally gentle: the first.
        ([(-2, (0.6, 0.8)), (2, (0.6, 0.8))], 0.0, -2),
    ],
)
def test_the_gentlest_of_the_best_is_chosen(cells, tolerance, want):
    chosen = halves.choose((0.4, 0.6), cells, tolerance=tolerance, strength=abs)
    assert chosen == want
