"""The products of rows with the cells that they probe, and the best of them.

    the K largest F_i · F_j, j in a cell that i probes or i in one that j probes

The rows need not fit into memory. The members of a group of cells are gathered, and all
rows are read in order, chunk after chunk. A chunk's queries of one cell are one product
with its members, and what is at least the K-th best of either row is kept to be merged.
"""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from gfa_jax.datasets import resumable
from gfa_jax.neighbors.ivf import cells, lists
from gfa_jax.types import track

# Values of the rows in a group of cells, 128 MiB in float32.
_GROUP_VALUES = 2**25
# Members that are fetched at a time.
_FETCHED_ROWS = 4096
# Numbers of one block of products, 16 MiB in float32.
_BLOCK = 2**22
# Rows that are multiplied with a cell at a time, so that they stay in cache.
_QUERIES = 1024
# Products of one task.
_TASK_PRODUCTS = 2**20
# Products after which what was found may be merged, and found candidates after which
# it is: 12 bytes each, and once more while they are merged.
_BATCH_PRODUCTS = 2**25
_FEWEST_FOUND = 2**23
# The lists of 2 million rows and what waits for them are 0.3 GB.
_SAVE_SECONDS = 60.0
_NAME = "neighbors"
# What is kept of an unfinished search.
_KEPT = ("finished", *lists.Lists._fields, *(f"found_{x}" for x in lists.Found._fields))


