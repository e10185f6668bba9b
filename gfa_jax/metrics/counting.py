"""Counting the bins of a tile, and finding its high ones, in one pass.

    counts[b_i] += 1,  places = [i : b_i >= floor]

NumPy needs a pass for each and widens the bin numbers first: 1.6 to 1.9 ns a score,
which on two cores is a third of a product of 256 columns. Where numba is installed a
compiled loop takes 0.4. The integers are the same; only large jobs pay for the
compiler.

A host counts a billion scores a second at best, and the way there is slower; an
accelerator makes more than that. There the counts are added where the scores are, in
32-bit integers, which are added up in 64 bits on the host before they can overflow:
only counts and high scores leave the device.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.metrics.histogram import count_bins

# Scores from which on the loop saves more than numba's import and compiler cost, 2 s.
_WORTH_COMPILING = 2**31
_MOST_COUNTED = 2**31 - 1

Counter = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def choose_counter(num_scores: int) -> Counter:
    """Returns the faster way to `count_and_find` for so many scores in all."""
    compiled = compiled_counter() if num_scores >= _WORTH_COMPILING else None
    return compiled or count_and_find


def count_and_find(bins: np.ndarray, counts: np.ndarray, floor: int) -> np.ndarray:
    """Adds bins [M] to their counts, in place; finds the places of those >= floor."""
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


class DeviceCounter:
    """Counts bins, and finds those that reach a floor, on the device of the bins."""

    def __init__(self, num_bins: int):
        """Starts from no counts in `num_bins` bins."""
        self._total = np.zeros(num_bins, np.int64)
        self._counts: jax.Array | None = None
        self._pending = 0

    def count_and_find(
        self, bins: jax.Array, scores: jax.Array, floor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adds bins [M], M < 2³¹, to their counts; fetches what reaches a floor.

        Returns the places of these bins, ascending, and their scores.
        """
        if self._pending + bins.size > _MOST_COUNTED:
            self._drain()
        counts = self._counts
        if counts is None:
            counts = jnp.zeros(self._total.size, jnp.int32)
        self._counts, num_found = _count(counts, bins, floor)
        self._pending += bins.size
        found = int(num_found)
        # Padded to a power of two, so that few programs are compiled.
        size = min(1 << max(found - 1, 0).bit_length(), bins.size)
        if not found:
            return np.empty(0, np.int64), np.empty(0, scores.dtype)
        places, values = map(np.asarray, _find(bins, scores, floor, size=size))
        return places[:found].astype(np.int64), values[:found]

    def total(self) -> np.ndarray:
        """Returns the counts of all bins so far: [num_bins] int64."""
        self._drain()
        return self._total

    def _drain(self) -> None:
        if self._counts is not None:
            self._total += np.asarray(self._counts, np.int64)
        self._counts, self._pending = None, 0


@functools.partial(jax.jit, donate_argnums=0)
def _count(
    counts: jax.Array, bins: jax.Array, floor: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    numbers = bins.astype(jnp.int32)
    return counts.at[numbers].add(1), jnp.sum(numbers >= floor, dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames="size")
def _find(
    bins: jax.Array, scores: jax.Array, floor: jax.Array | int, *, size: int
) -> tuple[jax.Array, jax.Array]:
    (places,) = jnp.nonzero(bins.astype(jnp.int32) >= floor, size=size, fill_value=0)
    return places, scores[places]
