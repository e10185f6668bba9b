"""Exact neighbours of a set larger than memory: two chunks of its rows at a time.

The rows stay where they are, in a memory-mapped file as a rule. A pair of chunks I <= J
is read, multiplied tile by tile as `exact` does, and merged into the lists of both, so
every pair of rows is multiplied once. Kept are the lists, O(N K), and two chunks.

A search that takes hours is also one that is interrupted: with a checkpoint folder the
lists are stored twice a minute, between two pairs of chunks, and the next run with the
same input goes on from there.
"""

import itertools
import math
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics
from gfa_jax.checks import check_search
from gfa_jax.datasets import resumable
from gfa_jax.neighbors import tiles
from gfa_jax.neighbors.exact import finish, merge_pair, round_up, sweep
from gfa_jax.neighbors.tiles import Best, Rows
from gfa_jax.types import Neighbors, track

# A chunk of 32,768 × 512 float32 is 64 MiB; reading it takes a hundredth of the time
# that multiplying it with another one does.
_CHUNK_ROWS = 32_768
_FILE = "neighbors"
# The lists of 2 million rows are 0.2 GB, which a disk takes in about a second.
_SAVE_SECONDS = 30.0


def exact_neighbors(
    rows: Any,
    *,
    k: int,
    chunk_size: int = _CHUNK_ROWS,
    tile_size: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product, reading rows as it needs them.

        KNN_i = the K largest of A_ij = F_i · F_j over j      (paper, Eq. 5 and 6)

    Args:
        rows: [N, D] floating, anything with a shape, a dtype and slices of rows: a
            memory map, for one. Half precision is multiplied in float32. k and
            tile_size as for `gfa_jax.exact_neighbors`.
        chunk_size: rows, rounded up to whole tiles, that are in memory at a time,
            twice; halved, with a RuntimeWarning, where the device has no memory.
        checkpoint: a folder for the unfinished search, made if missing in one that
            exists. It holds the lists, N (k + 1) 8 bytes, and stays when the search
            ends: remove it then.
        progress: goes round the pairs of chunks that are left.

    Returns:
        Neighbors as NumPy arrays, those of `gfa_jax.exact_neighbors` but for the
        rounding of the products; the same bits whether or not it was interrupted.

    Raises:
        ValueError: k outside [1, N), rows that are not [N, D] floating, a size that is
            no multiple of 32, or a checkpoint of other rows or options.

    Cost: N² D multiply-adds / 2; N² D / (2 chunk) values read. Memory: four [N, k]
    arrays and two [chunk, D] chunks; pages of a memory map count as resident while the
    system has room for them. With a checkpoint the rows are read once more, to hash
    them, and the lists are written twice a minute.
    """
    tiles.check_size("chunk_size", chunk_size)
    if tile_size is not None:
        tiles.check_size("tile_size", tile_size)
    check_search(rows, k=k, block_size=chunk_size)
    num_rows = rows.shape[0]
    dtype = numerics.to_compute_dtype(rows[:1]).dtype
    if tile_size is None:
        tile_size = min(tiles.TILE, round_up(num_rows, tiles.GROUP), chunk_size)
    chunk_size = min(round_up(chunk_size, tile_size), round_up(num_rows, tile_size))

    others = k - 1
    # Lists on the host, which are written to in place.
    lists: Any = (
        np.full((others, num_rows), -np.inf, dtype),
        np.full((others, num_rows), -1, np.int32),
    )
    best = Best(*lists)
    store = None
    first = 0
    if checkpoint is not None:
        options = [k, chunk_size, tile_size]
        store = resumable.open_store(checkpoint, rows, options)
        stored = store.load(_FILE, ("merged", *Best._fields))
        if stored is not None:
            # The file is replaced while the lists are in use: they must not map it.
            merged, *lists = map(np.array, stored)
            first, best = int(merged), Best(*lists)
    starts = range(0, num_rows if others else 0, chunk_size)
    pairs = list(itertools.combinations_with_replacement(starts, 2))
    search = _Search(rows, best, chunk_size, tile_size)
    left = range(first, len(pairs))
    saved = time.monotonic()
    for pair in track(progress, left, desc="neighbors"):
        search.merge(*pairs[pair], chunk_size)
        is_due = time.monotonic() - saved >= _SAVE_SECONDS or pair == len(pairs) - 1
        if store is not None and is_due:
            store.save(_FILE, {"merged": np.array(pair + 1)} | best._asdict())
            saved = time.monotonic()
    return search.finish(k)


class _Search:
    """The lists of all rows, in memory, and the rows, which are not."""

    def __init__(self, rows: Any, best: Best, chunk_size: int, tile_size: int):
        self._rows = rows
        self._best = best
        self._chunk_size = chunk_size  # becomes smaller where memory is short
        self._tile_size = tile_size

    def merge(self, start: int, other: int, size: int) -> None:
        """Merges `size` rows from `start` and `size` from `other` into each other.

        The lists change only when a pair of chunks is done, so one for which there was
        no memory is merged again in quarters.
        """
        if other >= len(self._rows):
            return
        while size <= self._chunk_size:
            try:
                merged = self._merged(start, other, size)
            except jax.errors.JaxRuntimeError as error:
                self._chunk_size = tiles.halve(size, error)
            else:
                for first, part in merged.items():
                    self._put(first, part)
                return
        half = size // 2
        for i, j in ((0, 0), (0, half), (half, 0), (half, half)):
            if start != other or i <= j:
                self.merge(start + i, other + j, half)

    def finish(self, k: int) -> Neighbors:
        """Turns the lists into [N, k] arrays, the row itself first."""
        num_rows = len(self._rows)
        found = Neighbors(
            np.empty((num_rows, k), np.int32),
            np.empty((num_rows, k), self._best.similarity.dtype),
        )
        for start in range(0, num_rows, self._chunk_size):
            part = finish(*self._load(start, self._chunk_size), include_self=True)
            for whole, piece in zip(found, part, strict=True):
                whole[start : start + self._chunk_size] = piece[: num_rows - start]
        return found

    def _merged(self, start: int, other: int, size: int) -> dict[int, Best]:
        """Gives the merged lists by the number of their first row."""
        tile_size = math.gcd(self._tile_size, size)
        rows, best = self._load(start, size)
        if start == other:
            num_tiles = size // tile_size
            swept = sweep(rows, best, 0, num_tiles, tile_size=tile_size)
            return {start: jax.device_get(swept)}
        others, theirs = self._load(other, size)
        num_tiles = tuple(
            round_up(min(size, len(self._rows) - first), tile_size) // tile_size
            for first in (start, other)
        )
        both = merge_pair(rows, best, others, theirs, num_tiles, tile_size=tile_size)
        return dict(zip((start, other), jax.device_get(both), strict=True))

    def _load(self, start: int, size: int) -> tuple[Rows, Best]:
        """Reads a chunk and its lists, padded to the same size everywhere."""
        block = np.asarray(self._rows[start : start + size])
        padding = size - len(block)
        features = numerics.to_compute_dtype(np.pad(block, ((0, padding), (0, 0))))
        part = (x[:, start : start + size] for x in self._best)
        similarity, indices = (np.pad(x, ((0, 0), (0, padding))) for x in part)
        rows = Rows(features, jnp.asarray(np.arange(size) < len(block)), start)
        return rows, Best(jnp.asarray(similarity), jnp.asarray(indices))

    def _put(self, start: int, part: Best) -> None:
        for whole, piece in zip(self._best, part, strict=True):
            there = whole[:, start : start + piece.shape[1]]
            there[...] = piece[:, : there.shape[1]]
