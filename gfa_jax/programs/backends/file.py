"""The rows in files that need not fit in memory, of one process or of several.

The processes see one file system, and none holds all rows: each reads, searches,
measures and updates its own, and writes them where all read. What a stage leaves lies
in --output_dir/stages, in files that appear when all have written theirs; the same
command, with any number of processes, goes on after the last stage that was finished.
An interrupted search is kept in --output_dir/search, and one of other features or
options is refused.
"""

import hashlib
import json
import pathlib
import shutil
from typing import Any

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, selection, streaming
from gfa_jax.clustering import Clusters, Method
from gfa_jax.datasets import resumable
from gfa_jax.neighbors import Calibration
from gfa_jax.programs import (
    backends,
    checkpoints,
    cli,
    evaluation,
    flags,
    inputs,
    processes,
    settings,
)
from gfa_jax.refinement import Refinement
from gfa_jax.sharding.processes import join_rows
from gfa_jax.streaming.aggregation import aggregate_in
from gfa_jax.streaming.clustering import cluster
from gfa_jax.streaming.settings import choose_settings
from gfa_jax.streaming.workspace import Workspace, Writer, release, take

FLAGS = flags.FLAGS

flags.DEFINE_bool("streamed", False, "Keep the features in their file.")
flags.DEFINE_enum(
    "storage",
    "float32",
    ["float32", "bfloat16"],
    "Of the refined rows on disk, with --streamed.",
)

_SEARCH, _STAGES = "search", "stages"
# Rows that are checked and hashed at once.
_BLOCK = 2**16
# Bytes of the cells that a row looks into: 256 cells, and 1024 are the most.
_VISIT_BYTES = 512
# All pairs of so many take some minutes, and are measured in memory.
_MOST_MEASURED = 1_000_000


