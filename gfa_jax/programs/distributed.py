"""`refine` over many devices, processes and hosts: from files to refined shards.

Every process reads the rows of its own devices, from its part of the memory-mapped
file or from the shards that hold them, and writes them refined as one shard. What the
devices exchange is in `gfa_jax.sharding`; the processes see one file system. Between
the stages

    neighbors   candidates of the own rows
    updates     the own rows refined

each process leaves a file in --output_dir/stages. A rerun after a failure goes on
after the last stage that all processes finished, for the same inputs, options and
layout: a file of others is left out, with a warning. The results appear at the end,
the manifest of the shards last, and then the stages go.
"""

import functools
import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

import gfa_jax as gfa
from gfa_jax import datasets, sharding
from gfa_jax.datasets.atomic import stream_array
from gfa_jax.neighbors import place_self
from gfa_jax.programs import (
    checkpoints,
    cli,
    evaluation,
    flags,
    inputs,
    method,
    outputs,
    processes,
    settings,
)
from gfa_jax.selection import outliers, thresholds
from gfa_jax.selection.impostor_pairs import draw_rows
from gfa_jax.sharding.exchange import EXCHANGES, MEMORY_LIMIT

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "exchange",
    None,
    EXCHANGES,
    "How devices meet in an update; by default gather where it fits --memory_limit.",
)
flags.DEFINE_float(
    "memory_limit", MEMORY_LIMIT / 2**30, "GiB of a device for an update.", 0.0
)

SHARDS = "refined"
_STAGES = "stages"
_AXIS = "rows"
_SEARCH_FLAGS = ("neighbors", "faiss_factory", "faiss_search")


class Refined(NamedTuple):
    """What stands in every process when the rows are refined.

    Attributes:
        folder: where the results go.
        settings: as told, or as suggested.
        pool: what the report says of the pool.
        shards: the refined rows, on the disk, not yet named by a manifest.
        num_outliers: rows that were isolated.
        residual: [T] of the updates.
        degree: [N] neighbours that survived.
        figures: of the pool before and after; only in process 0, and where labels or
            pairs are known.
        layout: processes, devices and what an update takes on each.
    """

    folder: pathlib.Path
    settings: settings.Settings
    pool: dict[str, Any]
    shards: datasets.Shards
    num_outliers: int
    residual: np.ndarray
    degree: np.ndarray
    figures: dict[str, evaluation.Verification]
    layout: dict[str, Any]


