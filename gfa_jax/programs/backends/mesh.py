"""The rows spread over devices, processes and hosts: from files to refined shards.

Every process reads the rows of its own devices, from its part of the memory-mapped
file or from the shards that hold them, and writes them refined as one shard. What the
devices exchange is in `gfa_jax.sharding`; the processes see one file system. Between
the stages

    neighbors   candidates of the own rows
    updates     the own rows refined

each process leaves a file in --output_dir/stages. A rerun after a failure goes on
after the last stage that all processes finished, for the same inputs, options and
layout: a file of others is left out, with a warning. What the settings are chosen from
lies there too, as of a streamed run (`file`). The results appear at the end, the
manifest of the shards last, and then the stages go.
"""

import functools
import json
import pathlib
import shutil
from typing import Any

import jax
import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, selection, sharding
from gfa_jax.datasets import fingerprints, resumable
from gfa_jax.neighbors import Calibration
from gfa_jax.programs import (
    backends,
    checkpoints,
    evaluation,
    flags,
    inputs,
    processes,
    settings,
)
from gfa_jax.programs.backends import file
from gfa_jax.refinement import Settings
from gfa_jax.sharding.exchange import EXCHANGES, MEMORY_LIMIT
from gfa_jax.sharding.layout import AXIS
from gfa_jax.sharding.processes import join_rows
from gfa_jax.streaming.settings import choose_settings
from gfa_jax.streaming.workspace import Workspace, Writer

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "exchange",
    None,
    EXCHANGES,
    "Of rows in an update; by default gather where it fits --memory_limit.",
)
flags.DEFINE_float(
    "memory_limit", MEMORY_LIMIT / 2**30, "GiB of a device for an update.", 0.0
)

_STAGES = "stages"