class UnitRows:
    """Stored rows in float32, scaled to unit length where they need it.

    Pages of the files that were read are given back, see `streaming.workspace`.
    """

    def __init__(self, stored: np.ndarray | datasets.Shards, norms: np.ndarray):
        """Keeps the mapped rows [N, D] where they are, and their lengths [N]."""
        self._stored, self._norms = stored, norms
        self._is_scaled = inputs.is_scaled(norms)
        self.shape, self.dtype = stored.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Reads rows, by a slice or by sorted numbers: [n, D] float32."""
        part = read_stored(self._stored, rows)
        return inputs.unit_rows(part, self._norms[rows], scaled=self._is_scaled)


def read_stored(
    stored: np.ndarray | datasets.Shards, rows: slice | np.ndarray
) -> np.ndarray:
    """Copies stored rows, by a slice or by sorted numbers, and gives the pages back."""
    if not isinstance(stored, datasets.Shards):
        if not isinstance(rows, slice):
            return take(stored, rows)
        part = np.array(stored[rows])
        release(stored)
        return part
    if isinstance(rows, slice):
        rows = np.arange(*rows.indices(stored.shape[0]))
    starts = np.cumsum([0] + [part.rows for part in stored.parts])
    places = np.searchsorted(rows, starts)
    return np.concatenate(
        [
            take(array, rows[low:high] - start)
            for array, start, low, high in zip(
                stored.arrays, starts, places, places[1:], strict=False
            )
        ]
    )


class FileBackend(backends.Backend):
    """Rows [N, D] in memory-mapped files."""

    _pool: inputs.Pool
    _folder: pathlib.Path
    _workspace: Workspace

    def __init__(self, *, clusters: bool = False):
        """Makes one that also clusters, which takes room for more files, or not."""
        self._clusters = clusters

    def read(self, request, folder) -> inputs.Pool:
        """Maps the files; reads the own rows once to check them, and the free space."""
        team = backends.team()
        self._folder = folder
        with processes.together():
            if FLAGS.features is None:
                raise ValueError("--features is missing; name a file")
            if FLAGS.num_devices is not None:
                raise ValueError(
                    "--streamed takes one device a process; leave --num_devices out"
                )
            if FLAGS.candidates is not None or FLAGS.neighbors == "faiss":
                raise ValueError(
                    "--streamed searches by itself; leave --candidates and "
                    "--neighbors=faiss out"
                )
            # What cannot be mapped is copied to a file there, block by block.
            source = inputs.open_source(folder)
            width = request.width(source.shape[0])
            labels, pairs = inputs.read_truth(source.shape[0], source.columns)
            facts = checkpoints.facts(source)
        if team.size > 1:
            processes.agree(facts)
            self.layout = {"processes": team.size}
        own = team.own(source.shape[0], grain=_BLOCK)
        with processes.together():
            norms, hashes = _check(source, own)
            if isinstance(source.stored, datasets.Shards):
                mine = slice(team.number, None, team.size)
                datasets.check_hashes(source.stored, source.stored.parts[mine])
        norms, hashes = map(join_rows, (norms, hashes))
        contents = [hashlib.sha256(hashes.tobytes()).hexdigest()]
        key = checkpoints.job_hash(facts, contents, num_devices=1)
        key = resumable.extend(key, {"width": width})
        self._workspace = Workspace(folder / _STAGES, key, team)
        rows: Any = UnitRows(source.stored, norms)
        with processes.together():
            if processes.is_first():
                _check_space(folder, rows.shape, width, clusters=self._clusters)
        own = source.columns, source.vectors
        self._pool = inputs.Pool(source.name, rows, norms, labels, pairs, *own)
        if pairs is None and labels is not None and len(rows) > _MOST_MEASURED:
            self.measures = False
            if processes.is_first():
                cli.warn(
                    f"the figures of all pairs are left out: {len(rows):,} rows, "
                    f"{_MOST_MEASURED:,} are the most; --pairs measures those it lists"
                )
        return self._pool

    def search(self, request) -> backends.Searched:
        """Finds the candidates, or what is missing of them after an interrupt."""
        rows, team = self._pool.features, self._workspace.team
        asked = backends.approximate_options(request)
        self._workspace = self._workspace.extend(asked | {"search": FLAGS.neighbors})
        fields, folder = ("indices", "similarity"), self._folder / _SEARCH
        shape = len(rows), request.width(len(rows))
        outlines = {"indices": (shape, np.int32), "similarity": (shape, np.float32)}
        told = self._workspace.path("neighbors", "calibration").with_suffix(".json")

        def work(files: dict[str, Writer]) -> None:
            choice = backends.choose(rows.shape, request, default="auto")
            found, first, calibration = None, 0, None
            if choice == "approximate":
                found, calibration = backends.search_approximately(
                    rows, request, checkpoint=folder, **asked
                )
                first = team.own(len(rows)).start
            elif processes.is_first():  # which searches for all
                found = streaming.exact_neighbors(
                    rows, k=shape[1], checkpoint=folder, progress=cli.progress
                )
            if found is not None:
                for name in fields:
                    files[name](first, getattr(found, name))
            if processes.is_first():
                measured = calibration and calibration._asdict()
                datasets.write_json(told, measured)

        with processes.together():
            found = self._workspace.fill("neighbors", outlines, work)
            measured = json.loads(told.read_text())
        calibration = None if measured is None else Calibration(**measured)
        return gfa.Neighbors(*(found[name] for name in fields)), calibration

    def choose(self, near) -> selection.Settings:
        """See `Backend`; all rows' neighbors and weights are memory maps."""
        rows, workspace, seed = self._pool.features, self._workspace, FLAGS.seed
        with processes.together():
            return choose_settings(rows, near, workspace=workspace, seed=seed)

    def update(self, chosen, stage) -> gfa.Aggregation:
        """Updates from file to file."""
        with processes.together():
            return aggregate_in(
                self._workspace.extend([stage, settings.as_report(chosen)]),
                self._pool.features,
                np.asarray(chosen.neighbors.indices),
                chosen.params,
                num_steps=chosen.num_steps,
                stage=stage,
                weights=chosen.weights,
                storage=FLAGS.storage,
                progress=backends.progress,
                options=chosen.options,
            )

    def cluster(
        self,
        refined: Refinement,
        *,
        method: Method,
        threshold: float | None,
        min_size: int,
    ) -> Clusters:
        """Clusters the refined rows from their file; see `streaming.clustering`."""
        chosen = refined.settings
        told = [settings.as_report(chosen), FLAGS.storage]
        near = refined.neighbors if threshold is None else chosen.neighbors
        with processes.together():
            return cluster(
                refined.features,
                np.asarray(near.indices),
                workspace=self._workspace.extend(["clusters", told]),
                method=method,
                threshold=threshold,
                evidence=chosen.evidence,
                in_views=threshold is None or chosen.weights is not None,
                min_size=min_size,
                progress=backends.progress,
            )

    def verify(self, rows, stage, **options: Any) -> evaluation.Verification | None:
        """Measures rows, of which one process reads all, or those that are listed."""
        del stage
        with processes.together():
            if not processes.is_first():
                return None
            pool, listed = self._pool, slice(None)
            if pool.pairs is not None:
                listed, places = np.unique(pool.pairs.indices, return_inverse=True)
                places = places.reshape(pool.pairs.indices.shape)
                labels = None if pool.labels is None else pool.labels[listed]
                pairs = pool.pairs._replace(indices=places)
                pool = pool._replace(labels=labels, pairs=pairs)
            if rows is None:
                rows = pool.features[listed]
            else:  # bfloat16 rounds lengths too
                rows = rows[listed]
                rows = inputs.unit_rows(rows, datasets.check_features(rows))
            return evaluation.verify(rows, pool, progress=cli.progress, **options)

    def write(self, rows, hidden: pathlib.Path) -> None:
        """Names the file of the last update as the result, too."""
        source = pathlib.Path(rows.filename)
        with processes.together():
            if processes.is_first():
                try:
                    (hidden / self.refined_name).hardlink_to(source)
                except OSError:  # a file system without
                    source.replace(hidden / self.refined_name)

    def publish(self) -> None:
        """Removes the search and the stages."""
        if processes.is_first():
            for name in (_SEARCH, _STAGES):
                shutil.rmtree(self._folder / name, ignore_errors=True)


