"""Refines embeddings that are larger than memory, from file to file.

    python -m experiments.streamed --features=big.npy --k=8 --num_steps=1

The file stays memory-mapped. The candidates are searched chunk by chunk, exactly or by
an inverted file of one byte a value, whichever ends earlier (--neighbors=auto), and
the updates go from file to file, in bfloat16 where --storage says so. An interrupted
search is kept in --output_dir/search, and the same command goes on from there; one
with other features or options refuses it. At the end refined.npy and report.json
appear, and the search goes.
"""

import pathlib
import shutil
import sys
from typing import Any

import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, inputs, outputs, settings
from gfa_jax import datasets, outliers
from gfa_jax.neighbors import choose_search

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(settings)
for _name in ("features", "features_key", "dim", "seed"):
    flags.declare_key_flag(_name)
flags.DEFINE_enum(
    "neighbors",
    "auto",
    ["exact", "approximate", "auto"],
    "exact: N²/2 products, resumable for days; approximate: FAISS, calibrated to "
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


class UnitRows:
    """Stored rows, scaled to unit length as they are read."""

    def __init__(self, stored: np.ndarray, norms: np.ndarray):
        """Keeps the stored rows [N, D] where they are, and their lengths [N]."""
        self._stored, self._norms = stored, norms
        self.shape, self.dtype = stored.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Reads some rows: [n, D] float32."""
        return inputs.unit_rows(self._stored[rows], self._norms[rows], scaled=True)


def main() -> None:
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    with stages("load"):
        chosen = _settings()
        stored = _map_features()
        inputs.refuse_overwriting(
            (FLAGS.features, FLAGS.params),
            (pathlib.Path(FLAGS.output_dir, name) for name in _OUTPUTS),
        )
        gfa.check_k(chosen.k, len(stored))
        norms = datasets.check_features(stored, name=FLAGS.features)
        rows = UnitRows(stored, norms) if inputs.is_scaled(norms) else stored
        folder = outputs.prepare_folder(FLAGS.output_dir)
        _check_space(folder, stored.shape, chosen)
    with stages("neighbors"):
        neighbors, calibration = _search(rows, chosen, folder / _SEARCH)
        if chosen.isolates:
            is_outlier = gfa.find_outliers(neighbors, threshold=chosen.first_threshold)
            neighbors = gfa.isolate(neighbors, is_outlier)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        with stages("updates"):
            result = gfa.aggregate_streamed(
                rows,
                neighbors,
                chosen.params,
                path=hidden / "refined.npy",
                storage=FLAGS.storage,
                progress=cli.progress,
                **{k: v for k, v in chosen.options.items() if k != "refresh_every"},
            )
        degree = np.asarray(result.degree)
        report = {
            "options": outputs.flag_values(),
            "settings": chosen.as_report(),
            "environment": outputs.environment(),
            "pool": {
                "name": pathlib.Path(FLAGS.features).name,
                "rows": stored.shape[0],
                "dimensions": stored.shape[1],
                "norms": outputs.spread(norms),
                "normalized": rows is not stored,
            },
            "calibration": calibration and calibration._asdict(),
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


def _settings() -> settings.Settings:
    """Reads the settings, and refuses those that ask for the pool in memory."""
    request = settings.read()
    if request.asked:
        raise ValueError(
            "--threshold=auto needs the pool in memory; take a sample of the rows, ask "
            "experiments.refine, and tell --threshold here"
        )
    if request.values["graph"] == "refresh":
        raise ValueError(
            "--graph=refresh searches in every step; run this program once a step"
        )
    chosen = request.settle()
    if chosen.isolates and chosen.k <= outliers.DEFAULT_RANK:
        raise ValueError(
            f"--isolate_outliers looks at {outliers.DEFAULT_RANK} neighbours; use it "
            f"with --k={outliers.DEFAULT_RANK + 1} or more"
        )
    return chosen


def _map_features() -> np.ndarray:
    """Maps the file that --features names."""
    if FLAGS.features is None:
        raise ValueError("--features is missing; name a .npy, .npz or .bin file")
    if pathlib.Path(FLAGS.features).is_dir():
        raise ValueError(
            f"{FLAGS.features} is a folder; experiments.refine --num_processes takes "
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
    folder: pathlib.Path, shape: tuple[int, ...], chosen: settings.Settings
) -> None:
    """Refuses, before hours of search, a disk on which the results have no room."""
    num_rows, dim = shape
    value = 2 if FLAGS.storage == "bfloat16" else 4
    # The steps before the last one are kept while they are read.
    files = min(max(chosen.options["num_steps"], 1), 3)
    search = num_rows * (dim + 8 + 16 * chosen.k)
    needed = files * num_rows * dim * value + search
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} are needed; "
            "name another --output_dir, or --storage=bfloat16"
        )


def _search(
    rows: Any, chosen: settings.Settings, checkpoint: pathlib.Path
) -> tuple[gfa.Neighbors, gfa.Calibration | None]:
    """Finds the candidates, or what is missing of them after an interrupt."""
    threshold = chosen.first_threshold
    search = FLAGS.neighbors
    if search == "auto":
        choice = choose_search(*rows.shape, k=chosen.k, threshold=threshold)
        search = choice.search
        about = f"{search} neighbors, about {max(1, round(choice.seconds)):,} s"
        print(f"{about}: {choice.reason}", file=sys.stderr, flush=True)
    options: dict[str, Any] = {
        "k": chosen.k,
        "include_self": chosen.options["include_self"],
        "checkpoint": checkpoint,
        "progress": cli.progress,
    }
    if search == "exact":
        return gfa.exact_neighbors_streamed(rows, **options), None
    options |= {"edge_recall": FLAGS.edge_recall, "seed": FLAGS.seed}
    return gfa.approximate_neighbors_streamed(rows, threshold=threshold, **options)


if __name__ == "__main__":
    FLAGS.set_default("threshold", "0.55")  # to suggest one takes the pool in memory
    cli.run(main)
