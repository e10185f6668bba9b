"""`gfa_jax.choose_settings` of a pool whose rows and lists stay on disk.

The same functions, a chunk of rows after the other, each process its own chunks, and
the same bits. What is [N, C] is in files; in memory are a chunk, the rows and lists
that it leads to, and some numbers of every row.

    closure ─► strangers of each row, a_ij ─► dropped rows ─► weights
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gfa_jax.selection import Settings, evidence, metric, shared, summary
from gfa_jax.selection import settings as of_pool
from gfa_jax.streaming.workspace import Workspace, Writer, chunk_rows, release, take
from gfa_jax.types import Neighbors

# Rows that `choose_settings` multiplies at once, which decide the last bits.
_BLOCK, _ROWS = 1024, 256


def choose_settings(
    rows: Any, neighbors: Neighbors, *, workspace: Workspace, seed: int = 0
) -> Settings:
    """Chooses weights, K, T and the rows to drop, by the team of a workspace.

    Rows are [N, D] float32 unit rows, sliced and by sorted arrays of numbers; the
    neighbors of all, and the seed, as for `gfa_jax.choose_settings`; the workspace's
    key is a hash of rows and neighbors. Gives the Settings of all rows, of which
    neighbors and weights are memory maps. Lists that do not begin with their row, and
    what cannot be written, are a ValueError.

    Cost: that of `gfa_jax.choose_settings`, shared out among the processes; rows and
    lists are read twice, and for each chunk those that it leads to. Memory: three times
    the 128 MB of a chunk, and 50 bytes a row in every process. Disk: 16 C + 90 bytes a
    row.
    """
    constants = evidence.CONSTANTS
    num_rows, dim = rows.shape
    indices, similarity = of_pool.cut_lists(*map(np.asarray, neighbors))
    width = indices.shape[1]
    ks = shared.sizes(width - 1)
    size = chunk_rows(num_rows, width, dim)
    own = workspace.team.own(num_rows, grain=size)
    workspace = workspace.extend(["settings", seed, size])

    def chunks() -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(own.start, own.stop, size):
            chunk = slice(start, min(start + size, own.stop))
            yield chunk, np.array(indices[chunk])
            for array in (indices, similarity):
                release(array)

    sample = metric.draw_sample(num_rows, of_pool.SAMPLE_SIZE, seed=seed)
    pool = metric.measure_pool(rows[sample])

    def measure(files: dict[str, Writer]) -> None:
        for chunk, lists in chunks():
            of_pool.check_led(np.all(lists[:, 0] == np.arange(chunk.start, chunk.stop)))
            lists = lists[:, : max(ks) + 1]
            close = _compare(lists, indices[:, : max(ks) + 1], size, ks=ks)
            close = shared.beyond_chance(close, ks=ks, num_rows=num_rows)
            null = of_pool.by_blocks(
                metric.measure_rows,
                (rows[chunk],),
                of_all=(pool,),
                size=_BLOCK,
            )
            for name, values in zip(outlines, (close, *null), strict=True):
                files[name](chunk.start, values)

    each = ((num_rows,), np.float32)
    outlines: dict[str, Any] = {"closure": ((num_rows, len(ks)), np.float64)}
    outlines |= dict.fromkeys(metric.RowNull._fields, each)
    found = workspace.fill("closure", outlines, measure)
    closures, lengths = found["closure"], np.array(found["length"])
    closure = closures.mean(axis=0)
    release(closures)
    k = ks[int(np.argmax(closure))]
    share = constants.excluded * max(float(closure.max()), 0)

    def score(files: dict[str, Writer]) -> None:
        for chunk, lists in chunks():
            is_other = of_pool.find_others(lists)
            numbers, places = _listed(lists)
            near, long = rows[numbers], lengths[numbers]
            (cosines,) = of_pool.by_blocks(
                of_pool.candidate_cosines,
                (places,),
                of_all=(near, long, pool),
                size=_ROWS,
            )
            null = metric.RowNull(*(found[n][chunk] for n in metric.RowNull._fields))
            own_rows = of_pool.describe_rows(
                null, cosines, is_other, k=k, share=share, num_rows=num_rows
            )
            numbers, places = _listed(lists[:, :6])
            row_k = shared.choose_row_sizes(
                take(closures, numbers)[places],
                lists[:, :6] >= 0,
                closure,
                ks=ks,
                pool_share=constants.pool_share,
            )
            values = *own_rows, row_k, cosines
            for name, part in zip(scored, values, strict=True):
                files[name](chunk.start, np.asarray(part))

    scored: dict[str, Any] = dict.fromkeys(evidence.RowEvidence._fields, each)
    scored |= {"k": ((num_rows,), np.int32), "cosines": (indices.shape, np.float32)}
    seen = workspace.fill("cosines", scored, score)
    all_rows = evidence.RowEvidence(
        *(np.array(seen[name]) for name in evidence.RowEvidence._fields)
    )
    distant = all_rows.nearest < constants.distant * np.median(all_rows.nearest)

    def drop(files: dict[str, Writer]) -> None:
        for chunk, lists in chunks():
            is_dropped = evidence.find_dropped(
                lists, of_pool.find_others(lists), distant, distant[chunk]
            )
            files["rows"](chunk.start, is_dropped)

    outline = {"rows": ((num_rows,), np.bool_)}
    dropped = np.array(workspace.fill("dropped", outline, drop)["rows"])
    center = evidence.posterior_center(num_rows, k, constants=constants)

    def weigh(files: dict[str, Writer]) -> None:
        for chunk, lists in chunks():
            near, cosines = np.asarray(similarity[chunk]), seen["cosines"][chunk]
            is_edge = (
                of_pool.find_others(lists) & ~dropped[chunk, None] & ~dropped[lists]
            )
            shares = _compare(lists, indices[:, : k + 1], size)
            weights, z = of_pool.by_blocks(
                of_pool.weigh(constants),
                (cosines, shares, is_edge, lists),
                of_all=(all_rows, center),
                size=_BLOCK,
            )
            kept, chosen = of_pool.keep_heaviest(
                Neighbors(lists, near), weights, seen["k"][chunk], columns=most
            )
            sums, *bins = summary.count(near, is_edge, weights, z, center=center)
            for name, part in zip(kept_outlines, (*kept, chosen, sums), strict=True):
                files[name](chunk.start, np.asarray(part))
            for name, part in zip(counted, bins, strict=True):
                files[name](chunk.start // size, np.asarray(part))
            release(cosines)

    most = int(seen["k"].max())
    kept_outlines = {
        "indices": ((num_rows, most + 1), np.int32),
        "similarity": ((num_rows, most + 1), similarity.dtype),
        "weights": ((num_rows, most + 1), np.float32),
        "sums": ((num_rows, 2), np.float64),
    }
    none = np.zeros((1, width), np.float32)
    bins = summary.count(none, none > 0, none, none, center=center)[1:]
    num_chunks = -(-num_rows // size)
    counted: dict[str, Any] = {
        f"bins{n}": ((num_chunks, part.shape[1]), np.int64)
        for n, part in enumerate(bins)
    }
    made = workspace.fill("weights", kept_outlines | counted, weigh)
    num_steps, told = of_pool.conclude(
        [made[name] for name in ("sums", *counted)],
        closure,
        ks,
        center=center,
        spread=float(all_rows.spread.mean()),
        num_dropped=int(dropped.sum()),
        constants=constants,
    )
    kept = Neighbors(made["indices"], made["similarity"])
    measured = of_pool.Measured(pool, sample, closures, lengths, all_rows)
    return Settings(k, num_steps, 1.0, kept, made["weights"], dropped, told, measured)


def _listed(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists each row that is led to once, in order, and where each slot finds its."""
    numbers, places = np.unique(np.maximum(lists, 0), return_inverse=True)
    return numbers, places.reshape(lists.shape).astype(np.int32)


def _compare(
    lists: np.ndarray, of_all: np.ndarray, size: int, *, ks: tuple[int, ...] = ()
) -> np.ndarray:
    """Evaluates c_i(K) for each K in `ks`, or J_ij where there are none (shared.py).

    Lists of n <= `size` rows and those of all; few shapes are compiled.
    """
    numbers, places = _listed(lists)
    near = np.zeros(
        (min(size * lists.shape[1], len(of_all)), of_all.shape[1]), np.int32
    )
    near[: len(numbers)] = take(of_all, numbers)
    ends = [(0, size - len(lists)), (0, 0)]
    found = shared.compare(np.pad(lists, ends), np.pad(places, ends), near, ks=ks)
    return np.asarray(found)[: len(lists)]
