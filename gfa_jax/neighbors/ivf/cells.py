"""The cells of an inverted file, and which of them each row probes.

The rows are put into cells, each row into that of the centroid c nearest to it, and row
i probes the cells whose centroid is nearly as near as that of its own:

    F_i · c_b >= ρ max_b' F_i · c_b'

so that a row that lies between many cells probes as many as it needs. All rows that
probe a cell are multiplied with all rows in it at once (`cell_search`), and every
product serves both of its rows: an edge (i, j) is found where i probes the cell of j
*or* j that of i.
"""

import concurrent.futures
import contextlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

# Cells a N^0.63: more make the search cheaper, and the centroids and the assignment
# dearer. Both cost the same at about 8 √N where rows are in small groups, and small
# sets have cells of some 50 rows at least, or their lists begin empty.
_CELLS, _CELLS_GROWTH = 1.2, 0.63
# They are sorted by 16 bits.
_MOST_CELLS = 2**16
# Rows to train on, a cell, and rounds: better centroids would cost more than they save.
ROWS_PER_CELL = 16
ROUNDS = 5
# Rows of the sample that are read at a time, with those between them.
_SAMPLED_ROWS = 4096
# Rows of a chunk: their numbers are 16-bit integers.
CHUNK_ROWS = 2**16
# Numbers of one block of products, 16 MiB in float32.
_BLOCK = 2**22
_MOST_THREADS = 8


class Probes(NamedTuple):
    """Which rows probe which cells, chunk by chunk of the rows."""

    own: np.ndarray  # [N] int32 cell of each row
    # Of a chunk [V] uint16, which of its rows probe another cell than their own, by
    # cell; for each chunk [C + 1] int64, where the rows of each cell begin.
    rows: Callable[[int], np.ndarray]
    offsets: list[np.ndarray]
    share: float  # products of all these cells over N²


def num_cells(num_rows: int) -> int:
    """Gives the number of cells that N rows are put into, a power of two."""
    most = round(math.log2(_CELLS * num_rows**_CELLS_GROWTH))
    return min(2**most, _MOST_CELLS)


def num_chunks(num_rows: int) -> int:
    """Gives the number of chunks of N rows."""
    return -(-num_rows // CHUNK_ROWS)


def chunk_rows(chunk: int) -> slice:
    """Returns the rows of a chunk, the last of which may be shorter."""
    return slice(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)


def read(rows: Any, which: slice | np.ndarray) -> np.ndarray:
    """Reads some rows in float32; those of a float32 array themselves, for a slice."""
    return np.ascontiguousarray(rows[which], dtype=np.float32)


def train(faiss, rows: Any, num_cells: int) -> np.ndarray:
    """Finds C centroids, [C, D] float32 unit rows, by FAISS's k-means.

    80 C² D multiply-adds over 16 C evenly spaced rows, in memory twice.
    """
    num_rows, dim = rows.shape
    step = max(1, num_rows // (ROWS_PER_CELL * num_cells))
    part = step * _SAMPLED_ROWS
    sample = np.concatenate(
        # A copy of each part, or all of them would be read at once in the end.
        [
            read(rows, slice(s, s + part))[::step].copy()
            for s in range(0, num_rows, part)
        ]
    )
    kmeans = faiss.Kmeans(
        dim,
        num_cells,
        niter=ROUNDS,
        spherical=True,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    kmeans.train(sample)
    return kmeans.centroids


def probe_chunk(
    rows: Any,
    centroids: np.ndarray,
    ratio: float,
    chunk: int,
    pool: concurrent.futures.Executor,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts the rows of a chunk into cells and chooses the cells that they probe.

    Returns their cells [n] int32, and `Probes.rows` and an entry of `Probes.offsets`.

    Cost: n C D multiply-adds. Memory: the rows, the probes five times, and a block of
    products a thread.
    """
    num_cells = len(centroids)
    directions = np.ascontiguousarray(centroids.T)
    step = max(1, _BLOCK // num_cells)

    def probe(block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cosine = features[block] @ directions
        own = np.argmax(cosine, axis=1)
        count = np.arange(len(own))
        probed = cosine >= probe_threshold(cosine[count, own], ratio)[:, None]
        probed[count, own] = False
        row, cell = np.divmod(np.flatnonzero(probed), num_cells)
        by_cell = np.argsort(cell.astype(np.uint16), kind="stable")
        return (
            own.astype(np.int32),
            (row[by_cell] + block.start).astype(np.uint16),
            np.bincount(cell, minlength=num_cells),
        )

    features = read(rows, chunk_rows(chunk))
    blocks = [slice(s, s + step) for s in range(0, len(features), step)]
    return _join(*zip(*in_turn(pool, probe, blocks), strict=True))


def join_chunks(load: Callable[[int], Sequence[np.ndarray]], num_rows: int) -> Probes:
    """Joins what `probe_chunk` gave of every chunk, which `load` gives, or maps."""
    own, offsets = np.empty(num_rows, np.int32), []
    for chunk in range(num_chunks(num_rows)):
        part = load(chunk)
        own[chunk_rows(chunk)] = part[0]
        offsets.append(np.array(part[2]))
    size = np.bincount(own, minlength=len(offsets[0]) - 1)
    num_queries = sum(map(np.diff, offsets)) + size
    share = float((num_queries / num_rows) @ (size / num_rows))
    return Probes(own, lambda chunk: load(chunk)[1], offsets, share)


def _join(own, rows, counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins the probes of the blocks of a chunk, by cell."""
    counts = np.stack(counts)
    offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    # Where the rows of each block stand among those of each cell.
    place = offsets[:-1] + np.cumsum(counts, axis=0) - counts
    ordered = np.empty(offsets[-1], np.uint16)
    for part, count, first in zip(rows, counts, place, strict=True):
        within = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
        ordered[np.repeat(first, count) + within] = part
    return np.concatenate(own), ordered, offsets


def probe_threshold(best: np.ndarray, ratio: float) -> np.ndarray:
    """Gives the least cosine of a centroid that is probed, of that of the nearest."""
    return np.where(best > 0, ratio, 1.0).astype(best.dtype) * best


@contextlib.contextmanager
def workers() -> Iterator[concurrent.futures.Executor]:
    """Makes as many threads as there are processors, each with a product of its own.

    Without threadpoolctl, which says so to the library of the products, it is one.
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
