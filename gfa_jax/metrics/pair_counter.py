"""What the tiles of all pairs amount to: histograms, impostor tail, genuine pairs.

On a CPU counting is the host's part (see `counting`): a scatter-add of XLA's CPU
backend takes 8 ns a score. On an accelerator the counts are added where the scores are
as well, but for the few tiles that hold genuine pairs. The candidates
of the tail are looked for among the bin numbers, which are half the traffic of the
scores.
"""

import jax
import numpy as np
import numpy.typing as npt

from gfa_jax.metrics.counting import DeviceCounter, choose_counter
from gfa_jax.metrics.histogram import (
    ScoreHistogram,
    bin_edges,
    bin_numbers,
    count_bins,
)
from gfa_jax.metrics.scored_pairs import RunningTop, ScoredPairs, by_descending_score
from gfa_jax.metrics.tiles import Tile


class PairCounter:
    """Adds up tiles whose rows are in ascending order of identity.

    The genuine pairs then lie in the few tiles along the diagonal; all other tiles
    hold impostor pairs alone and need no labels. `impostor_tail` is the running list of
    the largest impostor scores.
    """

    def __init__(
        self,
        order: np.ndarray,
        identities: np.ndarray,
        *,
        dtype: npt.DTypeLike,
        num_bins: int,
        tail_size: int,
        keep_genuine: bool,
    ):
        """Starts from nothing: row [N] and identity [N] of each place of the tiles."""
        self.impostor_tail = RunningTop(tail_size, dtype)
        self._order = order
        self._identities = identities
        self._dtype = np.dtype(dtype)
        self._num_bins = num_bins
        self._impostor_counts = np.zeros(num_bins, np.int64)
        self._genuine_counts = np.zeros(num_bins, np.int64)
        self._genuine: list[ScoredPairs] | None = [] if keep_genuine else None
        self._known_floor: tuple[np.ndarray, int] | None = None
        self._count = choose_counter(len(order) * (len(order) - 1) // 2)
        self._on_device = DeviceCounter(num_bins) if counts_on_device() else None

    def add(self, tile: Tile) -> None:
        """Counts one tile."""
        last_of_rows = self._identities[tile.first + tile.height - 1]
        holds_genuine = (
            tile.is_diagonal or last_of_rows >= self._identities[tile.second]
        )
        if self._on_device is not None and not holds_genuine:
            self._add_on_device(tile, self._on_device)
            return
        scores, bins = np.asarray(tile.scores), np.asarray(tile.bins)
        if not holds_genuine:
            self._add_impostors(tile, scores, bins, places=None)
            return
        impostor, genuine = self._split(tile)
        self._add_impostors(tile, scores, bins[impostor], places=impostor)
        self._genuine_counts += count_bins(bins[genuine], num_bins=self._num_bins)
        if self._genuine is not None:
            rows = self._rows(tile, genuine)
            self._genuine.append(ScoredPairs(scores[genuine], rows))

    def histogram(self) -> ScoreHistogram:
        """Returns the counts of all pairs so far."""
        impostor = self._impostor_counts
        if self._on_device is not None:
            impostor = impostor + self._on_device.total()
        return ScoreHistogram(bin_edges(self._num_bins), impostor, self._genuine_counts)

    def genuine_pairs(self) -> ScoredPairs | None:
        """Returns the genuine pairs by descending score; None where not kept."""
        if self._genuine is None:
            return None
        return by_descending_score(
            np.concatenate([pairs.scores for pairs in self._genuine]),
            np.concatenate([pairs.rows for pairs in self._genuine]),
        )

    def _add_impostors(
        self,
        tile: Tile,
        scores: np.ndarray,
        bins: np.ndarray,
        *,
        places: np.ndarray | None,
    ) -> None:
        """Counts the impostor pairs of a tile.

        `bins` are theirs, at `places` of the tile; None where they are all of it.
        """
        floor, floor_bin = self._floor()
        candidates = self._count(bins, self._impostor_counts, floor_bin)
        if places is not None:
            candidates = places[candidates]
        self._add_to_tail(tile, candidates, np.take(scores, candidates), floor)

    def _add_on_device(self, tile: Tile, counter: DeviceCounter) -> None:
        """Counts a tile of impostor pairs on its device."""
        floor, floor_bin = self._floor()
        candidates, scores = counter.count_and_find(tile.bins, tile.scores, floor_bin)
        self._add_to_tail(tile, candidates, scores, floor)

    def _add_to_tail(
        self, tile: Tile, places: np.ndarray, scores: np.ndarray, floor: np.ndarray
    ) -> None:
        """Keeps the pairs at some places of a tile that score above the floor."""
        above = np.flatnonzero(scores > floor)
        self.impostor_tail.add(
            np.take(scores, above), self._rows(tile, np.take(places, above))
        )

    def _floor(self) -> tuple[np.ndarray, int]:
        """Returns the floor of the tail and its bin; it moves a few times in all."""
        present, known = self.impostor_tail.floor, self._known_floor
        if known is None or known[0] != present:
            floor = np.asarray(present, self._dtype)
            known = floor, int(bin_numbers(floor, num_bins=self._num_bins))
            self._known_floor = known
        return known

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
        first, second = (
            self._order[tile.first + first],
            self._order[tile.second + second],
        )
        return np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)


def counts_on_device() -> bool:
    """Tells whether tiles are counted where they are made: on an accelerator."""
    return jax.default_backend() != "cpu"
