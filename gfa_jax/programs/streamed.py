"""Refines embeddings that are larger than memory, from file to file.

    gfa streamed --features=big.npy --k=8 --num_steps=1

The file stays memory-mapped. The candidates are searched chunk by chunk, exactly or in
the cells that a row is near to, whichever ends earlier (--neighbors=auto), and the
updates go from file to file, in bfloat16 where --storage says so. Where no threshold
is told, the pool suggests the settings as it does in `refine`, from 50 candidates a
row (fewer with --k) and at most 18 updates more. An interrupted search is kept in
--output_dir/search, and the same command goes on from there; one with other features
or options refuses it. At the end refined.npy and report.json appear, and the search
goes.
"""

import mmap
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.neighbors import choose_search
from gfa_jax.neighbors.automatic import estimate_exact
from gfa_jax.programs import cli, flags, inputs, outputs, settings
from gfa_jax.selection import thresholds
from gfa_jax.selection.impostor_pairs import draw_rows

FLAGS = flags.FLAGS
flags.adopt(settings)
flags.adopt(inputs, "features", "features_key", "dim", "seed")
flags.DEFINE_enum(
    "neighbors",
    "auto",
    ["exact", "approximate", "auto"],
    "exact: N²/2 products, resumable for days; approximate: cells, calibrated to "
    "--edge_recall; auto: the one whose time on this machine speaks for it.",
)
flags.DEFINE_float(
    "edge_recall", 0.99, "Share of the edges above the threshold to find.", 0.0, 1.0
)
flags.DEFINE_enum(
    "storage", "float32", ["float32", "bfloat16"], "Of the refined rows on disk."
)
flags.DEFINE_string("output_dir", "outputs/streamed", "Folder of the results.")

_OUTPUTS = ("refined.npy", "report.json")
_SEARCH = "search"
# Bytes of mapped pages after which they are given back.
_MOST_MAPPED = 2**29
# Bytes that a system maps around a single row that is read.
_FAULT_BYTES = 2**16
# Bytes of the cells that a row looks into: 256 cells, and 1024 are the most.
_VISIT_BYTES = 512
# Impostors that a row may expect above a threshold that is suggested.
_FALSE_EDGES = 0.05


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


def main() -> None:
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    with stages("load"):
        request = settings.read()
        stored = _map_features()
        inputs.refuse_overwriting(
            (FLAGS.features, FLAGS.params),
            (pathlib.Path(FLAGS.output_dir, name) for name in _OUTPUTS),
        )
        gfa.neighbors.check_k(request.values["k"], len(stored))
        norms = datasets.check_features(stored, name=FLAGS.features)
        rows = UnitRows(stored, norms)
        rows.release()
        folder = outputs.prepare_folder(FLAGS.output_dir)
        _check_space(folder, stored.shape, request)
    with stages("neighbors"):
        neighbors, calibration = _search(rows, request, folder / _SEARCH)
    with stages("settings"):
        chosen = request.settle(
            lambda **options: _suggest(rows, neighbors, folder, options)
        )
        num_outliers = 0
        if chosen.isolates:
            is_outlier = gfa.find_outliers(neighbors, threshold=chosen.first_threshold)
            neighbors = gfa.selection.isolate(neighbors, is_outlier)
            num_outliers = int(is_outlier.sum())
        neighbors = gfa.Neighbors(*(column[:, : chosen.k] for column in neighbors))
    with outputs.staged(folder, _OUTPUTS) as hidden:
        with stages("updates"):
            result = gfa.streaming.aggregate(
                rows,
                neighbors,
                chosen.params,
                path=hidden / "refined.npy",
                storage=FLAGS.storage,
                progress=cli.progress,
                **chosen.options,
            )
        degree = np.asarray(result.degree)
        report = {
            "options": flags.values(),
            "settings": chosen.as_report(),
            "environment": outputs.environment(),
            "pool": {
                "name": pathlib.Path(FLAGS.features).name,
                "rows": stored.shape[0],
                "dimensions": stored.shape[1],
                "norms": outputs.spread(norms),
                "normalized": inputs.is_scaled(norms),
            },
            "calibration": calibration and calibration._asdict(),
            "outliers": num_outliers,
            "residual": np.asarray(result.residual).tolist(),
            "degree": outputs.spread(degree),
            "rows_without_neighbour": int(np.sum(degree == 0)),
            "seconds": stages.seconds,
            # Of the resident bytes, those of the mapped file can be taken back.
            "peak_memory": outputs.peak_memory() | {"mapped_bytes": stored.nbytes},
        }
        datasets.write_json(hidden / "report.json", report)
    shutil.rmtree(folder / _SEARCH, ignore_errors=True)
    print(f"refined features, {stored.shape}, are in {folder}")


