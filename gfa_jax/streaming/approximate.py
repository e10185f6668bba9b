"""Nearly all neighbours of a set larger than memory: what `calibrated` does, from disk.

The rows stay where they are. With a checkpoint folder so does what is found: the search
is a sequence of tasks, each of which leaves one file there, and which any of the
processes that share the folder can do:

    calibration  cells, and which of them a row must probe, 1 task
    cells        those that the rows of a chunk probe
    bounds       the K-th best of the rows of a group of cells, within their own cell
    neighbors    products of a group of cells with all rows, and the best of them
    recall       of the sampled rows, 1 task

Process p of P does the tasks p, p + P, ... of a kind and waits for the others before
the next. At the end each merges the lists of its own rows.
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gfa_jax.checks import check_search
from gfa_jax.datasets import resumable
from gfa_jax.neighbors.faiss import import_faiss
from gfa_jax.neighbors.ivf import calibrated, cells, lists
from gfa_jax.neighbors.ivf.calibrated import Calibration
from gfa_jax.streaming.exact import exact_neighbors
from gfa_jax.streaming.workspace import Team
from gfa_jax.types import Neighbors, track

# Of the files; another one makes old files other.
_LAYOUT = "cells 3"
_ALONE = Team()


def approximate_neighbors(
    rows: Any,
    *,
    k: int,
    edge_recall: float = 0.99,
    threshold: float | None = None,
    seed: int = 0,
    team: Team = _ALONE,
    own: range | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_exact: Callable[[str], None] | None = None,
    progress: Callable | None = None,
) -> tuple[Neighbors, Calibration]:
    """Finds nearly all neighbours that count, of rows that need not fit into memory.

        KNN_i = the K largest of A_ij = F_i · F_j over j in a cell that i probes,
        or with i in one that j probes

    Args:
        rows: as for `gfa_jax.streaming.exact_neighbors`, also sliced by sorted arrays
            of numbers, of unit length, and searched in float32; the others as for
            `gfa_jax.approximate_neighbors`.
        team: the processes that do this together; each calls it with the same
            arguments, and a checkpoint.
        own: the rows to give the lists of, by default `team.own(N)`.
        checkpoint: a folder, which all of the team share; holds 2 bytes for each cell
            that a row probes, the lists, N k 8 bytes, and 12 bytes for each other that
            a group of cells offers to a row that probes it, some 20 a row of a pool
            whose neighbours are few, at most k a group.
        on_exact: called before an exact search begins that was not asked for, with the
            reason in one line; such a search may take a hundred times as long.

    Returns:
        Neighbors [n, k] of the own rows, of one process all, as NumPy arrays:
        those of `gfa_jax.approximate_neighbors`, with -1 and -inf where the cells held
        fewer than k; and the Calibration: its lower bound is at least `edge_recall`, or
        the search was exact. The bits do not depend on the number of processes, nor on
        interrupts: another call, perhaps of another number, does what is missing.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: whatever `gfa_jax.approximate_neighbors` refuses, or a checkpoint of
            other rows or options, or one that is damaged, or none for several
            processes.

    Cost: that of `gfa_jax.approximate_neighbors`; all rows are read 6 + N D / 2^25
    times, and once more by each process to hash them for a checkpoint. Memory of a
    process: 12 bytes a row; 16 rows a cell that train them, twice, in the first;
    the rows of a group of cells, 256 MiB, with their lists; 36 bytes for each of 2^24
    candidates; and its own lists, n k 8 bytes. Without a checkpoint what it would hold
    is in memory. See `exact_neighbors` on memory maps. Where cells do not help it is
    `exact_neighbors`, with its cost, in the first process.
    """
    faiss = import_faiss()
    check_search(rows, k=k, block_size=cells.CHUNK_ROWS)
    calibrated.check_options(edge_recall, threshold)
    num_rows = rows.shape[0]
    asked: dict[str, Any] = {
        "k": k,
        "edge_recall": edge_recall,
        "threshold": threshold,
        "seed": seed,
    }
    own = team.own(num_rows) if own is None else own
    tasks, folder = calibrated.tasks_in_memory(progress), None
    if checkpoint is not None:
        versions = [_LAYOUT, faiss.__version__, np.__version__]
        store = resumable.open_store(checkpoint, rows, [*asked.values(), *versions])
        tasks = _tasks_on_disk(store, team, progress)
        folder = pathlib.Path(checkpoint, "exact")
    elif team.size > 1:
        raise ValueError("several processes need a checkpoint, the folder they share")
    if num_rows >= calibrated.FEWEST_ROWS and k > 1:
        try:
            return calibrated.search_in_cells(
                faiss, rows, include_self=True, tasks=tasks, own=own, **asked
            )
        except calibrated.CellsDoNotHelpError as reason:
            if on_exact is not None:
                on_exact(str(reason))

    def search(_) -> list[np.ndarray]:
        found = exact_neighbors(rows, k=k, checkpoint=folder, progress=progress)
        return list(map(np.asarray, found))

    found = tasks.run("exact", 1, Neighbors._fields, search)(0)
    part = Neighbors(*(column[own.start : own.stop] for column in found))
    return part, calibrated.exact_calibration(edge_recall)


def _tasks_on_disk(
    store: resumable.Store, team: Team, progress: Callable | None
) -> calibrated.Tasks:
    """Does the tasks of this process that no earlier run did."""

    def load(name: str, fields: Sequence[str]) -> list[np.ndarray]:
        kept = store.load(name, fields)
        if kept is None:
            raise ValueError(
                f"{name}.npz is gone from the checkpoint; remove the folder to begin "
                "anew"
            )
        return kept

    def run(kind, count, fields, make):
        tasks = range(team.number, count, team.size)
        tasks = [n for n in tasks if store.load(f"{kind}-{n}", ()) is None]
        for task in track(progress if count > 1 else None, tasks, desc=kind):
            store.save(f"{kind}-{task}", dict(zip(fields, make(task), strict=True)))
        team.wait()
        return lambda task: load(f"{kind}-{task}", fields)

    def offer(group: int, chunk: int, k: int, found: lists.Found) -> lists.Found:
        del k
        store.save(f"offers-{group}-{chunk}", found._asdict())
        return found

    def offers(count: int, chunk: int) -> list[lists.Found]:
        names = [f"offers-{group}-{chunk}" for group in range(count)]
        return [lists.Found(*load(name, lists.Found._fields)) for name in names]

    return calibrated.Tasks(run, offer, offers)
