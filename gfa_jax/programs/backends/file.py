"""The rows in a file that need not fit in memory, read and written chunk by chunk.

The features stay memory-mapped. An interrupted search is kept in --output_dir/search,
and the same command goes on from there; one with other features or options is refused.
"""

import mmap
import pathlib
import shutil
from typing import Any

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.neighbors.automatic import estimate_exact
from gfa_jax.programs import backends, cli, evaluation, flags, inputs
from gfa_jax.refinement import Refinement
from gfa_jax.refinement.pool import run_stages

FLAGS = flags.FLAGS

_SEARCH = "search"
# Bytes of mapped pages after which they are given back.
_MOST_MAPPED = 2**29
# Bytes that a system maps around a single row that is read.
_FAULT_BYTES = 2**16
# Bytes of the cells that a row looks into: 256 cells, and 1024 are the most.
_VISIT_BYTES = 512


class UnitRows:
    """Stored rows in float32, scaled to unit length where they need it.

    Pages of the file that were read count as memory of this process until the system
    wants them for something else; here they are given back before they are many.
    """

    def __init__(self, stored: np.ndarray, norms: np.ndarray):
        """Keeps the mapped rows [N, D] where they are, and their lengths [N]."""
        self._stored, self._norms = stored, norms
        self._is_scaled = inputs.is_scaled(norms)
        self._bytes_mapped = 0
        self.shape, self.dtype = stored.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Reads some rows: [n, D] float32."""
        part = self._stored[rows]
        touched = part.nbytes if isinstance(rows, slice) else len(rows) * _FAULT_BYTES
        # Of one that touches more by itself, the peak is there already.
        if touched <= _MOST_MAPPED:
            self._bytes_mapped += touched
        if self._bytes_mapped > _MOST_MAPPED:
            self.release()
        return inputs.unit_rows(part, self._norms[rows], scaled=self._is_scaled)

    def release(self) -> None:
        """Gives the pages back; they are in the file."""
        self._bytes_mapped = 0
        owner: Any = self._stored
        while not isinstance(owner, mmap.mmap):
            owner = owner.base
        if hasattr(mmap, "MADV_DONTNEED"):
            owner.madvise(mmap.MADV_DONTNEED)


class FileBackend(backends.Backend):
    """Rows [N, D] in a memory-mapped file."""

    streams = True
    _pool: inputs.Pool
    _search_folder: pathlib.Path

    def read(self, request, folder) -> inputs.Pool:
        """Maps the file, reads it once to check it, and checks the room on the disk."""
        source = _map_features(folder)
        stored = source.stored
        norms = datasets.check_features(stored, name=FLAGS.features)
        rows = UnitRows(stored, norms)
        rows.release()
        self._search_folder = folder / _SEARCH
        _check_space(folder, stored.shape, request.width(len(rows)))
        labels, pairs = inputs.read_truth(len(stored), source.columns)
        name = pathlib.Path(FLAGS.features).name
        features: Any = rows
        own = source.columns, source.vectors
        self._pool = inputs.Pool(name, features, norms, labels, pairs, *own)
        return self._pool

    def search(self, request) -> backends.Searched:
        """Finds the candidates, or what is missing of them after an interrupt."""
        rows = self._pool.features
        search = backends.choose(rows.shape, request, default="auto")
        width = request.width(len(rows))

        def on_exact(reason: str) -> None:
            seconds = estimate_exact(*rows.shape, k=width)
            cli.log_estimate("exact neighbors after all", seconds, reason)

        options: dict[str, Any] = {"k": width, "progress": cli.progress}
        options |= {"checkpoint": self._search_folder}
        if search == "exact":
            return gfa.streaming.exact_neighbors(rows, **options), None
        options |= {"edge_recall": FLAGS.edge_recall, "seed": FLAGS.seed}
        options |= {"threshold": request.first_threshold, "on_exact": on_exact}
        return gfa.streaming.approximate_neighbors(rows, **options)

    def refine(self, request, searched, folder, stages) -> Refinement:
        """See `Backend`."""
        rows, seed = self._pool.features, FLAGS.seed
        return run_stages(
            request,
            searched,
            choose=lambda near: gfa.choose_settings(rows, near, seed=seed),
            update=lambda chosen: self.update(chosen, folder, "updates"),
            stages=stages,
        )

    def update(self, chosen, folder, stage) -> gfa.Aggregation:
        """Updates from file to file."""
        del stage
        return gfa.streaming.aggregate(
            self._pool.features,
            chosen.neighbors,
            chosen.params,
            num_steps=chosen.num_steps,
            weights=chosen.weights,
            path=folder / self.refined_name,
            storage=FLAGS.storage,
            progress=cli.progress,
            options=chosen.options,
        )

    def verify(self, rows, stage, **options: Any) -> evaluation.Verification:
        """Measures rows, of which all are read into memory."""
        del stage
        if rows is None:
            rows = self._pool.features[:]
        else:  # bfloat16 rounds lengths too
            rows = inputs.unit_rows(rows, datasets.check_features(rows))
        return evaluation.verify(rows, self._pool, progress=cli.progress, **options)

    def write(self, rows, folder: pathlib.Path, hidden: pathlib.Path) -> None:
        """Leaves the rows where the updates wrote them."""

    def publish(self, folder: pathlib.Path) -> None:
        """Removes the search."""
        shutil.rmtree(folder / _SEARCH, ignore_errors=True)


def _map_features(folder: pathlib.Path) -> Any:
    """Maps the file that --features names.

    What cannot be mapped is copied to a file in the folder, block by block.
    """
    if FLAGS.features is None:
        raise ValueError("--features is missing; name a file")
    if FLAGS.candidates is not None or FLAGS.neighbors == "faiss":
        raise ValueError(
            "--streamed searches by itself; leave --candidates and --neighbors=faiss "
            "out"
        )
    if inputs.is_shards(FLAGS.features):
        raise ValueError(
            f"{FLAGS.features} is a folder; --num_processes takes shards, --streamed "
            "one file"
        )
    return inputs.open_source(folder)


def _check_space(folder: pathlib.Path, shape: tuple[int, ...], width: int) -> None:
    """Refuses, before hours of search, a disk on which the results have no room."""
    num_rows, dim = shape
    value = 2 if FLAGS.storage == "bfloat16" else 4
    # The steps before the last one are kept while they are read.
    files = 3 if FLAGS.num_steps is None else min(max(FLAGS.num_steps, 1), 3)
    search = num_rows * (_VISIT_BYTES + 16 * width)
    needed = files * num_rows * dim * value + search
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} are needed; "
            "name another --output_dir, or --storage=bfloat16"
        )
