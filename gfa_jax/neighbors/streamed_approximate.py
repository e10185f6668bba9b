"""Nearly all neighbours of a set larger than memory: codes in memory, rows on disk.

An inverted file (FAISS IVF) keeps every row as one byte a value, a quarter of float32.
A search looks into the `nprobe` cells nearest to the query and takes twice as many
candidates as are wanted by their codes; the rows of these are then read, and

    A_ij = F_i · F_j

decides which K stay. So the codes cost candidates, never a digit of a cosine. How many
cells are searched is calibrated as in `calibrated`. Queries go cell by cell: they ask
for the same codes, and for the same rows on disk.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics
from gfa_jax.affinity import affinity
from gfa_jax.datasets.atomic import atomic_path
from gfa_jax.neighbors import calibrated, cells, unfinished
from gfa_jax.neighbors.approximate import import_faiss, set_search
from gfa_jax.neighbors.calibrated import Calibration
from gfa_jax.neighbors.exact import check_k
from gfa_jax.neighbors.streamed import exact_neighbors_streamed
from gfa_jax.rows import gather_rows, map_rows
from gfa_jax.types import Neighbors

_CHUNK_ROWS = 32_768
# Queries at once. With K = 16 and D = 256, their candidates are 64 MiB at most.
_QUERY_ROWS = 2048
# Blocks of queries between two saves: about a minute each.
_SAVE_EVERY = 64
# Candidates by their codes for each one that is wanted.
_SHORTLIST = 2
# A value of a code costs about eight multiply-adds of the exact search's matrix
# products (measured on 2 CPU cores), of which symmetry saves half.
_LARGEST_SHARE = 1 / 16


def approximate_neighbors_streamed(
    rows: Any,
    *,
    k: int,
    edge_recall: float = 0.99,
    threshold: float | None = None,
    include_self: bool = True,
    sample_size: int = 1000,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable | None = None,
) -> tuple[Neighbors, Calibration]:
    """Finds nearly all neighbours that count, of rows that need not fit into memory.

    KNN_i = the K largest of A_ij = F_i · F_j over j in the cells searched

    Args:
        rows: [N, D] floating rows of unit length, anything with a shape, a dtype,
            slices of rows and sorted arrays of row numbers: a memory map, for one.
        k: number of neighbours in [1, N), **the row itself counted** where
            `include_self`: k=15 then means the row and 14 others.
        edge_recall: see `approximate_neighbors`.
        threshold: see `approximate_neighbors`.
        include_self: see `approximate_neighbors`.
        sample_size: see `approximate_neighbors`.
        seed: of the sample.
        checkpoint: folder for the unfinished search, made if missing; the folder above
            it exists. It holds the index, N (D + 8) bytes, and the lists, N k 8 bytes,
            and stays when the search ends: remove it then.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            chunks that are indexed and the blocks of queries that are left.

    Returns:
        Neighbors as NumPy arrays, indices [N, k] int32 and similarity [N, k], as
        `exact_neighbors_streamed` gives them, with -1 and -inf where the cells held
        fewer than k; the Calibration: its lower bound is at least `edge_recall`, or
        the search was exact. An interrupted search ends with the same bits.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: whatever `approximate_neighbors` refuses, or a checkpoint of other
            rows or options, or one that is damaged.

    Cost: training and filling the index, O(N^1.5 D); the search, O(N² D · nprobe /
    cells), and N 2K rows read. Memory: N (D + 8) bytes of codes, two [N, k] arrays,
    the rows that train the index, O(√N D); pages of a memory map count as resident
    while the system has room for them. Where cells do not help it is
    `exact_neighbors_streamed`, with its cost.
    """
    faiss = import_faiss()
    shape = tuple(rows.shape)
    if len(shape) != 2:
        raise ValueError(f"rows have shape {shape}; expected [N, D]")
    num_rows = shape[0]
    check_k(k, num_rows)
    calibrated.check_options(edge_recall, threshold, sample_size)
    dtype = numerics.to_compute_dtype(rows[:1]).dtype
    options: dict[str, Any] = {"k": k, "include_self": include_self}
    exact = Calibration("Flat", "", 1.0, 1.0, edge_recall, 0, 0)
    if num_rows < calibrated.FEWEST_ROWS or k == include_self:
        options |= {"checkpoint": checkpoint, "progress": progress}
        return exact_neighbors_streamed(rows, **options), exact

    factory = f"IVF{calibrated.num_cells(num_rows)},SQ8"
    found = Neighbors(
        np.full((num_rows, k), -1, np.int32), np.full((num_rows, k), -np.inf, dtype)
    )
    store, finished = None, 0
    if checkpoint is not None:
        asked = [edge_recall, threshold, sample_size, seed]
        versions = [factory, faiss.__version__]
        store = unfinished.open_store(
            checkpoint, rows, [*options.values(), *asked, *versions], _CHUNK_ROWS
        )
        finished, found = store.read(found)
        # Claims the folder before the index, whose file does not say of what it is.
        store.write(finished, found)
    index = _stored_index(faiss, rows, factory, store, progress)
    sample = np.random.default_rng(seed).choice(
        num_rows, min(sample_size, num_rows), replace=False
    )
    calibration = _calibrate(
        faiss, index, rows, np.sort(sample), exact, factory, threshold, **options
    )
    if calibration is exact:
        if checkpoint is not None:
            options["checkpoint"] = pathlib.Path(checkpoint, "exact")
        return exact_neighbors_streamed(rows, progress=progress, **options), exact

    order = _by_cell(faiss, index)
    starts = range(finished * _QUERY_ROWS, num_rows, _QUERY_ROWS)
    if progress is not None:
        starts = progress(starts, total=len(starts), desc="neighbors")
    for start in starts:
        block = np.sort(order[start : start + _QUERY_ROWS])
        part = _search(index, rows, block, **options)
        for whole, piece in zip(found, part, strict=True):
            whole[block] = piece
        finished = start // _QUERY_ROWS + 1
        is_last = start + _QUERY_ROWS >= num_rows
        if store is not None and (is_last or finished % _SAVE_EVERY == 0):
            store.write(finished, found)
    return found, calibration


def _stored_index(
    faiss: Any,
    rows: Any,
    factory: str,
    store: unfinished.Store | None,
    progress: Callable | None,
) -> Any:
    """Reads the index of an interrupted search, or makes it."""
    if store is None:
        return _build(faiss, rows, factory, progress)
    path = store.folder / "index.faiss"
    if path.exists():
        try:
            return faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(
                f"cannot read {path}: it is damaged; remove the folder to begin anew"
            ) from error
    index = _build(faiss, rows, factory, progress)
    with atomic_path(path) as hidden:
        faiss.write_index(index, str(hidden))
    return index


def _build(faiss: Any, rows: Any, factory: str, progress: Callable | None) -> Any:
    """Trains an inverted file on evenly spaced rows and fills it chunk by chunk."""
    num_rows, dim = rows.shape
    index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = cells.ROUNDS
    index.cp.min_points_per_centroid = 1  # as many as are given; FAISS would warn
    step = max(1, num_rows // (index.nlist * cells.ROWS_PER_CELL))
    index.train(_read(rows, np.arange(0, num_rows, step)))
    starts = range(0, num_rows, _CHUNK_ROWS)
    if progress is not None:
        starts = progress(starts, total=len(starts), desc="index")
    for start in starts:
        index.add(_read(rows, slice(start, start + _CHUNK_ROWS)))
    return index


def _calibrate(
    faiss: Any,
    index: Any,
    rows: Any,
    sample: np.ndarray,
    exact: Calibration,
    factory: str,
    threshold: float | None,
    *,
    k: int,
    include_self: bool,
) -> Calibration:
    """Searches more and more cells until the recall is above the target.

    Returns:
        How to search, the index being set to it; `exact` where cells do not help.
    """
    others = k - include_self
    wanted = _edges(faiss, rows, sample, threshold, others)
    nprobe = 1
    while nprobe <= index.nlist * _LARGEST_SHARE:
        search = f"nprobe={nprobe}"
        set_search(faiss, index, search)
        found = []
        for start in range(0, len(sample), _QUERY_ROWS):
            block = sample[start : start + _QUERY_ROWS]
            part = _search(index, rows, block, k=others, include_self=False)
            found += [set(row[row >= 0].tolist()) for row in part.indices]
        recall, bound = calibrated.measure_recall(wanted, found)
        if bound >= exact.target:
            num_edges = sum(map(len, wanted))
            return Calibration(
                factory, search, recall, bound, exact.target, num_edges, len(sample)
            )
        nprobe *= 2
    return exact


def _edges(
    faiss: Any, rows: Any, sample: np.ndarray, threshold: float | None, others: int
) -> list[set[int]]:
    """Finds the others that each sampled row has an edge to, reading all rows once."""
    queries = _read(rows, sample)
    best = faiss.ResultHeap(len(sample), others + 1, keep_max=True)
    for start in range(0, rows.shape[0], _CHUNK_ROWS):
        chunk = _read(rows, slice(start, start + _CHUNK_ROWS))
        width = min(others + 1, len(chunk))
        similarity, indices = faiss.knn(
            queries, chunk, width, metric=faiss.METRIC_INNER_PRODUCT
        )
        best.add_result(similarity, indices + start)
    best.finalize()
    limit = -np.inf if threshold is None else threshold
    edges = []
    for row, cosines, found in zip(sample, best.D, best.I, strict=True):
        is_other = (found != row) & (found >= 0)
        cosines, found = cosines[is_other][:others], found[is_other][:others]
        edges.append(set(found[cosines > limit].tolist()))
    return edges


def _search(
    index: Any, rows: Any, block: np.ndarray, *, k: int, include_self: bool
) -> Neighbors:
    """Searches some rows: a shortlist by their codes, its best by their cosines.

    Args:
        index: filled, with its search set.
        rows: [N, D].
        block: sorted numbers of at most `_QUERY_ROWS` rows.
        k: as `approximate_neighbors_streamed`.
        include_self: as `approximate_neighbors_streamed`.

    Returns:
        Neighbors of these rows, [len(block), k].
    """
    others = k - include_self
    queries = np.asarray(rows[block])
    # One more, since a row finds itself.
    _, listed = index.search(np.asarray(queries, np.float32), _SHORTLIST * others + 1)
    listed[listed == block[:, None]] = -1
    width = listed.shape[1]
    wanted, places = np.unique(listed[listed >= 0], return_inverse=True)
    # Of one size in all blocks, so that one program serves them.
    pool = np.zeros((_QUERY_ROWS * (width + 1), queries.shape[1]), queries.dtype)
    pool[: len(block)] = queries
    if len(wanted):
        pool[_QUERY_ROWS : _QUERY_ROWS + len(wanted)] = rows[wanted]
    candidates = np.full((_QUERY_ROWS, width), -1, np.int32)
    candidates[: len(block)][listed >= 0] = _QUERY_ROWS + places
    itself, cosines = jax.device_get(
        _cosines(numerics.to_compute_dtype(pool), jnp.asarray(candidates))
    )
    cosines = np.where(listed >= 0, cosines[: len(block)], -np.inf)
    order = np.lexsort((listed, -cosines), axis=1)[:, :others]
    part = (np.take_along_axis(x, order, axis=1) for x in (listed, cosines))
    indices, similarity = part
    if include_self:
        indices = np.column_stack([block, indices])
        similarity = np.column_stack([itself[: len(block)], similarity])
    return Neighbors(indices.astype(np.int32), similarity)


@jax.jit
def _cosines(pool: jax.Array, candidates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Evaluates Eq. 5 for the first rows of a pool: with themselves, and others."""
    queries = pool[: len(candidates)]

    def row_cosines(_, feature, places):
        others = gather_rows(pool, places)
        return numerics.dot("d,d->", feature, feature), affinity(feature, others)

    row_bytes = candidates.shape[1] * pool.shape[1] * pool.dtype.itemsize
    return map_rows(row_cosines, (queries, candidates), row_bytes=row_bytes)


def _by_cell(faiss: Any, index: Any) -> np.ndarray:
    """Lists all rows, those of a cell one after another: [N] row numbers."""
    lists = index.invlists
    sizes = [lists.list_size(cell) for cell in range(index.nlist)]
    return np.concatenate(
        [
            faiss.rev_swig_ptr(lists.get_ids(cell), size).copy()
            for cell, size in enumerate(sizes)
            if size
        ]
    )


def _read(rows: Any, which: slice | np.ndarray) -> np.ndarray:
    """Reads rows as FAISS takes them."""
    return np.ascontiguousarray(rows[which], dtype=np.float32)
