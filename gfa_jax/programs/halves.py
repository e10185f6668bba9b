"""Two halves of the identities: one to choose the settings on, one to report on.

Identities are split at random, so no person, no row and no pair is in both halves,
and each half is a pool by itself.
"""

import numpy as np

from gfa_jax import datasets
from gfa_jax.programs import inputs


def shuffle_identities(
    pool: inputs.Pool, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the identities of a pool, and puts them in a random order.

    Returns:
        [N] number of each row's identity, -1 where it is unknown; the [C] numbers in
        their order, of which the first half is that of the first half of `split`.

    Raises:
        ValueError: a pool without identities, or with listed pairs.
    """
    if pool.labels is None or pool.pairs is not None:
        raise ValueError("expected --labels and no --pairs: halves need identities")
    known = datasets.known_identities(pool.labels)
    codes = np.full(len(known), -1, np.int32)
    codes[known], identities = datasets.encode_labels(pool.labels[known])
    return codes, np.random.default_rng(seed).permutation(len(identities))


def split(pool: inputs.Pool, *, seed: int) -> tuple[inputs.Pool, inputs.Pool]:
    """Splits a pool by identity: to choose on, and to report on.

    Rows of unknown identity are in neither half.

    Raises:
        ValueError: a pool without identities, a half without both kinds of pairs.
    """
    codes, order = shuffle_identities(pool, seed=seed)
    half = len(order) // 2
    first, second = np.isin(codes, order[:half]), np.isin(codes, order[half:])
    return inputs.select(pool, first, codes), inputs.select(pool, second, codes)