class _Members(NamedTuple):
    """The rows of a group of cells, by cell."""

    cells: np.ndarray  # [G] consecutive
    starts: np.ndarray  # [G + 1] where the rows of each begin
    numbers: np.ndarray  # [M] int32 row numbers
    features: np.ndarray  # [M, D] float32

    def of(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the row numbers of a cell, and its rows."""
        place = cell - self.cells[0]
        rows = slice(self.starts[place], self.starts[place + 1])
        return self.numbers[rows], self.features[rows]


class _Chunk(NamedTuple):
    """A chunk of rows, and which of them probe which cell, as in `Probes`."""

    first: int
    features: np.ndarray  # [n, D] float32
    queries: np.ndarray  # [V] uint16 rows of the chunk, by the cell that they probe
    offsets: np.ndarray  # [C + 1] int64, where the rows of each cell begin


def search(
    rows: Any,
    probes: cells.Probes,
    *,
    k: int,
    least: float = -np.inf,
    store: resumable.Store | None = None,
    progress: Callable | None = None,
) -> lists.Lists:
    """Finds the k others with the largest inner product in the cells probed.

    From another cell than the row's own, inner products of at least `least`. A store
    keeps what is found; an interrupted search goes on from there, with the same bits.

    Cost: share N² D multiply-adds; all rows read 2 + N D / 2^25 times. Memory: some
    [N, k] arrays, 24 bytes for each of 2^23 candidates, the rows of a group of cells
    (128 MiB, or those of the largest cell) and of a chunk, blocks of 16 MiB for each
    thread.
    """
    num_rows, dim = rows.shape
    num_cells = len(probes.offsets[0]) - 1
    size = np.bincount(probes.own, minlength=num_cells)
    ends = np.concatenate([[0], np.cumsum(size)])
    order = np.argsort(probes.own.astype(np.uint16), kind="stable").astype(np.int32)
    groups = _split(np.arange(num_cells), size * dim, _GROUP_VALUES)

    def gather(group: np.ndarray) -> _Members:
        starts = ends[group[0] : group[-1] + 2]
        numbers = order[starts[0] : starts[-1]]
        features = np.empty((len(numbers), dim), np.float32)
        by_number = np.argsort(numbers)
        for start in range(0, len(numbers), _FETCHED_ROWS):
            part = by_number[start : start + _FETCHED_ROWS]
            features[part] = cells.read(rows, numbers[part])
        return _Members(group, starts - starts[0], numbers, features)

    finished, best, found = _read(store, num_rows, k)
    waiting = sum(len(part.rows) for part in found)
    num_chunks = len(probes.offsets)
    num_steps = len(groups) * num_chunks
    steps = range(finished, num_steps)
    saved = time.monotonic()
    with cells.workers() as pool:
        if not finished:
            for group in groups:
                _fill(pool, best, gather(group))
        kth_best, members = lists.kth_best(best, least), None
        for step in track(progress, steps, desc="neighbors"):
            group, chunk = divmod(step, num_chunks)
            if members is None or not chunk:
                members = gather(groups[group])
            part = _Chunk(
                chunk * cells.CHUNK_ROWS,
                cells.read(rows, cells.chunk_rows(chunk)),
                probes.rows(chunk),
                probes.offsets[chunk],
            )
            for batch in _batches(part, members):
                score = functools.partial(_score, part, members, kth_best)
                for candidates in cells.in_turn(pool, score, batch):
                    found.append(candidates)
                    waiting += len(candidates.rows)
                # Where a batch ends does not depend on time, nor does what is found.
                if waiting > _FEWEST_FOUND:
                    best = lists.merge(best, found, pool)
                    kth_best, found, waiting = lists.kth_best(best, least), [], 0
            is_due = time.monotonic() - saved >= _SAVE_SECONDS
            if store is not None and (is_due or step + 1 == num_steps):
                found = [lists.join(found)]
                columns = (np.array(step + 1), *best, *found[0])
                store.save(_NAME, dict(zip(_KEPT, columns, strict=True)))
                saved = time.monotonic()
        return lists.merge(best, found, pool)


def _read(
    store: resumable.Store | None, num_rows: int, k: int
) -> tuple[int, lists.Lists, list[lists.Found]]:
    """Reads the steps made, the lists, and what is not merged yet."""
    kept = store.load(_NAME, _KEPT) if store is not None else None
    if kept is None:
        return 0, lists.empty(num_rows, k), []
    # The file is replaced while the lists are in use: they must not map it.
    finished, similarity, indices, *found = map(np.array, kept)
    return int(finished), lists.Lists(similarity, indices), [lists.Found(*found)]


def _split(items: np.ndarray, work: np.ndarray, most: int) -> list[np.ndarray]:
    """Splits items into runs of about so much work each, or of one that has more."""
    whole = np.cumsum(work) // most
    return np.split(items, np.flatnonzero(np.diff(whole)) + 1)


def _batches(chunk: _Chunk, members: _Members) -> Iterator[list[np.ndarray]]:
    """Splits the cells of a group into batches of tasks."""
    size = np.diff(members.starts)
    work = np.diff(chunk.offsets)[members.cells] * size
    places = np.flatnonzero(work)
    for batch in _split(places, work[places], _BATCH_PRODUCTS):
        yield _split(members.cells[batch], work[batch], _TASK_PRODUCTS)


def _fill(pool: Executor, best: lists.Lists, members: _Members) -> None:
    """Fills the lists of the rows of some cells with the best of their own cell."""

    def fill(task: np.ndarray) -> None:
        for cell in task:
            _within(best, *members.of(cell))

    tasks = _split(members.cells, np.diff(members.starts) ** 2, _TASK_PRODUCTS)
    list(cells.in_turn(pool, fill, tasks))


def _within(best: lists.Lists, numbers: np.ndarray, features: np.ndarray) -> None:
    """Fills the lists of the rows of one cell."""
    width = min(best.indices.shape[1], len(numbers) - 1)
    if width < 1:
        return
    step = max(1, _BLOCK // len(numbers))
    for start in range(0, len(numbers), step):
        cosine = features[start : start + step] @ features.T
        block = np.arange(len(cosine))
        cosine[block, start + block] = -np.inf
        np.negative(cosine, out=cosine)
        nearest = np.argpartition(cosine, width - 1, axis=1)[:, :width]
        rows = numbers[start : start + step]
        best.similarity[rows, :width] = -np.take_along_axis(cosine, nearest, axis=1)
        best.indices[rows, :width] = numbers[nearest]


def _score(
    chunk: _Chunk, members: _Members, kth_best: np.ndarray, task: np.ndarray
) -> lists.Found:
    """Finds what is at least the K-th best of either row, in some cells."""
    parts = []
    for cell in task:
        numbers, features = members.of(cell)
        limit = kth_best[numbers]
        start, stop = chunk.offsets[cell : cell + 2]
        for first in range(start, stop, _QUERIES):
            place = chunk.queries[first : min(first + _QUERIES, stop)]
            queries = place + np.int32(chunk.first)
            cosine = chunk.features[place] @ features.T
            flat = cosine.ravel()
            enters = cosine >= limit, cosine >= kth_best[queries][:, None]
            for mine, which in enumerate(enters):
                found = np.flatnonzero(which)
                row, column = np.divmod(found, len(numbers))
                pair = queries[row], numbers[column]
                parts.append(lists.Found(pair[1 - mine], pair[mine], flat[found]))
    return lists.join(parts)
