"""Eq. 2 on a set larger than memory: a chunk of rows with its neighbours at a time.

    F_i ← F_i + γ (C*_i − F_i)

reads the row and its K candidates only. So a chunk of n rows is updated by
`aggregation.update` against a small pool, itself and the rows that it lists, gathered
from the stored features; the new rows go to a file, which the next step reads. Stored
in bfloat16, rows take half the space and half the reading, while all sums still run in
float32.
"""

import dataclasses
import functools
import math
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
from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import atomic_path
from gfa_jax.datasets.features import read_features
from gfa_jax.neighbors import tiles
from gfa_jax.neighbors.exact import round_up
from gfa_jax.streaming.workspace import Workspace, Writer, release, take
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
    indices = check_update(
        features,
        neighbors,
        params,
        num_steps=num_steps,
        weights=weights,
        options=options,
        block_size=chunk_size,
    )
    with tempfile.TemporaryDirectory(prefix=".gfa_jax-", dir=path.parent) as folder:
        refined, *rest = aggregate_in(
            Workspace(pathlib.Path(folder), ""),
            features,
            np.asarray(indices),
            params,
            num_steps=num_steps,
            weights=weights,
            options=options,
            storage=storage,
            chunk_size=chunk_size,
            progress=progress,
        )
        with atomic_path(path) as hidden:
            pathlib.Path(refined.filename).replace(hidden)
    whole: Any = read_features(path)
    return Aggregation(whole, *map(jnp.asarray, rest))


def aggregate_in(
    workspace: Workspace,
    features: Any,
    indices: np.ndarray,
    params: Params,
    *,
    num_steps: int,
    stage: str = "updates",
    weights: np.ndarray | None = None,
    options: Options = DEFAULT,
    storage: Storage | None = None,
    chunk_size: int = _CHUNK_ROWS,
    progress: Callable | None = None,
) -> Any:
    """Makes the updates of `aggregate` in a workspace, by all processes of its team.

    Each updates its own chunks and reads what they list in the files of all: features
    [N, D], indices [N, K] and weights [N, K], checked, as a rule memory maps, of which
    the workspace's key is a hash. The result is that of one process, bit for bit; a
    rerun goes on after the last update of this `stage` that was finished. Gives an
    Aggregation of NumPy arrays, its features a memory map of a file of the workspace.
    """
    num_rows, dim = features.shape
    compute = numerics.to_compute_dtype(features[:1]).dtype
    stored = np.dtype(jnp.dtype(storage or compute))
    own = workspace.team.own(num_rows, grain=chunk_size)
    starts = range(own.start, own.stop, chunk_size)
    size = min(chunk_size, round_up(num_rows, tiles.GROUP))
    given = [[np.asarray(value).tolist() for value in params], str(stored), chunk_size]
    given += [dataclasses.asdict(options), weights is None]
    workspace = workspace.extend(given)
    edges: Any = weights
    if weights is None and num_steps > 1 and options.graph == "fixed":
        outlines = {
            "weight": (indices.shape, compute),
            "degree": ((num_rows,), compute),
        }

        def score(files: dict[str, Writer]) -> None:
            for chunk, found in _map_chunks(
                lambda chunk: _score_pool(
                    chunk.pool, chunk.indices, params, options=options
                ),
                features,
                indices,
                size,
                starts,
            ):
                for name, values in found._asdict().items():
                    files[name](chunk.rows.start, values[: chunk.count])

        scored: Any = workspace.fill(f"{stage}-edges", outlines, score)
        edges = Edges(**scored)
    advance = functools.partial(
        _update, indices=indices, params=params, edges=edges, options=options
    )
    outlines = {
        "features": ((num_rows, dim), stored),
        "degree": ((num_rows,), compute),
        "moved": ((-(-num_rows // chunk_size),), np.float64),
    }
    residual: Any = np.zeros(num_steps, compute)
    names, kept = {}, None
    workspace.team.wait()
    for t in range(1, num_steps + 1) if num_steps else [0]:
        paths = names[t] = [workspace.path(f"{stage}-{t}", name) for name in outlines]
        kept = t if all(path.exists() for path in paths) else kept
    workspace.team.wait()
    found: dict[str, Any] = {}
    for t, paths in names.items():
        if kept is not None and t < kept:
            residual[t - 1] = _root_mean(read_array(paths[2], key="moved"), num_rows)
            continue

        def work(files: dict[str, Writer], t: int = t, rows: Any = features) -> None:
            shown = track(progress, starts, desc=f"update {t} of {num_steps}")
            sums = np.zeros(len(starts))
            for chunk, (state, change) in _map_chunks(
                advance if t else _keep, rows, indices, size, shown
            ):
                files["features"](chunk.rows.start, state.features[: chunk.count])
                files["degree"](chunk.rows.start, state.degree[: chunk.count])
                change = np.sum(change[: chunk.count], dtype=np.float64)
                sums[(chunk.rows.start - own.start) // chunk_size] += change
            files["moved"](own.start // chunk_size, sums)

        found = workspace.fill(f"{stage}-{t}", outlines, work)
        features = found["features"]
        if t:
            residual[t - 1] = _root_mean(found["moved"], num_rows)
        if t > 1 and workspace.team.number == 0:
            names[t - 1][0].unlink(missing_ok=True)
    return Aggregation(features, residual, found["degree"])


def _root_mean(sums: np.ndarray, num_rows: int) -> float:
    return math.sqrt(math.fsum(sums.tolist()) / num_rows)


class _Chunk(NamedTuple):
    """Some rows, padded to the same size everywhere, with all that their update reads.

    The pool is [n (K + 1), D], the n rows themselves first; indices are its rows.
    """

    rows: slice  # their numbers among all
    count: int  # how many there are without padding
    pool: jax.Array
    indices: np.ndarray


def gather(features: Any, indices: np.ndarray, start: int, size: int) -> _Chunk:
    """Reads a chunk and the rows that it lists, each once, in their order on disk.

    All chunks of a size have the same shapes. Pages of memory maps are given back.
    """
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
        pool[size : size + len(wanted)] = take(features, wanted)
    release(indices)
    return _Chunk(rows, len(own), numerics.to_compute_dtype(pool), places)


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
                chunk = gather(features, indices, start, size)
                found = jax.device_get(function(chunk))
            except jax.errors.JaxRuntimeError as error:
                size = tiles.halve(size, error)
            else:
                yield chunk, found
                start += size


def _update(
    chunk: _Chunk, indices: np.ndarray, params: Params, edges: Any, options: Options
):
    """Makes one update of a chunk; gives what `aggregation.update` gives."""
    if edges is not None:  # of all rows, or what they weigh
        own = jax.tree.map(lambda x: x[chunk.rows], edges)
        if not isinstance(edges, Edges):
            own = given_edges(own, indices[chunk.rows])

        def fill_up(x):
            widths = [(0, len(chunk.indices) - chunk.count)] + [(0, 0)] * (x.ndim - 1)
            return np.pad(x.astype(chunk.pool.dtype), widths)

        edges = jax.tree.map(fill_up, own)
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