def _map_features() -> np.ndarray:
    """Maps the file that --features names."""
    if FLAGS.features is None:
        raise ValueError("--features is missing; name a .npy, .npz or .bin file")
    if pathlib.Path(FLAGS.features).is_dir():
        raise ValueError(
            f"{FLAGS.features} is a folder; gfa refine --num_processes takes "
            "shards, this program one file"
        )
    stored = datasets.read_features(
        FLAGS.features, dim=FLAGS.dim, key=FLAGS.features_key
    )
    if not isinstance(stored, np.memmap):
        raise ValueError(
            f"{FLAGS.features} is compressed and cannot be mapped; store it as .npy"
        )
    return stored


def _check_space(
    folder: pathlib.Path, shape: tuple[int, ...], request: settings.Request
) -> None:
    """Refuses, before hours of search, a disk on which the results have no room."""
    num_rows, dim = shape
    value = 2 if FLAGS.storage == "bfloat16" else 4
    # The steps before the last one are kept while they are read.
    num_steps = 3 if request.asked else request.values["num_steps"]
    files = min(max(num_steps, 1), 3)
    search = num_rows * (_VISIT_BYTES + 16 * request.width(num_rows))
    needed = files * num_rows * dim * value + search
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} are needed; "
            "name another --output_dir, or --storage=bfloat16"
        )


def _sample(rows: UnitRows) -> np.ndarray:
    """Reads the rows whose pairs tell of impostors."""
    numbers = draw_rows(len(rows), sample_size=thresholds.SAMPLE_SIZE, seed=FLAGS.seed)
    return rows[numbers]


def _search(
    rows: UnitRows, request: settings.Request, checkpoint: pathlib.Path
) -> tuple[gfa.Neighbors, gfa.neighbors.Calibration | None]:
    """Finds the candidates, or what is missing of them after an interrupt."""
    width = request.width(len(rows))
    search, threshold = FLAGS.neighbors, request.threshold
    if threshold is not None:
        threshold = float(np.ravel(threshold)[0])
    elif search != "exact":
        # The edges above what is suggested later are among those above this, which is
        # the one of all rows and not of a pool as small as the sample.
        sample = _sample(rows)
        share = (len(sample) - 1) / (len(rows) - 1)
        threshold = thresholds.bound_impostors(
            sample, false_edges_per_row=_FALSE_EDGES * share, seed=FLAGS.seed
        )
    if search == "auto":
        choice = choose_search(*rows.shape, k=width, threshold=threshold)
        search = choice.search
        cli.announce(f"{search} neighbors", choice.seconds, choice.reason)

    def on_exact(reason: str) -> None:
        seconds = estimate_exact(*rows.shape, k=width)
        cli.announce("exact neighbors after all", seconds, reason)

    options: dict[str, Any] = {
        "k": width,
        "include_self": request.values["include_self"],
        "checkpoint": checkpoint,
        "progress": cli.progress,
    }
    if search == "exact":
        return gfa.streaming.exact_neighbors(rows, **options), None
    options |= {"edge_recall": FLAGS.edge_recall, "seed": FLAGS.seed}
    return gfa.streaming.approximate_neighbors(
        rows, threshold=threshold, on_exact=on_exact, **options
    )


def _suggest(
    rows: UnitRows,
    neighbors: gfa.Neighbors,
    folder: pathlib.Path,
    options: dict[str, Any],
) -> thresholds.Suggestion:
    """Asks the whole pool for its settings, as `refine` does.

    Cost: MOST_STEPS updates from file to file for each gamma that is tried.
    """

    def updates(k: int, params: gfa.Params) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix=".gfa_jax-", dir=folder) as hidden:
            result = gfa.streaming.aggregate(
                rows,
                gfa.Neighbors(*(column[:, :k] for column in neighbors)),
                params,
                num_steps=thresholds.MOST_STEPS,
                path=pathlib.Path(hidden, "refined.npy"),
                storage=FLAGS.storage,
                progress=cli.progress,
                **options,
            )
            return np.asarray(result.residual)

    return thresholds.suggest(
        _sample(rows),
        neighbors,
        false_edges_per_row=_FALSE_EDGES,
        updates=updates,
        seed=FLAGS.seed,
        progress=cli.progress,
        **options,
    )
