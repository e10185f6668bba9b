"""The rule by which settings are chosen."""

import pytest

from experiments.studies import choice


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
    chosen = choice.choose((0.4, 0.6), cells, tolerance=tolerance, strength=abs)
    assert chosen == want
