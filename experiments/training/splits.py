"""Who is labelled, who chooses, who is unlabelled, who tests: a cut by identity.

    all identities ──► test │ training
    training ──► labelled (the first share of them) │ unlabelled
    labelled ──► first (train the network that clusters) │ choosing (t and t_s)

One random order of the identities, so that a larger share holds the smaller one and
the test is the same for every share.
"""

from typing import NamedTuple

import numpy as np

_LEAST = 2


class Split(NamedTuple):
    """Identities of each part, disjoint."""

    first: np.ndarray  # [P1] integers, labelled; the first training sees only these
    choosing: np.ndarray  # [P2] integers, labelled; t and t_s are chosen on these
    unlabelled: np.ndarray  # [P3] integers
    test: np.ndarray  # [P4] integers; no training sees these

    @property
    def labelled(self) -> np.ndarray:
        """All whose labels are known."""
        return np.concatenate([self.first, self.choosing])

    @property
    def training(self) -> np.ndarray:
        """All but the test."""
        return np.concatenate([self.labelled, self.unlabelled])


def split_identities(
    num_identities: int,
    *,
    share: float,
    test_share: float,
    choosing_share: float,
    seed: int,
) -> Split:
    """Cuts the identities 0 … P − 1 into the parts of the module's drawing.

    Shares are in (0, 1): of labelled identities among the training ones, of the test
    among all, of the choosing among the labelled. Raises ValueError where a part would
    have fewer than two.
    """
    order = np.random.default_rng([seed, 0]).permutation(num_identities)
    num_test = round(test_share * num_identities)
    num_training = num_identities - num_test
    num_labelled = round(share * num_training)
    num_choosing = max(_LEAST, round(choosing_share * num_labelled))
    test, labelled, unlabelled = np.split(order, [num_test, num_test + num_labelled])
    first, choosing = np.split(labelled, [max(0, num_labelled - num_choosing)])
    split = Split(first, choosing, unlabelled, test)
    for name, part in split._asdict().items():
        if len(part) < _LEAST:
            raise ValueError(
                f"{num_identities} identities leave {len(part)} in the part "
                f"'{name}' at --shares={share:g}, --test_share={test_share:g} and "
                f"--choosing_share={choosing_share:g}; expected at least {_LEAST}"
            )
    return split