def run(
    stages: cli.Stages,
    *,
    output_dir: str,
    names: Sequence[str],
    figure_options: Mapping[str, Any],
) -> Refined:
    """Reads, checks, searches, refines and verifies; in every process of the job.

    Args:
        stages: times the stages load, neighbors, updates and evaluation.
        output_dir: folder of the results, the same for all processes.
        names: files that the program will write there; none may be an input.
        figure_options: fprs, rule, num_resamples, seed and max_images, as for
            `evaluation.verify`.

    Returns:
        Refined; call `publish` when the other results are written.

    Raises:
        ValueError: anything about the files or flags that cannot be used, or processes
            that differ in them; the same in every process.
    """
    with stages("load"):
        with processes.together():
            request = settings.read()
            _check_flags()
            inputs.refuse_overwriting(
                method.input_files(),
                (pathlib.Path(output_dir, name) for name in (*names, SHARDS)),
            )
            source, labels, pairs = _open()
            folder = outputs.prepare_folder(output_dir)
            facts = checkpoints.facts(source)
        processes.agree(facts)
        num_rows, dim = source.shape
        gfa.neighbors.check_k(request.values["k"], num_rows)
        with processes.together():
            mesh = sharding.row_mesh(per_process=FLAGS.num_devices)
        place = _Placement(mesh, num_rows)
        own = place.own
        with processes.together():
            unit, norms, content = _read_own(source, own)
        norms = _gather(norms)
        scaled = inputs.is_scaled(norms)
        with processes.together():
            unit = inputs.unit_rows(unit, norms[own.start : own.stop], scaled=scaled)
        features = place(unit)
        key = checkpoints.job_hash(facts, content, num_devices=mesh.size)
    finished = checkpoints.Checkpoints(folder / _STAGES)
    with stages("neighbors"):
        include_self = request.values["include_self"]
        searched = {name: getattr(FLAGS, name) for name in _SEARCH_FLAGS}
        searched["include_self"] = include_self
        searched["width"] = width = request.width(num_rows)
        key = checkpoints.extend(key, searched)
        found = gfa.Neighbors(
            **finished.run(
                "neighbors",
                key,
                lambda: _find(features, place, width, include_self=include_self),
            )
        )
    with stages("settings"):
        chosen = request.settle(
            lambda **options: _suggest(unit, features, found, place, options)
        )
        num_outliers = 0
        if chosen.isolates:
            found, num_outliers = _isolate(found, own.start, chosen.first_threshold)
        neighbors = _place_columns(found, chosen.k, place)
        layout = _layout(mesh, num_rows, dim, chosen.k)
    with stages("updates"):
        key = checkpoints.extend(
            key,
            chosen.as_report() | {"exchange": layout["exchange"]},
        )
        refined = finished.run(
            "updates",
            key,
            lambda: _refine(features, neighbors, chosen, layout, place),
        )
    with stages("files"):
        with processes.together():
            (folder / SHARDS).mkdir(exist_ok=True)
            part = datasets.write_part(
                folder / SHARDS, refined["features"], number=jax.process_index()
            )
        told = sharding.gather_bytes(json.dumps(part._asdict()).encode())
        parts = [datasets.Part(**json.loads(text)) for text in told]
        with processes.together():
            shards = datasets.open_parts(folder / SHARDS, parts)
    figures = {}
    pool = inputs.Pool(source.name, unit, norms, labels, pairs)
    if labels is not None or pairs is not None:
        with stages("evaluation"):
            figures = _verify(source, shards, pool, mesh, **figure_options)
    described = inputs.describe(pool) | {"rows": num_rows}
    degree = _gather(refined["degree"])
    return Refined(
        folder,
        chosen,
        described,
        shards,
        num_outliers,
        refined["residual"],
        degree,
        figures,
        layout,
    )


def publish(refined: Refined) -> None:
    """Names the refined shards in a manifest, the last file of all; drops the stages.

    Every process calls it, process 0 after it has written the other results.
    """
    with processes.together():
        if processes.is_first():
            datasets.write_manifest(refined.shards.folder, refined.shards.parts)
            shutil.rmtree(refined.folder / _STAGES, ignore_errors=True)


class _Placement:
    """Rows of this process to the devices, and back."""

    def __init__(self, mesh: Mesh, num_rows: int):
        self.where: dict[str, Any] = {
            "mesh": mesh,
            "axis_name": _AXIS,
            "num_rows": num_rows,
        }
        self.own = sharding.own_rows(**self.where)

    def __call__(self, rows: np.ndarray, *, fill: float = 0) -> jax.Array:
        return sharding.place_own_rows(rows, fill=fill, **self.where)

    def back(self, array: Any) -> np.ndarray:
        return sharding.take_own_rows(array, **self.where)


def _check_flags() -> None:
    if FLAGS.neighbors == "auto":
        raise ValueError(
            "--neighbors=auto chooses for one device; over several use exact or faiss"
        )
    if FLAGS.neighbors == "approximate":
        raise ValueError(
            "--neighbors=approximate is calibrated on one index of all rows; over "
            "several devices use --neighbors=faiss with --faiss_factory and "
            "--faiss_search"
        )


def _open() -> tuple[inputs.Source, np.ndarray | None, datasets.Pairs | None]:
    if FLAGS.features is None:
        pool = inputs.load_pool()
        return inputs.Source(pool.name, pool.features), pool.labels, pool.pairs
    source = inputs.open_source()
    return source, *inputs.read_truth(source.shape[0])