def check_flags() -> None:
    """Refuses flags of rows in files for those in memory, and the other way round."""
    if FLAGS.storage != "float32" and not FLAGS.streamed:
        raise ValueError("--storage is of rows in files: add --streamed, or drop it")
    if FLAGS.streamed and "exchange" in FLAGS and FLAGS.exchange is not None:
        raise ValueError("--exchange is of rows on devices: drop it, or --streamed")


def _check(source: inputs.Source, own: range) -> tuple[np.ndarray, np.ndarray]:
    """Checks rows, block by block: their norms [n], and the hash of each block."""
    norms, hashes = [np.empty(0)], [np.empty((0, 32), np.uint8)]

    def read(start: int, stop: int) -> np.ndarray:
        return read_stored(source.stored, slice(start, stop))

    for start in range(own.start, own.stop, _BLOCK):
        rows = range(start, min(start + _BLOCK, own.stop))
        block, lengths = backends.read_checked(source, rows, read)
        norms.append(lengths)
        values = np.ascontiguousarray(block)
        digest = hashlib.sha256(values.reshape(-1).view(np.uint8).data).digest()
        hashes.append(np.frombuffer(digest, np.uint8)[None])
    return np.concatenate(norms), np.concatenate(hashes)


def _check_space(
    folder: pathlib.Path, shape: tuple[int, ...], width: int, *, clusters: bool
) -> None:
    """Refuses, before hours of search, a disk on which the results have no room."""
    num_rows, dim = shape
    value = 2 if FLAGS.storage == "bfloat16" else 4
    # The steps before the last one are kept while they are read.
    files = 3 if FLAGS.num_steps is None else min(max(FLAGS.num_steps, 1), 3)
    # Lists of the search, twice, and of the settings.
    lists = num_rows * (_VISIT_BYTES + 32 * width + 100)
    needed = files * num_rows * dim * value + lists
    if clusters:  # rows in the pool's own units, and sums of clusters
        needed += num_rows * (8 * dim + 4 * width)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} are needed; "
            "name another --output_dir, or --storage=bfloat16"
        )
