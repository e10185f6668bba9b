"""`gfa_jax.faiss_neighbors` over processes: one index each, each query put to all.

A process indexes its own rows. Its queries go to all processes, a block at a time;
each answers with the best of its index, and the lists are merged where the query came
from. A "Flat" index is exact; an inverted file over a shard has cells of its own, and
its recall is that of the factory and search strings given.
"""

import functools
from collections.abc import Callable

import numpy as np
from jax.sharding import Mesh

from gfa_jax.checks import check_search
from gfa_jax.neighbors.candidates import place_self
from gfa_jax.neighbors.faiss import (
    build_index,
    by_similarity,
    import_faiss,
    refusals,
)
from gfa_jax.sharding import processes
from gfa_jax.sharding.layout import layout_of
from gfa_jax.types import Array, Neighbors, track

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
    factory: str = "Flat",
    search: str = "",
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product, by one index a process.

    Args:
        features: rows, mesh, axis_name and num_rows as for
            `gfa_jax.sharding.aggregate`, searched in float32.
        k: this, factory and search as for `gfa_jax.faiss_neighbors`, an inverted file
            being trained on the rows of one process.
        progress: goes round the blocks of queries.

    Returns:
        Neighbors in the order of `gfa_jax.faiss_neighbors`, with as many rows as
        `features`, spread over the axis where P divides their number.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: k outside [1, N), zero rows on a device, or what FAISS refuses.

    Cost a process: that of N queries to an index of N / Q rows, Q processes. Over the
    links N D elements come in, and N k similarities and numbers. Memory: the
    index, and two [block, k] lists of each process.
    """
    faiss = import_faiss()
    where = layout_of(features, mesh, axis_name, num_rows)
    check = functools.partial(check_search, k=k, num_rows=where.num_rows)
    processes.check_own(where, check, features)
    rows = np.ascontiguousarray(where.take_own(features), np.float32)
    first = where.own.start
    index, error = None, None
    try:
        with refusals(f"factory {factory!r} with search {search!r}"):
            index = build_index(faiss, rows, factory, search)
    except ValueError as refused:
        error = str(refused)
    processes.collective_errors(error)
    similarity, indices = _search(index, first, rows, k, progress)
    found = place_self(
        indices,
        similarity,
        k=k,
        self_similarity=np.einsum("nd,nd->n", rows, rows),
        rows=where.own,
        num_rows=where.num_rows,
    )
    spread = Neighbors(
        where.place_own(found.indices, -1),
        where.place_own(found.similarity, -np.inf),
    )
    return where.without_padding(spread, len(features))


def _search(index, first, rows, width, progress) -> tuple[np.ndarray, np.ndarray]:
    """Puts this process's rows to the indexes of all: two [n, width] lists."""
    lengths = processes.gather_blocks(np.array([len(rows)], np.int32))[:, 0]
    block = max(_FEWEST_QUERIES, _QUERY_BLOCK // len(lengths))
    similarity = np.full((len(rows), width), -np.inf, np.float32)
    indices = np.full((len(rows), width), -1, np.int32)
    starts = range(0, int(lengths.max()), block)
    for start in track(progress, starts, desc="neighbors"):
        queries = np.zeros((block, rows.shape[1]), np.float32)
        own = rows[start : start + block]
        queries[: len(own)] = own
        asked = processes.gather_blocks(queries)
        cosines, numbers = index.search(asked.reshape(-1, rows.shape[1]), width)
        empty = numbers < 0
        answers = (
            np.where(empty, -np.inf, cosines).astype(np.float32),
            np.where(empty, -1, numbers + first).astype(np.int32),
        )
        # [Q, block, width] -> [block, Q width]
        cosines, found = (
            np.concatenate(
                list(processes.exchange_blocks(x.reshape(-1, block, width))), axis=1
            )[: len(own)]
            for x in answers
        )
        place = slice(start, start + len(own))
        cosines, found = by_similarity(cosines, found)
        similarity[place], indices[place] = cosines[:, :width], found[:, :width]
    return similarity, indices