def _read_own(source: inputs.Source, own: range) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads this process's rows: as stored, their norms, the hash of their bytes."""
    # The check wants two rows, and the last process may own one.
    start = min(own.start, source.shape[0] - 2) if len(own) == 1 else own.start
    stored = source.read(max(start, 0), own.stop)
    name = FLAGS.features or source.name
    if jax.process_count() > 1:
        name = f"{name}, from row {start} on"
    norms = datasets.check_features(stored, name=name)
    skip = own.start - start
    content = hashlib.sha256()
    stream_array(_Hasher(content), stored[skip:])
    return stored[skip:], norms[skip:], content.hexdigest()


class _Hasher(NamedTuple):
    """A file that hashes what is written to it."""

    content: Any

    def write(self, block: Any) -> None:
        self.content.update(block)


def _gather(own: np.ndarray) -> np.ndarray:
    """Joins values of the rows of all processes: [n, ...] -> [N, ...]."""
    gathered = sharding.gather_arrays({"values": own})
    return np.concatenate([part["values"] for part in gathered])


def _layout(mesh: Mesh, num_rows: int, dim: int, k: int) -> dict[str, Any]:
    """Chooses the exchange by its memory, and says so."""
    memory = sharding.exchange_memory(
        num_rows=num_rows, dim=dim, k=k, num_devices=mesh.size
    )
    limit = round(FLAGS.memory_limit * 2**30)
    exchange = FLAGS.exchange or sharding.choose_exchange(memory, memory_limit=limit)
    if processes.is_first():
        gather, ring = map(_readable, memory)
        print(
            f"{num_rows:,} rows over {mesh.size} devices of {jax.process_count()} "
            f"processes; an update takes {gather} a device gathered and {ring} in a "
            f"ring, {_readable(limit)} are allowed: {exchange}",
            flush=True,
        )
    return {
        "processes": jax.process_count(),
        "devices": mesh.size,
        "exchange": exchange,
        "exchange_bytes": memory._asdict(),
    }


def _readable(size: int) -> str:
    unit, name = (2**30, "GiB") if size >= 2**28 else (2**20, "MiB")
    return f"{size / unit:,.1f} {name}"


def _progress(iterable: Any, *, total: int | None, desc: str) -> Any:
    """Shows the bar of process 0; the others take the same steps in silence."""
    if jax.process_index():
        return iterable
    return cli.progress(iterable, total=total, desc=desc)


def _find(
    features: jax.Array, place: _Placement, width: int, *, include_self: bool
) -> dict[str, np.ndarray]:
    """Searches, or reads, the candidates of this process's rows."""
    if FLAGS.candidates is not None:
        with processes.together():
            indices, similarity = datasets.read_candidates(
                FLAGS.candidates, num_rows=place.where["num_rows"]
            )
        placed = place_self(indices, similarity, k=width, include_self=include_self)
        own = slice(place.own.start, place.own.stop)
        found = {name: array[own] for name, array in placed._asdict().items()}
        if np.isnan(placed.similarity).any():
            cosines = sharding.score_candidates(
                features, place(found["indices"], fill=-1), **place.where
            )
            is_empty = found["indices"] < 0
            found["similarity"] = np.where(is_empty, -np.inf, place.back(cosines))
        return found
    options = {
        "k": width,
        "include_self": include_self,
        "progress": _progress,
    }
    search = sharding.exact_neighbors
    if FLAGS.neighbors == "faiss":
        search = functools.partial(
            sharding.faiss_neighbors,
            factory=FLAGS.faiss_factory,
            search=FLAGS.faiss_search,
        )
    found = search(features, **options, **place.where)
    return {name: place.back(array) for name, array in found._asdict().items()}


