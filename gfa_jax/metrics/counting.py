"""Counting the bins of a tile, and finding its high ones, in one pass.

    counts[b_i] += 1,  places = [i : b_i >= floor]

NumPy needs a pass for each and widens the bin numbers first: 1.6 to 1.9 ns a score,
which on two cores is a third of a product of 256 columns. Where numba is installed a
compiled loop takes 0.4. The integers are the same; only large jobs pay for the
compiler.
"""

import functools
from collections.abc import Callable

import numpy as np

from gfa_jax.metrics.histogram import count_bins

# Scores from which on the loop saves more than numba's import and compiler cost, 2 s.
_WORTH_COMPILING = 2**31

Counter = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def choose_counter(num_scores: int) -> Counter:
    """Returns the faster of the two counters for a job of so many scores.

    Args:
        num_scores: scores of all tiles.

    Returns:
        A function as `count_and_find`.
    """
    compiled = compiled_counter() if num_scores >= _WORTH_COMPILING else None
    return compiled or count_and_find


def count_and_find(bins: np.ndarray, counts: np.ndarray, floor: int) -> np.ndarray:
    """Adds bin numbers to their counts and finds those that reach a floor.

    Args:
        bins: [M] uint16 bin numbers.
        counts: [num_bins] int64, changed in place.
        floor: the lowest bin to find.

    Returns:
        The places of these bins, ascending.
    """
    counts += count_bins(bins, num_bins=counts.size)
    return np.flatnonzero(bins >= floor)


@functools.cache
def compiled_counter() -> Counter | None:
    """Compiles `count_and_find`, without the GIL; None where numba is missing."""
    try:
        import numba  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    @numba.njit(nogil=True)
    def count(bins, counts, floor, places):
        found = 0
        for place in range(bins.size):
            number = bins[place]
            counts[number] += 1
            if number >= floor:
                places[found] = place
                found += 1
        return found

    def count_and_find(bins: np.ndarray, counts: np.ndarray, floor: int) -> np.ndarray:
        places = np.empty(bins.size, np.int32)
        return places[: count(bins, counts, np.int64(floor), places)].astype(np.int64)

    return count_and_find
