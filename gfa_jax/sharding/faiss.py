"""`gfa_jax.faiss_neighbors` over processes: one index each, each query put to all.

A process indexes its own rows. Its queries go to all processes, a block at a time;
each answers with the best of its index, and the lists are merged where the query came
from. A "Flat" index is exact; an inverted file over a shard has cells of its own, and
its recall is that of the factory and search strings given.
"""

import itertools
from collections.abc import Callable

import numpy as np
from jax.sharding import Mesh

from gfa_jax.neighbors.exact import check_k
from gfa_jax.neighbors.faiss import build_index, import_faiss
from gfa_jax.sharding import layout, processes
from gfa_jax.types import Array, Neighbors

# Queries that an index is asked at once, those of all processes together.
_QUERY_BLOCK = 4096
_FEWEST_QUERIES = 64


def faiss_neighbors(
    features: Array,
    *,
    k: int,
    mesh: Mesh,
    axis_name: str,
    num_rows: int | None = None,
    include_self: bool = True,
    factory: str = "Flat",
    search: str = "",
    indexes_per_process: int = 1,
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product, as an index a process sees them.

    Args:
        features: [N, D] floating rows, or [P ⌈N/P⌉, D] as `shard_rows` places them;
            searched in float32.
        k: number of neighbours in [1, N), the row itself counted where
            `include_self`.
        mesh: the devices, whose rows their process indexes.
        axis_name: the axis of the mesh that the rows are spread over.
        num_rows: N, where `features` hold the padding of `shard_rows`.
        include_self: see `gfa_jax.faiss_neighbors`.
        factory: FAISS index factory string; an inverted file is trained on the rows
            of one index.
        search: FAISS search parameters.
        indexes_per_process: indexes that share the rows of a process.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            blocks of queries.

    Returns:
        Neighbors with as many rows as `features`, in the order of
        `gfa_jax.faiss_neighbors`, spread over the axis where P divides their number.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: k outside [1, N), zero rows on a device, or what FAISS refuses.

    Cost a process: that of N queries to an index of N / Q rows, Q processes. Over the
    links N D elements come in, and N (k + 1) similarities and numbers. Memory: the
    index, and two [block, k + 1] lists of each process.
    """
    faiss = import_faiss()
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}; expected [N, D]")
    if indexes_per_process < 1:
        raise ValueError(
            f"indexes_per_process is {indexes_per_process}; expected at least 1"
        )
    shards = layout.make_shards(
        mesh, axis_name, given_rows=len(features), num_rows=num_rows
    )
    check_k(k, shards.num_rows)
    axis = {"mesh": mesh, "axis_name": axis_name, "num_rows": shards.num_rows}
    rows = processes.take_own_rows(features, **axis)
    rows = np.ascontiguousarray(rows, np.float32)
    first = processes.own_rows(**axis).start
    indexes = _build(faiss, rows, first, indexes_per_process, factory, search)
    # One more than the others that are wanted, since a row finds itself.
    width = k if include_self else k + 1
    similarity, indices = _search(indexes, rows, width, progress)
    found = _without_self(similarity, indices, rows, first, k, include_self)
    return Neighbors(
        *(
            layout.without_padding(
                layout.place_from(np.asarray(x), shards, fill, first=first),
                shards,
                len(features),
            )
            for x, fill in zip(found, (-1, -np.inf), strict=True)
        )
    )


def _build(faiss, rows, first, count, factory, search) -> list[tuple]:
    """Fills the indexes of this process; fails in every process where it fails in one.

    Returns:
        Index and number of its first row, for each.
    """
    indexes, error = [], None
    starts = np.linspace(0, len(rows), count + 1).astype(int)
    try:
        for start, stop in itertools.pairwise(starts.tolist()):
            if start < stop:
                index = build_index(faiss, rows[start:stop], factory, search)
                indexes.append((index, first + start))
    except RuntimeError as raised:
        # FAISS throws it for all things; the reason stands last.
        reason = " ".join(str(raised).split()).rpartition(": ")[2]
        error = f"FAISS refused factory {factory!r} with search {search!r}: {reason}"
    processes.raise_together(error)
    return indexes


def _search(indexes, rows, width, progress) -> tuple[np.ndarray, np.ndarray]:
    """Puts this process's rows to the indexes of all: two [n, width] lists."""
    lengths = processes.gather_blocks(np.array([len(rows)], np.int32))[:, 0]
    block = max(_FEWEST_QUERIES, _QUERY_BLOCK // len(lengths))
    similarity = np.full((len(rows), width), -np.inf, np.float32)
    indices = np.full((len(rows), width), -1, np.int32)
    starts = range(0, int(lengths.max()), block)
    if progress is not None:
        starts = progress(starts, total=len(starts), desc="neighbors")
    for start in starts:
        queries = np.zeros((block, rows.shape[1]), np.float32)
        own = rows[start : start + block]
        queries[: len(own)] = own
        asked = processes.gather_blocks(queries)
        answers = _ask(indexes, asked.reshape(-1, rows.shape[1]), width)
        # [Q, block, width] -> [block, Q width]
        cosines, found = (
            np.concatenate(
                list(processes.exchange_blocks(x.reshape(-1, block, width))), axis=1
            )[: len(own)]
            for x in answers
        )
        place = slice(start, start + len(own))
        similarity[place], indices[place] = _best(cosines, found, width)
    return similarity, indices


def _ask(indexes, queries: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Asks the indexes of this process: two [queries, width] lists."""
    similarity, indices = [], []
    for index, first in indexes:
        cosines, found = index.search(queries, width)
        similarity.append(np.where(found < 0, -np.inf, cosines).astype(np.float32))
        indices.append(np.where(found < 0, -1, found + first).astype(np.int32))
    return _best(
        np.concatenate(similarity, axis=1), np.concatenate(indices, axis=1), width
    )


def _best(similarity, indices, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Orders by descending similarity, then by ascending number; keeps `width`."""
    order = np.lexsort((indices, -similarity), axis=1)[:, :width]
    return (
        np.take_along_axis(similarity, order, axis=1),
        np.take_along_axis(indices, order, axis=1),
    )


def _without_self(similarity, indices, rows, first, k, include_self) -> Neighbors:
    """Takes each row out of its own list, or puts it in front."""
    number = first + np.arange(len(rows), dtype=np.int32)
    is_self = indices == number[:, None]
    similarity = np.where(is_self, -np.inf, similarity)
    indices = np.where(is_self, -1, indices)
    similarity, indices = _best(similarity, indices, k - include_self)
    if include_self:
        itself = np.einsum("nd,nd->n", rows, rows)
        similarity = np.concatenate([itself[:, None], similarity], axis=1)
        indices = np.concatenate([number[:, None], indices], axis=1)
    return Neighbors(indices, similarity)
