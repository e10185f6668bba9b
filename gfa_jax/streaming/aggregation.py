"""Eq. 2 on a set larger than memory: a chunk of rows with its neighbours at a time.

    F_i ← F_i + γ (C*_i − F_i)

reads the row and its K candidates only. So a chunk of n rows is updated by
`aggregation.update` against a small pool, itself and the rows that it lists, gathered
from the stored features; the new rows go to a file, which the next step reads. Stored
in bfloat16, rows take half the space and half the reading, while all sums still run in
float32.
"""

import functools
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import affinity, aggregation, numerics
from gfa_jax.affinity import Edges, given_edges
from gfa_jax.aggregation import State
from gfa_jax.blocks import Pool
from gfa_jax.checks import check_integer, check_update
from gfa_jax.datasets.atomic import atomic_path, stream_array, write_header
from gfa_jax.datasets.features import read_features
from gfa_jax.neighbors import memory, tiles
from gfa_jax.neighbors.exact import round_up
from gfa_jax.types import (
    DEFAULT,
    Aggregation,
    Neighbors,
    Options,
    Params,
    track,
)

Storage = Literal["float32", "bfloat16"]
_STORAGES: tuple[Storage, ...] = get_args(Storage)

# With K = 15 and D = 256, a pool of 64 MiB in float32.
_CHUNK_ROWS = 4096


def aggregate(
    features: Any,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    path: str | os.PathLike[str],
    weights: np.ndarray | None = None,
    options: Options = DEFAULT,
    storage: Storage | None = None,
    chunk_size: int = _CHUNK_ROWS,
    progress: Callable | None = None,
) -> Aggregation:
    """Makes the T updates of `gfa_jax.aggregate` from file to file.

    Args:
        features: anything with a shape, a dtype, slices of rows and sorted arrays of
            row numbers: a memory map, for one; of weights rows are read. Neighbors,
            params, num_steps, weights and options as for `gfa_jax.aggregate`.
        path: a `.npy`, which appears when the last step is done; the features of the
            steps before are kept in the same folder until then.
        storage: dtype of the rows on disk after each step, "float32" or "bfloat16", by
            default that of the computation; bfloat16 rounds a value to 2⁻⁹ of itself,
            which moves a cosine by at most 2⁻⁸ = 0.004 a step.
        chunk_size: rows updated at once; it is halved, with a RuntimeWarning, where the
            device has no memory for them.
        progress: goes round the chunks of each step.

    Returns:
        What `gfa_jax.aggregate` gives, but for rounding; the features are a read-only
        memory map of `path`.

    Raises:
        ValueError: whatever `gfa_jax.aggregate` refuses, an unknown storage, a chunk
            without rows, or a file that cannot be written.

    Cost: O(T N K D) time, each row read up to K + 1 times a step. Memory: one
    [chunk (K + 1), D] pool and, with T > 1 and graph="fixed", an [N, K] array; pages of
    a memory map count as resident while the system has room for them. Disk: N D values
    a file, up to three files.
    """
    path = pathlib.Path(path)
    _check(path, storage, chunk_size)
    indices = np.asarray(
        check_update(
            features,
            neighbors,
            params,
            num_steps=num_steps,
            weights=weights,
            options=options,
            block_size=chunk_size,
        )
    )
    compute = numerics.to_compute_dtype(features[:1]).dtype
    chunk_size = min(chunk_size, round_up(len(indices), tiles.GROUP))
    stored = np.dtype(jnp.dtype(storage or compute))
    degree = np.zeros(len(indices), compute)
    residual = np.zeros(num_steps, compute)
    edges = None
    if weights is not None:
        edges = given_edges(weights, indices)
    elif num_steps > 1 and options.graph == "fixed":
        edges = _score(features, indices, params, options, chunk_size)
    advance = functools.partial(_update, params=params, edges=edges, options=options)
    if not num_steps:
        advance = _keep
    starts = range(0, len(indices), chunk_size)
    with tempfile.TemporaryDirectory(prefix=".gfa_jax-", dir=path.parent) as folder:
        for t in range(max(num_steps, 1)):
            is_last = t >= num_steps - 1
            target = path if is_last else pathlib.Path(folder, f"{t}.npy")
            with atomic_path(target) as hidden, hidden.open("wb") as file:
                write_header(file, tuple(features.shape), stored)
                moved = 0.0
                shown = track(progress, starts, desc=f"update {t + 1} of {num_steps}")
                for chunk, (state, change) in _map_chunks(
                    advance, features, indices, chunk_size, shown
                ):
                    stream_array(file, state.features[: chunk.count].astype(stored))
                    moved += float(np.sum(change[: chunk.count], dtype=np.float64))
                    degree[chunk.rows] = state.degree[: chunk.count]
            if num_steps:
                residual[t] = np.sqrt(moved / len(indices))
            if not is_last:
                features = read_features(target)
            if t:
                pathlib.Path(folder, f"{t - 1}.npy").unlink()
    refined: Any = read_features(path)
    return Aggregation(refined, jnp.asarray(residual), jnp.asarray(degree))


