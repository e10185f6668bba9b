"""Nearly all neighbours of a set larger than memory: what `calibrated` does, from disk.

The cells, the lists and what is found before it is merged are in memory; the rows stay
where they are, and so do, with a checkpoint folder, the cells that each probes.
Every stage that is done is kept there, and once a minute what the search has found.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gfa_jax.checks import check_search
from gfa_jax.datasets import resumable
from gfa_jax.neighbors.faiss import import_faiss
from gfa_jax.neighbors.ivf import calibrated, cells
from gfa_jax.neighbors.ivf.calibrated import Calibration
from gfa_jax.streaming.exact import exact_neighbors
from gfa_jax.types import Neighbors

# Of the files; another one makes old files other.
_LAYOUT = "cells 2"


def approximate_neighbors(
    rows: Any,
    *,
    k: int,
    edge_recall: float = 0.99,
    threshold: float | None = None,
    seed: int = 0,
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
        checkpoint: holds 2 bytes for each cell that a row probes, and the lists, N k 8
            bytes.
        on_exact: called before an exact search begins that was not asked for, with the
            reason in one line; such a search may take a hundred times as long.

    Returns:
        Neighbors as NumPy arrays, as `gfa_jax.approximate_neighbors` does, with -1 and
        -inf where the cells held fewer than k, and the Calibration: its lower bound is
        at least `edge_recall`, or the search was exact. An interrupted search ends with
        the same bits.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: whatever `gfa_jax.approximate_neighbors` refuses, or a checkpoint of
            other rows or options, or one that is damaged.

    Cost: that of `gfa_jax.approximate_neighbors`; all rows are read 6 + N D / 2^25
    times, and once more to hash them for a checkpoint. Memory: the [N, k] lists twice,
    16 of 6 √N rows that train the cells, twice, 0.5 GB for the rows of a group of cells
    and what is found before it is merged and, without a checkpoint, 2 bytes for each
    cell that a row probes, at most 1024 of them; see `exact_neighbors` on memory maps.
    Where cells do not help it is `exact_neighbors`, with its cost.
    """
    faiss = import_faiss()
    check_search(rows, k=k, block_size=cells.CHUNK_ROWS)
    calibrated.check_options(edge_recall, threshold)
    shape = tuple(rows.shape)
    if shape[0] >= calibrated.FEWEST_ROWS and k > 1:
        asked: dict[str, Any] = {
            "k": k,
            "edge_recall": edge_recall,
            "threshold": threshold,
            "seed": seed,
        }
        store = None
        if checkpoint is not None:
            versions = [_LAYOUT, faiss.__version__, np.__version__]
            store = resumable.open_store(checkpoint, rows, [*asked.values(), *versions])
        try:
            return calibrated.search_in_cells(
                faiss,
                rows,
                include_self=True,
                store=store,
                progress=progress,
                **asked,
            )
        except calibrated.CellsDoNotHelpError as reason:
            if on_exact is not None:
                on_exact(str(reason))
        if checkpoint is not None:
            checkpoint = pathlib.Path(checkpoint, "exact")
    found = exact_neighbors(rows, k=k, checkpoint=checkpoint, progress=progress)
    return found, calibrated.exact_calibration(edge_recall)
