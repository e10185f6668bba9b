"""The products of rows with the cells that they probe, and the best of them.

    the K largest F_i · F_j, j in a cell that i probes or i in one that j probes

The rows need not fit into memory, nor do the lists. The members of a group of cells are
gathered, and all rows are read in order, chunk after chunk. A chunk's queries of one
cell are one product with its members, and what is at least the K-th best of either row
so far is kept: a `Part` of the members, and what they offer to the queries, at most K
a row. Neither depends on the other groups. All of them are merged at the end.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from gfa_jax.neighbors.ivf import cells, lists

# Values of the rows in a group of cells, 256 MiB in float32, and groups of a small set.
_GROUP_VALUES = 2**26
_FEWEST_GROUPS = 8
# Members that are fetched at a time.
_FETCHED_ROWS = 4096
# Numbers of one block of products, 16 MiB in float32.
_BLOCK = 2**22
# Rows that are multiplied with a cell at a time, so that they stay in cache.
_QUERIES = 1024
# Products of one thread at a time.
_TASK_PRODUCTS = 2**20
# Products after which what was found may be merged, and found candidates after which
# it is: 12 bytes each, and twice more while they are merged.
_BATCH_PRODUCTS = 2**25
_FEWEST_FOUND = 2**23


class Part(NamedTuple):
    """The best of the rows of a group of cells: of their cell and all that probe it."""

    numbers: np.ndarray  # [M] int32 ascending
    similarity: np.ndarray  # [M, K], as in `lists.Lists`
    indices: np.ndarray  # [M, K]


class Groups(NamedTuple):
    """The rows by cell, in groups of consecutive cells."""

    cells: list[np.ndarray]
    ends: np.ndarray  # [C + 1] where the rows of each cell begin in `order`
    order: np.ndarray  # [N] int32 row numbers

    def numbers(self, group: int) -> np.ndarray:
        """Returns the row numbers of a group, by cell."""
        which = self.cells[group]
        return self.order[self.ends[which[0]] : self.ends[which[-1] + 1]]


class _Members(NamedTuple):
    """The rows of a group of cells, by cell."""

    cells: np.ndarray  # [G] consecutive
    starts: np.ndarray  # [G + 1] where the rows of each begin
    numbers: np.ndarray  # [M] int32 row numbers
    features: np.ndarray  # [M, D] float32

    def of(self, cell: int) -> slice:
        """Returns where the rows of a cell are."""
        place = cell - self.cells[0]
        return slice(self.starts[place], self.starts[place + 1])


def group_cells(own: np.ndarray, num_cells: int, dim: int) -> Groups:
    """Puts the cells of [N] rows into groups, each a task by itself."""
    size = np.bincount(own, minlength=num_cells)
    most = min(_GROUP_VALUES, max(1, len(own) * dim // _FEWEST_GROUPS))
    order = np.argsort(own.astype(np.uint16), kind="stable").astype(np.int32)
    return Groups(
        _split(np.arange(num_cells), size * dim, most),
        np.concatenate([[0], np.cumsum(size)]),
        order,
    )


def own_kth_best(
    rows: Any, groups: Groups, group: int, k: int, pool: Executor
) -> np.ndarray:
    """Finds the K-th best of each row of a group in its own cell, [M], by cell.

    Cost: N D / C multiply-adds a row. Memory: that of `score` without what it finds.
    """
    members = _gather(rows, groups, group)
    return _own_cells(members, k, pool).similarity.min(axis=1)


def score(
    rows: Any,
    probes: cells.Probes,
    groups: Groups,
    group: int,
    kth_best: np.ndarray,
    *,
    k: int,
    least: float,
    offer: Callable[[int, lists.Found], lists.Found],
    pool: Executor,
) -> Part:
    """Multiplies the rows of a group with all rows that probe their cells.

    From another cell than the row's own only inner products of at least `least` count.
    What the K-th best of each row certainly reaches, `kth_best` [N], is raised by what
    is found here; with other bounds the Part, and what is offered, may hold more or
    less, of which nothing survives when all is merged. `offer` keeps the best that a
    chunk's rows, by row, are offered by this group; it gives these, or the K best that
    any group offered them.

    Cost: all rows read once, those of the group twice. Memory: the rows of a group (256
    MiB, or those of the largest cell) with their lists, and of a chunk, 36 bytes for
    each of 2^23 candidates, twice, and blocks of 16 MiB for each thread.
    """
    members = _gather(rows, groups, group)
    best = _own_cells(members, k, pool)
    limit = np.maximum(best.similarity.min(axis=1), np.float32(least))
    mine: list[lists.Found] = []
    for number, offsets in enumerate(probes.offsets):
        chunk = _Chunk(
            number * cells.CHUNK_ROWS,
            cells.read(rows, cells.chunk_rows(number)),
            probes.rows(number),
            offsets,
        )
        asked: list[lists.Found] = []
        for batch in _batches(chunk, members):
            task = functools.partial(_score, chunk, members, limit, kth_best, least)
            for to_members, to_queries in cells.in_turn(pool, task, batch):
                mine.append(to_members)
                asked.append(to_queries)
            if _count(mine) > _FEWEST_FOUND:
                lists.merge(best, mine, pool)
                limit, mine = np.maximum(limit, best.similarity.min(axis=1)), []
            if _count(asked) > _FEWEST_FOUND:
                asked = [lists.first(lists.join(asked), k)]
                _raise(kth_best, asked[0], k)
        _raise(kth_best, offer(number, lists.first(lists.join(asked), k)), k)
    lists.merge(best, mine, pool)
    by_number = np.argsort(members.numbers)
    numbers = members.numbers[by_number]
    best = lists.Lists(*(x[by_number] for x in best))
    kth_best[numbers] = np.maximum(kth_best[numbers], best.similarity.min(axis=1))
    return Part(numbers, *best)


def merge_parts(
    parts: Iterable[Part],
    offers: Callable[[int], Iterable[lists.Found]],
    wanted: np.ndarray,
    k: int,
) -> lists.Lists:
    """Merges all parts, and the offers to the chunks, for some rows: lists [n, K].

    They are wanted of [n] int32 row numbers, ascending.
    """
    best, found = lists.empty(len(wanted), k), []
    for part in parts:
        place, index = _find(part.numbers, wanted)
        held = part.indices[index]
        row, column = np.nonzero(held >= 0)
        similarity = part.similarity[index][row, column]
        found.append(lists.Found(place[row], held[row, column], similarity))
    for chunk in np.unique(wanted // cells.CHUNK_ROWS):
        for offer in offers(int(chunk)):
            place, index = _find(offer.rows, wanted)
            found.append(
                lists.Found(place, offer.others[index], offer.similarity[index])
            )
    lists.merge_range(best, lists.join(found))
    return best


def _find(numbers: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds ascending numbers among those that are wanted: their places in both."""
    first = np.searchsorted(numbers, wanted)
    count = np.searchsorted(numbers, wanted, side="right") - first
    place = np.repeat(np.arange(len(wanted), dtype=np.int32), count)
    before = np.cumsum(count) - count
    return place, np.arange(len(place)) + np.repeat(first - before, count)