class _Chunk(NamedTuple):
    """Some rows, padded to the same size everywhere, with all that their update reads.

    The pool is [n (K + 1), D], the n rows themselves first; indices are its rows.
    """

    rows: slice  # their numbers among all
    count: int  # how many there are without padding
    pool: jax.Array
    indices: np.ndarray


def _gather(features: Any, indices: np.ndarray, start: int, size: int) -> _Chunk:
    """Reads a chunk and the rows that it lists, each once, in their order on disk."""
    num_rows, k = indices.shape
    rows = slice(start, min(start + size, num_rows))
    own = np.asarray(features[rows])
    listed = np.full((size, k), -1, np.int64)
    listed[: len(own)] = indices[rows]
    inside = (listed >= rows.start) & (listed < rows.stop)
    outside = (listed >= 0) & (listed < num_rows) & ~inside
    # The chunk's own rows lead, so a row has its own number in the pool as well.
    places = np.where(inside, listed - start, -1).astype(np.int32)
    wanted, order = np.unique(listed[outside], return_inverse=True)
    places[outside] = size + order
    pool = np.zeros((size * (k + 1), own.shape[1]), own.dtype)
    pool[: len(own)] = own
    if len(wanted):
        pool[size : size + len(wanted)] = features[wanted]
    return _Chunk(rows, len(own), numerics.to_compute_dtype(pool), places)


def _score(
    features: Any,
    indices: np.ndarray,
    params: Params,
    options: Options,
    chunk_size: int,
) -> Edges:
    """Scores all candidates before the first step."""
    dtype = numerics.to_compute_dtype(features[:1]).dtype
    weight: Any = np.empty(indices.shape, dtype)
    degree: Any = np.empty(len(indices), dtype)

    def score(chunk: _Chunk) -> Edges:
        return _score_pool(chunk.pool, chunk.indices, params, options=options)

    starts = range(0, len(indices), chunk_size)
    for chunk, found in _map_chunks(score, features, indices, chunk_size, starts):
        weight[chunk.rows] = found.weight[: chunk.count]
        degree[chunk.rows] = found.degree[: chunk.count]
    return Edges(weight, degree)


def _map_chunks(
    function: Callable[[_Chunk], Any],
    features: Any,
    indices: np.ndarray,
    chunk_size: int,
    starts: Iterable[int],
) -> Iterator[tuple[_Chunk, Any]]:
    """Calls a function on every chunk, smaller ones after memory has run out."""
    size = chunk_size
    for start in starts:
        stop = min(start + chunk_size, len(indices))
        while start < stop:
            try:
                chunk = _gather(features, indices, start, size)
                found = jax.device_get(function(chunk))
            except jax.errors.JaxRuntimeError as error:
                size = memory.halve(size, error)
            else:
                yield chunk, found
                start += size


def _update(chunk: _Chunk, params: Params, edges: Edges | None, options: Options):
    """Makes one update of a chunk; gives what `aggregation.update` gives."""

    def own(x):
        widths = [(0, len(chunk.indices) - chunk.count)] + [(0, 0)] * (x.ndim - 1)
        return np.pad(x[chunk.rows].astype(chunk.pool.dtype), widths)

    edges = jax.tree.map(own, edges)
    return _update_pool(chunk.pool, chunk.indices, params, edges, options=options)


def _keep(chunk: _Chunk):
    """Makes no update: the rows, not moved, of no degree."""
    nothing = jnp.zeros(len(chunk.indices), chunk.pool.dtype)
    return State(chunk.pool[: len(chunk.indices)], nothing), nothing


@functools.partial(jax.jit, static_argnames="options")
def _update_pool(pool, indices, params, edges, *, options):
    return aggregation.update(
        pool[: len(indices)], indices, params, edges, pool=Pool(pool), options=options
    )


@functools.partial(jax.jit, static_argnames="options")
def _score_pool(pool, indices, params, *, options):
    return affinity.score(
        pool[: len(indices)], indices, params, pool=Pool(pool), options=options
    )


def _check(path: pathlib.Path, storage: Storage | None, chunk_size: int) -> None:
    if path.suffix.lower() != ".npy":
        raise ValueError(f"cannot write {path}: its name must end with .npy")
    if not path.parent.is_dir():
        raise ValueError(
            f"cannot write {path}: there is no folder {path.parent}; create it first"
        )
    if storage is not None and storage not in _STORAGES:
        raise ValueError(
            f"storage is {storage!r}; expected one of {', '.join(_STORAGES)}"
        )
    check_integer("chunk_size", chunk_size, least=1)
