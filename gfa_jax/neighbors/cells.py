"""Neighbours found by looking into some cells only, each by one matrix product.

The rows are put into cells, each row into that of the centroid c nearest to it, and row
i looks into the cells whose centroid is nearly as near as that of its own:

    F_i · c_b >= ρ max_b' F_i · c_b'

so that a clear image looks into one or two cells and a poor one, which lies between
many, into as many as it needs. All rows that look into a cell are multiplied with all
rows in it at once; a processor does that several times as fast as it walks through an
inverted file query by query. And every product serves both of its rows: an edge (i, j)
is found where i looks into the cell of j *or* j into that of i.
"""

import concurrent.futures
import contextlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gfa_jax.neighbors import lists

# Cells per √N: more make the search cheaper, and the centroids dearer.
_CELLS_PER_ROOT = 6
# They are sorted by 16 bits.
_MOST_CELLS = 2**16
# Rows to train on, a cell, and rounds: better centroids would cost more than they save.
ROWS_PER_CELL = 16
ROUNDS = 5
# Numbers of one block of products, 16 MiB in float32.
_BLOCK = 2**22
# Rows that are multiplied with a cell at a time, so that they stay in cache.
_LOOKERS = 1024
# Products after which what was found may be merged, and found candidates after which
# it is: 16 bytes each.
_GROUP_PRODUCTS = 2**25
_FEWEST_FOUND = 2**23
_MOST_THREADS = 8


class Visits(NamedTuple):
    """Which rows look into which cells.

    Attributes:
        own: [N] int32 cell of each row.
        rows: [V] int32 rows that look into another cell than their own, by cell.
        offsets: [C + 1] int64, where the rows of each cell begin.
        share: products of all these cells over N².
    """

    own: np.ndarray
    rows: np.ndarray
    offsets: np.ndarray
    share: float


def num_cells(num_rows: int) -> int:
    """Returns the number of cells that N rows are put into, a power of two."""
    return min(2 ** round(math.log2(_CELLS_PER_ROOT * num_rows**0.5)), _MOST_CELLS)