class _Chunk(NamedTuple):
    """A chunk of rows, and which of them probe which cell, as in `Probes`."""

    first: int
    features: np.ndarray  # [n, D] float32
    queries: np.ndarray  # [V] uint16 rows of the chunk, by the cell that they probe
    offsets: np.ndarray  # [C + 1] int64, where the rows of each cell begin


def _count(found: list[lists.Found]) -> int:
    return sum(len(part.rows) for part in found)


def _raise(kth_best: np.ndarray, best: lists.Found, k: int) -> None:
    """Raises the bounds of the rows that have k, by row and best first."""
    ends = best.rows[k - 1 :]
    last = np.flatnonzero(ends == best.rows[: len(ends)])
    rows = best.rows[last]
    kth_best[rows] = np.maximum(kth_best[rows], best.similarity[last + k - 1])


def _gather(rows: Any, groups: Groups, group: int) -> _Members:
    which, numbers = groups.cells[group], groups.numbers(group)
    starts = groups.ends[which[0] : which[-1] + 2]
    features = np.empty((len(numbers), rows.shape[1]), np.float32)
    by_number = np.argsort(numbers)
    for start in range(0, len(numbers), _FETCHED_ROWS):
        part = by_number[start : start + _FETCHED_ROWS]
        features[part] = cells.read(rows, numbers[part])
    return _Members(which, starts - starts[0], numbers, features)


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


def _own_cells(members: _Members, k: int, pool: Executor) -> lists.Lists:
    """Finds the best of their own cell for the rows of a group, by cell."""
    best = lists.empty(len(members.numbers), k)

    def fill(task: np.ndarray) -> None:
        for cell in task:
            _within(best, members, members.of(cell))

    tasks = _split(members.cells, np.diff(members.starts) ** 2, _TASK_PRODUCTS)
    list(cells.in_turn(pool, fill, tasks))
    return best


def _within(best: lists.Lists, members: _Members, cell: slice) -> None:
    """Fills the lists of the rows of one cell."""
    numbers, features = members.numbers[cell], members.features[cell]
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
        rows = slice(cell.start + start, cell.start + start + len(cosine))
        best.similarity[rows, :width] = -np.take_along_axis(cosine, nearest, axis=1)
        best.indices[rows, :width] = numbers[nearest]


def _score(
    chunk: _Chunk,
    members: _Members,
    limit: np.ndarray,
    kth_best: np.ndarray,
    least: float,
    task: np.ndarray,
) -> tuple[lists.Found, lists.Found]:
    """Finds what is at least the K-th best of a member, or of a query, in some cells.

    Members are numbered in their group.
    """
    to_members, to_queries = [], []
    for cell in task:
        where = members.of(cell)
        numbers, features = members.numbers[where], members.features[where]
        start, stop = chunk.offsets[cell : cell + 2]
        for first in range(start, stop, _QUERIES):
            place = chunk.queries[first : min(first + _QUERIES, stop)]
            queries = place + np.int32(chunk.first)
            cosine = chunk.features[place] @ features.T
            flat = cosine.ravel()
            found = np.flatnonzero(cosine >= limit[where])
            row, column = np.divmod(found, len(numbers))
            column = (column + where.start).astype(np.int32)
            to_members.append(lists.Found(column, queries[row], flat[found]))
            bound = np.maximum(kth_best[queries], np.float32(least))
            found = np.flatnonzero(cosine >= bound[:, None])
            row, column = np.divmod(found, len(numbers))
            to_queries.append(lists.Found(queries[row], numbers[column], flat[found]))
    return lists.join(to_members), lists.join(to_queries)