class MeshBackend(backends.Backend):
    """Rows of this process [n, D] on its devices."""

    refined_name = "refined"
    gather = staticmethod(join_rows)
    _source: inputs.Source
    _pool: inputs.Pool
    _features: jax.Array
    _rows: file.UnitRows
    _folder: pathlib.Path
    _finished: checkpoints.Checkpoints
    _key: str
    _shards: datasets.Shards

    def read(self, request, folder: pathlib.Path) -> inputs.Pool:
        """Checks that all processes are of one job; reads the own rows."""
        with processes.together():
            if FLAGS.features is None:
                pool = inputs.load_pool()
                source, labels = inputs.Source(pool.name, pool.features), pool.labels
                pairs = pool.pairs
            else:
                source = inputs.open_source()
                labels, pairs = inputs.read_truth(source.shape[0], source.columns)
            request.width(source.shape[0])
            facts = checkpoints.facts(source)
        processes.agree(facts)
        with processes.together():
            mesh = sharding.row_mesh(per_process=FLAGS.num_devices)
        self._source = source
        self._place = sharding.Layout(mesh, AXIS, source.shape[0])
        own = self._place.own
        with processes.together():
            unit, norms = backends.read_checked(source, own, source.read)
            content = resumable.content_hash([unit], [])
        norms = join_rows(norms)
        scaled = inputs.is_scaled(norms)
        with processes.together():
            unit = inputs.unit_rows(unit, norms[own.start : own.stop], scaled=scaled)
        self._features = self._place.place_own(unit)
        self._rows, self._folder = file.UnitRows(source.stored, norms), folder
        contents = [text.decode() for text in sharding.gather_bytes(content.encode())]
        self._key = checkpoints.job_hash(facts, contents, num_devices=mesh.size)
        self._finished = checkpoints.Checkpoints(folder / _STAGES)
        self._pool = inputs.Pool(source.name, unit, norms, labels, pairs)
        return self._pool

    def search(self, request) -> backends.Searched:
        """Searches, or reads, the candidates of this process's rows."""
        width = request.width(self._source.shape[0])
        names = ("neighbors", "faiss_factory", "faiss_search")
        searched = {name: getattr(FLAGS, name) for name in names} | {"width": width}
        asked = backends.approximate_options(request)
        if FLAGS.neighbors in ("auto", "approximate"):
            searched |= asked
        self._key = resumable.extend(self._key, searched)
        fields = (*gfa.Neighbors._fields, "calibration")

        def find() -> dict[str, np.ndarray]:
            found, calibration = self._find(request, asked)
            told = json.dumps(calibration and calibration._asdict()).encode()
            return found._asdict() | {"calibration": np.frombuffer(told, np.uint8)}

        found = self._finished.run("neighbors", self._key, fields, find)
        told = json.loads(found.pop("calibration").tobytes())
        return gfa.Neighbors(**found), told and Calibration(**told)

    def choose(self, near) -> selection.Settings:
        """Chooses by the lists of all rows, in files; gives those of the own rows."""
        own, num_rows = self._place.own, self._place.num_rows
        workspace = Workspace(self._folder / _STAGES, self._key, backends.team())
        columns = near._asdict()

        def write(files: dict[str, Writer]) -> None:
            for name, column in columns.items():
                files[name](own.start, column)

        outlines = {
            name: ((num_rows, column.shape[1]), column.dtype)
            for name, column in columns.items()
        }
        with processes.together():
            lists = gfa.Neighbors(**workspace.fill("lists", outlines, write))
            found = choose_settings(
                self._rows, lists, workspace=workspace, seed=FLAGS.seed
            )
        part = slice(own.start, own.stop)
        return found._replace(
            neighbors=gfa.Neighbors(*(np.array(x[part]) for x in found.neighbors)),
            weights=np.array(found.weights[part]),
            dropped=found.dropped[part],
        )

    def update(self, chosen, stage) -> gfa.Aggregation:
        """Updates the own rows, or reads them where that was finished before."""
        self.layout = _layout(self._place, self._source.shape[1], chosen)
        # Each process has its own rows of the weights; the hash is of all.
        kinds = {"exchange": self.layout["exchange"], **settings.as_report(chosen)}
        if chosen.weights is not None:
            kinds["weights"] = resumable.content_hash([join_rows(chosen.weights)], [])
        key = resumable.extend(self._key, kinds)
        fields = ("features", "degree", "residual")
        found: Any = self._finished.run(
            stage, key, fields, lambda: self._update(chosen)
        )
        degree = join_rows(found["degree"])
        return gfa.Aggregation(found["features"], found["residual"], degree)

    def verify(self, rows, stage, **options: Any) -> evaluation.Verification | None:
        """Measures rows; all pairs are shared out among the devices.

        Memory: N D float32 in every process.
        """
        max_images = options.pop("max_images")
        with processes.together():
            if stage is None:
                whole = self._rows[:]
            else:
                whole = self._finished.read_all(stage, "features")
        del rows
        if self._pool.pairs is not None:
            with processes.together():
                if not processes.is_first():
                    return None
                return evaluation.verify(whole, self._pool, **options)
        assert self._pool.labels is not None  # the caller has labels or pairs
        place, labels = self._place, self._pool.labels
        result = sharding.all_pairs_roc(
            whole, labels, mesh=place.mesh, progress=backends.progress
        )
        with processes.together():
            if not processes.is_first():
                return None
            result = evaluation.without_large(result, max_images=max_images)
            return evaluation.verify_all_pairs(result, **options)

    def write(self, rows, hidden: pathlib.Path) -> None:
        """Writes the own rows as a shard, which no manifest names yet."""
        del hidden
        target = self._folder / self.refined_name
        with processes.together():
            target.mkdir(exist_ok=True)
            part = datasets.write_part(target, rows, number=jax.process_index())
        told = sharding.gather_bytes(json.dumps(part._asdict()).encode())
        parts = [datasets.Part(**json.loads(text)) for text in told]
        with processes.together():
            self._shards = datasets.open_parts(target, parts)
        sizes = [(target / part.file).stat().st_size for part in parts]
        self.written = {
            self.refined_name: fingerprints.join(
                {"bytes": size, "sha256": part.sha256}
                for size, part in zip(sizes, parts, strict=True)
            )
        }

    def publish(self) -> None:
        """Names the shards in a manifest, the last file of all; drops the stages."""
        with processes.together():
            if processes.is_first():
                datasets.write_manifest(self._shards.folder, self._shards.parts)
                shutil.rmtree(self._folder / _STAGES, ignore_errors=True)

    def _find(self, request, asked: dict[str, Any]) -> backends.Searched:
        place, num_rows = self._place, self._source.shape[0]
        width = request.width(num_rows)
        if FLAGS.candidates is not None:
            own = slice(place.own.start, place.own.stop)
            return backends.read_candidates(self._rows, request, self._score, own)
        choice = backends.choose(self._source.shape, request, default="exact")
        if choice == "approximate":
            folder = self._folder / _STAGES
            with processes.together():
                folder.mkdir(exist_ok=True)
                checkpoint = folder / f"search-{self._key[:16]}"
                options = asked | {"own": place.own, "checkpoint": checkpoint}
                return backends.search_approximately(self._rows, request, **options)
        search = sharding.exact_neighbors
        if choice == "faiss":
            search = functools.partial(
                sharding.faiss_neighbors,
                factory=FLAGS.faiss_factory,
                search=FLAGS.faiss_search,
            )
        found = search(
            self._features, k=width, progress=backends.progress, **place.arguments
        )
        return gfa.Neighbors(*map(place.take_own, found)), None

    def _score(self, indices: np.ndarray) -> np.ndarray:
        place = self._place
        placed = place.place_own(indices, -1)
        return place.take_own(
            sharding.score_candidates(self._features, placed, **place.arguments)
        )

    def _update(self, chosen: Settings) -> dict[str, np.ndarray]:
        place, weights = self._place, chosen.weights
        near = chosen.neighbors
        result = sharding.aggregate(
            self._features,
            gfa.Neighbors(
                place.place_own(near.indices, -1),
                place.place_own(near.similarity, -np.inf),
            ),
            chosen.params,
            num_steps=chosen.num_steps,
            weights=None if weights is None else place.place_own(weights),
            exchange=(self.layout or {})["exchange"],
            progress=backends.progress,
            options=chosen.options,
            **place.arguments,
        )
        return {
            "features": place.take_own(result.features),
            "degree": place.take_own(result.degree),
            "residual": np.asarray(result.residual),
        }


def _layout(place: sharding.Layout, dim: int, chosen: Settings) -> dict[str, Any]:
    """Chooses the exchange by its memory, and says so."""
    num_rows, devices = place.num_rows, place.mesh.size
    k = chosen.neighbors.indices.shape[1]
    memory = sharding.exchange_memory(
        num_rows=num_rows, dim=dim, k=k, num_devices=devices
    )
    limit = round(FLAGS.memory_limit * 2**30)
    exchange = FLAGS.exchange or sharding.choose_exchange(memory, memory_limit=limit)
    if processes.is_first():
        gather, ring = map(_readable, memory)
        print(
            f"{num_rows:,} rows over {devices} devices of {jax.process_count()} "
            f"processes; an update takes {gather} a device gathered and {ring} in a "
            f"ring, {_readable(limit)} are allowed: {exchange}",
            flush=True,
        )
    return {
        "processes": jax.process_count(),
        "devices": devices,
        "exchange": exchange,
        "exchange_bytes": memory._asdict(),
    }


def _readable(size: int) -> str:
    unit, name = (2**30, "GiB") if size >= 2**28 else (2**20, "MiB")
    return f"{size / unit:,.1f} {name}"