def train(faiss, features: np.ndarray, num_cells: int) -> np.ndarray:
    """Finds the centroids by FAISS's k-means over evenly spaced rows.

    Args:
        faiss: the module.
        features: [N, D] float32.
        num_cells: C, at most N.

    Returns:
        [C, D] float32 unit rows.

    Cost: 80 C² D multiply-adds. Memory: 16 C rows.
    """
    sample = features[:: max(1, len(features) // (ROWS_PER_CELL * num_cells))]
    kmeans = faiss.Kmeans(
        features.shape[1],
        num_cells,
        niter=ROUNDS,
        spherical=True,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    kmeans.train(np.ascontiguousarray(sample))
    return kmeans.centroids


def visit(
    features: np.ndarray,
    centroids: np.ndarray,
    ratio: float,
    *,
    most: int,
    progress: Callable | None = None,
) -> Visits | None:
    """Puts the rows into cells and chooses the cells that they look into.

    Args:
        features: [N, D] float32.
        centroids: [C, D] float32.
        ratio: ρ, at most 1.
        most: visits that are worth it.
        progress: called as tqdm is, around the blocks of rows.

    Returns:
        Visits, or None where they would be more.

    Cost: N C D multiply-adds. Memory: 8 bytes a visit, and a block of products a
    thread.
    """
    num_rows, num_cells = len(features), len(centroids)
    directions = np.ascontiguousarray(centroids.T)

    def look(rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cosine = features[rows] @ directions
        own = np.argmax(cosine, axis=1)
        block = np.arange(len(own))
        looked = cosine >= reach(cosine[block, own], ratio)[:, None]
        looked[block, own] = False
        row, cell = np.divmod(np.flatnonzero(looked), num_cells)
        by_cell = np.argsort(cell.astype(np.uint16), kind="stable")
        return (
            own.astype(np.int32),
            (row[by_cell] + rows.start).astype(np.int32),
            np.bincount(cell, minlength=num_cells),
        )

    step = max(1, _BLOCK // num_cells)
    blocks = [slice(s, min(s + step, num_rows)) for s in range(0, num_rows, step)]
    if progress is not None:
        blocks = progress(blocks, total=len(blocks), desc="cells")
    own, rows, counts = [], [], []
    num_visits = 0
    with workers() as pool:
        for part in in_turn(pool, look, blocks):
            for column, values in zip((own, rows, counts), part, strict=True):
                column.append(values)
            num_visits += len(part[1])
            if num_visits > most:
                return None
    own, counts = np.concatenate(own), np.stack(counts)
    lookers = counts.sum(axis=0)
    offsets = np.concatenate([[0], np.cumsum(lookers)])
    # Where the rows of each block stand among those of each cell.
    place = offsets[:-1] + np.cumsum(counts, axis=0) - counts
    ordered = np.empty(num_visits, np.int32)
    for part, count, first in zip(rows, counts, place, strict=True):
        within = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
        ordered[np.repeat(first, count) + within] = part
    size = np.bincount(own, minlength=num_cells)
    share = float(((lookers + size) / num_rows) @ (size / num_rows))
    return Visits(own, ordered, offsets, share)


def reach(best: np.ndarray, ratio: float) -> np.ndarray:
    """Returns the least cosine of a centroid that is looked into; never above the best.

    Args:
        best: [...] cosine of the nearest centroid.
        ratio: ρ.
    """
    return np.where(best > 0, ratio, 1.0).astype(best.dtype) * best


def search(
    features: np.ndarray,
    visits: Visits,
    *,
    k: int,
    least: float = -np.inf,
    progress: Callable | None = None,
) -> lists.Lists:
    """Finds the k others with the largest inner product among the cells looked into.

    Args:
        features: [N, D] float32.
        visits: of all rows.
        k: others to find, at least 1.
        least: inner product of any worth taking from another cell than the row's own.
        progress: called as tqdm is, around the cells.

    Returns:
        Lists, sorted; equal cosines by lower index.

    Cost: share N² D multiply-adds. Memory: some [N, k] arrays, 32 bytes for each of
    2^23 candidates, blocks of 16 MiB for each thread.
    """
    num_cells = len(visits.offsets) - 1
    order = np.argsort(visits.own, kind="stable").astype(np.int32)
    size = np.bincount(visits.own, minlength=num_cells)
    starts = np.concatenate([[0], np.cumsum(size)])
    members = [order[starts[b] : starts[b + 1]] for b in range(num_cells)]
    best = lists.empty(len(features), k)

    def fill(cell: int) -> None:
        for rows, found in _within(features, members[cell], k):
            best.similarity[rows, : found.similarity.shape[1]] = found.similarity
            best.indices[rows, : found.indices.shape[1]] = found.indices

    def look(cell: int) -> lists.Found:
        lookers = visits.rows[visits.offsets[cell] : visits.offsets[cell + 1]]
        return _across(features, lookers, members[cell], bar)

    work = np.diff(visits.offsets) * size
    groups = np.split(
        np.arange(num_cells),
        np.flatnonzero(np.diff(np.cumsum(work) // _GROUP_PRODUCTS)) + 1,
    )
    if progress is not None:
        groups = progress(groups, total=len(groups), desc="neighbors")
    with workers() as pool:
        list(in_turn(pool, fill, range(num_cells)))
        bar = lists.bar(best, least)
        found: list[lists.Found] = []
        waiting = 0
        for group in groups:
            for part in in_turn(pool, look, group):
                found.append(part)
                waiting += len(part.rows)
            # Where the groups end does not depend on time, nor does what is found.
            if waiting > _FEWEST_FOUND:
                best = lists.merge(best, found, pool)
                bar, found, waiting = lists.bar(best, least), [], 0
        return lists.merge(best, found, pool)


@contextlib.contextmanager
def workers() -> Iterator[concurrent.futures.Executor]:
    """Makes as many threads as there are processors, each with a product of its own.

    Small products on one thread each are several times as fast as one on all threads.
    Without threadpoolctl, which says so to the library of the products, one thread
    makes them one by one.
    """
    count, alone = 1, contextlib.nullcontext()
    if importlib.util.find_spec("threadpoolctl") is not None:
        import threadpoolctl

        affinity = getattr(os, "sched_getaffinity", None)
        available = len(affinity(0)) if affinity else os.cpu_count() or 1
        count = min(available, _MOST_THREADS)
        alone = threadpoolctl.threadpool_limits(1, user_api="blas")
    with alone, concurrent.futures.ThreadPoolExecutor(count) as pool:
        yield pool


def in_turn(pool, function: Callable, arguments) -> Iterator:
    """Maps with a few calls under way, so that no results pile up; in order."""
    pending = []
    for argument in arguments:
        pending.append(pool.submit(function, argument))
        if len(pending) > 2 * _MOST_THREADS:
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()


def _within(features, members, k) -> Iterator[tuple[np.ndarray, lists.Lists]]:
    """Finds the best of the own cell."""
    gathered = features[members]
    step = max(1, _BLOCK // max(1, len(members)))
    width = min(k, len(members) - 1)
    if width < 1:
        return
    for start in range(0, len(members), step):
        rows = slice(start, start + step)
        cosine = gathered[rows] @ gathered.T
        block = np.arange(len(cosine))
        cosine[block, start + block] = -np.inf
        np.negative(cosine, out=cosine)
        nearest = np.argpartition(cosine, width - 1, axis=1)[:, :width]
        similarity = -np.take_along_axis(cosine, nearest, axis=1)
        yield members[rows], lists.Lists(similarity, members[nearest])


def _across(features, lookers, members, bar) -> lists.Found:
    """Finds what reaches the bar of either row, among those that look into a cell."""
    gathered, limit = np.ascontiguousarray(features[members].T), bar[members]
    parts = []
    for start in range(0, len(lookers), _LOOKERS):
        rows = lookers[start : start + _LOOKERS]
        cosine = features[rows] @ gathered
        flat = cosine.ravel()
        for mine, reached in enumerate((cosine >= limit, cosine >= bar[rows][:, None])):
            place = np.flatnonzero(reached)
            row, column = np.divmod(place, len(members))
            pair = rows[row], members[column]
            parts.append(lists.Found(pair[1 - mine], pair[mine], flat[place]))
    return lists.join(parts)
