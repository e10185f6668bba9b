"""Counting a tile where its scores are: only counts and high scores leave the device.

A host counts a billion scores a second at best, and the way there is slower; an
accelerator makes more than that. The counts of a tile are added on the device in
32-bit integers, which are added up in 64 bits on the host before they can overflow.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

_MOST_COUNTED = 2**31 - 1


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
        """Adds bin numbers to their counts and fetches what reaches a floor.

        Args:
            bins: [M] uint16 bin numbers, M < 2³¹.
            scores: [M] floating scores.
            floor: the lowest bin to fetch.

        Returns:
            The places of these bins, ascending, and their scores.
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