def _place_columns(found: gfa.Neighbors, k: int, place: _Placement) -> gfa.Neighbors:
    """Puts the first K columns of this process's candidates on its devices."""
    return gfa.Neighbors(
        *(
            place(np.asarray(column)[:, :k], fill=fill)
            for column, fill in zip(found, (-1, -np.inf), strict=True)
        )
    )


def _suggest(
    unit: np.ndarray,
    features: jax.Array,
    found: gfa.Neighbors,
    place: _Placement,
    options: dict[str, Any],
) -> thresholds.Suggestion:
    """Asks the whole pool for its settings, as one process would; the same in all.

    Memory: the candidates of all rows, 8 N K bytes, and the rows whose pairs are
    counted, in every process.
    """
    whole = gfa.Neighbors(*(_gather(np.asarray(column)) for column in found))
    rows = draw_rows(
        len(whole.indices), sample_size=thresholds.SAMPLE_SIZE, seed=FLAGS.seed
    )

    def updates(k: int, params: gfa.Params) -> np.ndarray:
        result = sharding.aggregate(
            features,
            _place_columns(found, k, place),
            params,
            num_steps=thresholds.MOST_STEPS,
            **options,
            **place.where,
        )
        return np.asarray(result.residual)

    is_own = (rows >= place.own.start) & (rows < place.own.stop)
    sample = _gather(unit[rows[is_own] - place.own.start])
    return thresholds.suggest(
        sample,
        whole,
        updates=updates,
        seed=FLAGS.seed,
        **options,
    )


def _isolate(
    found: gfa.Neighbors, first_row: int, threshold: Any
) -> tuple[gfa.Neighbors, int]:
    """Isolates outliers, which are told by the nearest neighbours of all rows."""
    with processes.together():
        own = outliers.measure_nearest(found, first_row=first_row)
    is_far = outliers.find_far(_gather(np.asarray(own)), threshold=threshold)
    with processes.together():
        crowded = outliers.find_crowded(found, is_far, first_row=first_row)
    is_outlier = _gather(np.asarray(crowded))
    isolated = gfa.selection.isolate(found, is_outlier, first_row=first_row)
    return isolated, int(is_outlier.sum())


def _refine(features, neighbors, chosen, layout, place) -> dict:
    """Makes the updates: this process's rows and their degrees; the residuals."""
    result = sharding.aggregate(
        features,
        neighbors,
        chosen.params,
        exchange=layout["exchange"],
        progress=_progress,
        **chosen.options,
        **place.where,
    )
    return {
        "features": place.back(result.features),
        "degree": place.back(result.degree),
        "residual": np.asarray(result.residual),
    }


def _verify(
    source: inputs.Source,
    shards: datasets.Shards,
    pool: inputs.Pool,
    mesh: Mesh,
    *,
    max_images: int | None,
    **options: Any,
) -> dict[str, evaluation.Verification]:
    """Measures before and after; all pairs are shared out among the devices.

    Memory: N D float32 in every process, which reads all rows.
    """

    def read_before() -> np.ndarray:
        stored = source.read(0, source.shape[0])
        scaled = inputs.is_scaled(pool.norms)
        return inputs.unit_rows(stored, pool.norms, scaled=scaled)

    figures = {}
    for name, read in (
        ("before", read_before),
        ("after", lambda: np.concatenate(shards.arrays)),
    ):
        with processes.together():
            rows = read()
        result = None
        if pool.pairs is None:
            assert pool.labels is not None  # the caller has labels or pairs
            result = sharding.all_pairs_roc(
                rows, pool.labels, mesh=mesh, progress=_progress
            )
        with processes.together():
            if processes.is_first():
                figures[name] = _figures(result, rows, pool, max_images, options)
    return figures


def _figures(result, rows, pool, max_images, options) -> evaluation.Verification:
    if result is None:
        return evaluation.verify(rows, pool, **options)
    result = evaluation.without_large(result, max_images=max_images)
    return evaluation.verify_all_pairs(result, **options)
