"""What the tiles of all pairs amount to: histograms, impostor tail, genuine pairs.

    counts[b_i] += 1,  places = [i : b_i >= floor]

The candidates of the tail are looked for among the bin numbers, which are half the
traffic of the scores. On a CPU counting is the host's part: a scatter-add of XLA takes
8 ns a score, NumPy 1.6 to 1.9, and a loop compiled by numba, where that is installed,
0.4; only large jobs pay for the compiler. An accelerator makes more scores than a host
can count: the counts are added there, and only they, high scores and the few tiles that
hold genuine pairs leave it.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.metrics.histogram import NUM_BINS, bin_numbers, count_bins
from gfa_jax.metrics.scored_pairs import RunningTop, ScoredPairs
from gfa_jax.metrics.tiles import Plan, Tile

# Scores from which on the loop saves more than numba's import and compiler cost, 2 s.
_WORTH_COMPILING = 2**31
_MOST_COUNTED = 2**31 - 1
# Histograms that a device fills in turn: most cosines fall into few bins, where the
# increments would wait for each other.
_COPIES = 64

Counter = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class Counts(NamedTuple):
    """What some of the tiles amount to; the parts of all tiles add up."""

    impostor: np.ndarray  # [B] int64 impostor scores in each bin
    genuine: np.ndarray  # [B] int64 genuine scores in each bin
    tail: ScoredPairs  # the largest impostor pairs, every one above the floor
    floor: np.ndarray  # [] the largest impostor score not in the tail; -inf: none
    kept: ScoredPairs  # every genuine pair, in any order; none where they are not kept


class PairCounter:
    """Adds up tiles whose rows are in ascending order of identity.

    The genuine pairs then lie in the few tiles along the diagonal; all other tiles
    hold impostor pairs alone and need no labels.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self._identities = plan.identities[plan.order]
        self._impostor_counts = np.zeros(NUM_BINS, np.int64)
        self._genuine_counts = np.zeros(NUM_BINS, np.int64)
        self._tail = RunningTop(plan.tail_size, plan.dtype)
        self._kept = [ScoredPairs(np.empty(0, plan.dtype), np.empty((0, 2), np.int32))]
        compile_ = len(plan.order) ** 2 // 2 >= _WORTH_COMPILING
        self._count = (compiled_counter() if compile_ else None) or count_and_find
        self._on_device = DeviceCounter() if counts_on_device() else None

    def add(self, tile: Tile) -> None:
        """Counts one tile."""
        last_of_rows = self._identities[tile.first + tile.height - 1]
        is_mixed = tile.first == tile.second or (
            last_of_rows >= self._identities[tile.second]
        )
        floor = np.asarray(self._tail.floor, self._plan.dtype)
        floor_bin = int(bin_numbers(floor))
        if self._on_device is not None and not is_mixed:
            places, scores = self._on_device.count_and_find(
                tile.bins, tile.scores, floor_bin
            )
        else:
            scores, bins = np.asarray(tile.scores), np.asarray(tile.bins)
            if is_mixed:
                impostor, genuine = self._split(tile)
                self._genuine_counts += count_bins(bins[genuine])
                if self._plan.keep_genuine:
                    rows = self._rows(tile, genuine)
                    self._kept.append(ScoredPairs(scores[genuine], rows))
                places = self._count(bins[impostor], self._impostor_counts, floor_bin)
                places = impostor[places]
            else:
                places = self._count(bins, self._impostor_counts, floor_bin)
            scores = np.take(scores, places)
        above = np.flatnonzero(scores > floor)
        self._tail.add(np.take(scores, above), self._rows(tile, np.take(places, above)))

    def counts(self) -> Counts:
        """Returns what all tiles so far amount to."""
        impostor, tail = self._impostor_counts, self._tail.pairs()
        if self._on_device is not None:
            impostor = impostor + self._on_device.total()
        kept = ScoredPairs(*map(np.concatenate, zip(*self._kept, strict=True)))
        floor = np.asarray(self._tail.floor, np.float64)
        return Counts(impostor, self._genuine_counts, tail, floor, kept)

    def _split(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Finds the places of the impostor and of the genuine pairs of a tile."""
        rows = np.arange(tile.first, tile.first + tile.height)[:, None]
        columns = np.arange(tile.second, tile.second + tile.width)[None, :]
        same = self._identities[rows] == self._identities[columns]
        upper = rows < columns
        return np.flatnonzero(~same & upper), np.flatnonzero(same & upper)

    def _rows(self, tile: Tile, places: np.ndarray) -> np.ndarray:
        """Returns the row numbers i < j [M, 2] of places in a tile."""
        first, second = np.divmod(places, tile.width)
        first = self._plan.order[tile.first + first]
        second = self._plan.order[tile.second + second]
        return np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)


def counts_on_device() -> bool:
    """Tells whether tiles are counted where they are made: on an accelerator."""
    return jax.default_backend() != "cpu"


def count_and_find(bins: np.ndarray, counts: np.ndarray, floor: int) -> np.ndarray:
    """Adds bins [M] to their counts, in place; finds the places of those >= floor."""
    counts += count_bins(bins)
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
    """Counts bins, and finds those that reach a floor, on the device of the bins.

    In 32 bits, which are added up in 64 on the host before they can overflow.
    """

    def __init__(self):
        self._total = np.zeros(NUM_BINS, np.int64)
        self._counts: jax.Array | None = None
        self._pending = 0

    def count_and_find(
        self, bins: jax.Array, scores: jax.Array, floor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adds bins [M], M < 2³¹; fetches places and scores of those >= floor."""
        if self._pending + bins.size > _MOST_COUNTED:
            self.total()
        counts = self._counts
        if counts is None:
            counts = jnp.zeros((_COPIES, NUM_BINS), jnp.int32)
        self._counts, num_found = _count(counts, bins, floor)
        self._pending += bins.size
        found = int(num_found)
        if not found:
            return np.empty(0, np.int64), np.empty(0, scores.dtype)
        # Padded to a power of two, so that few programs are compiled.
        size = min(1 << (found - 1).bit_length(), bins.size)
        places, values = map(np.asarray, _find(bins, scores, floor, size=size))
        return places[:found].astype(np.int64), values[:found]

    def total(self) -> np.ndarray:
        """Returns the counts of all bins so far: [NUM_BINS] int64."""
        if self._counts is not None:
            self._total += np.asarray(self._counts, np.int64).sum(axis=0)
        self._counts, self._pending = None, 0
        return self._total


@functools.partial(jax.jit, donate_argnums=0)
def _count(
    counts: jax.Array, bins: jax.Array, floor: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    numbers = bins.astype(jnp.int32)
    copies = jnp.arange(bins.size, dtype=jnp.int32) % _COPIES
    return counts.at[copies, numbers].add(1), jnp.sum(numbers >= floor, dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames="size")
def _find(
    bins: jax.Array, scores: jax.Array, floor: jax.Array | int, *, size: int
) -> tuple[jax.Array, jax.Array]:
    (places,) = jnp.nonzero(bins.astype(jnp.int32) >= floor, size=size, fill_value=0)
    return places, scores[places]
