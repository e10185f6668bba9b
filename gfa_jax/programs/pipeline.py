"""The one way from files to refined features, in memory, in a file or on a mesh.

    read ─► search ─► settings ─► updates ─► evaluation ─► files

`choose_backend` says where the rows live; what each step does there is in `backends`.
Importing this module defines the flags.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.programs import (
    cli,
    evaluation,
    flags,
    inputs,
    outputs,
    settings,
)
from gfa_jax.programs.backends import Backend

FLAGS = flags.FLAGS

flags.adopt(inputs)
flags.adopt(settings)
flags.DEFINE_enum(
    "neighbors",
    None,
    ["exact", "approximate", "auto", "faiss"],
    "Search, by default exact, auto with --streamed. approximate: calibrated to "
    "--edge_recall; auto: the one of these two that its time on this machine speaks "
    "for; faiss: an index as --faiss_factory says.",
)
flags.DEFINE_float(
    "edge_recall", 0.99, "Share of the edges above the threshold to find.", 0.0, 1.0
)
flags.DEFINE_string("candidates", None, "Candidates found before: .npz or .npy.")
flags.DEFINE_string("faiss_factory", "Flat", "FAISS index factory string.")
flags.DEFINE_string("faiss_search", "", "FAISS search parameters: nprobe=16.")


class Refined(NamedTuple):
    """What stands when the rows are refined, in every process of a job.

    Attributes:
        pool: as it was read.
        settings: as given, or as the pool chose them.
        calibration: how well the candidates were searched, where that was measured.
        features: [n, D] the refined rows of this process.
        residual: [T] of the updates.
        degree: [N] edges of each row.
        dropped: [N] bool, rows without edges.
        folder: where the results go.
        hidden: a folder whose files appear there at the end.
    """

    pool: inputs.Pool
    settings: settings.Settings
    calibration: gfa.neighbors.Calibration | None
    features: np.ndarray
    residual: np.ndarray
    degree: np.ndarray
    dropped: np.ndarray
    folder: pathlib.Path
    hidden: pathlib.Path

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self.degree), self.features.shape[1]


class Run:
    """One run of the pipeline; its stages are timed."""

    def __init__(self, backend: Backend, stages: cli.Stages):
        """Begins a run on a backend."""
        self.backend = backend
        self.stages = stages
        self.figures: dict[str, evaluation.Verification] = {}
        self._searched: gfa.Neighbors | None = None

    @contextlib.contextmanager
    def refine(self, output_dir: str, names: Sequence[str]) -> Iterator[Refined]:
        """Reads, checks, searches and refines; files appear when the block ends.

        Args:
            output_dir: folder of the results.
            names: files that the program writes there, in the order in which they
                appear; none may be an input.

        Raises:
            ValueError: anything about the files or flags that cannot be used.
        """
        backend, stages = self.backend, self.stages
        with stages("load"):
            with backend.together():
                request = settings.read()
                inputs.refuse_overwriting(
                    _input_files(), (pathlib.Path(output_dir, name) for name in names)
                )
                folder = outputs.prepare_folder(output_dir)
            pool = backend.read(request, folder)
        with stages("neighbors"):
            self._searched, calibration = backend.search(request)
        with stages("settings"):
            searched = gfa.Neighbors(*map(np.asarray, self._searched))
            chosen = request.resolve(searched, lambda: backend.choose(searched))
            dropped = backend.gather(chosen.dropped)
        with contextlib.ExitStack() as stack:
            staged = outputs.staged(folder, names)
            hidden = stack.enter_context(staged) if backend.streams else folder
            with stages("updates"):
                result = backend.aggregate(chosen, hidden, stage="updates")
            if backend.is_first and not backend.streams:
                hidden = stack.enter_context(staged)
            yield Refined(
                pool,
                chosen,
                calibration,
                result.features,
                result.residual,
                result.degree,
                dropped,
                folder,
                hidden,
            )
            with backend.together():
                stack.close()
        backend.publish(folder)

    def verify(self, refined: Refined, options: Mapping[str, Any]) -> None:
        """Measures the raw, the expanded and the refined rows, where truth is known."""
        if refined.pool.labels is None and refined.pool.pairs is None:
            return
        assert self._searched is not None
        with self.stages("evaluation"):
            beside = refined.hidden / "expansion"
            if self.backend.streams:
                beside.mkdir()
            expanded = self.backend.aggregate(
                settings.expansion(self._searched), beside, stage="expansion"
            )
            for name, rows, stage in (
                ("before", None, None),
                ("expansion", expanded.features, "expansion"),
                ("after", refined.features, "updates"),
            ):
                # Intervals are of the gain, which is that of the refined rows.
                own = {"num_resamples": 0} if name == "expansion" else {}
                found = self.backend.verify(rows, stage, **{**options, **own})
                if found is not None:
                    self.figures[name] = found

    def write(self, refined: Refined) -> None:
        """Writes the refined rows and which rows were dropped."""
        self.backend.write(refined.features, refined.folder, refined.hidden)
        with self.backend.together():
            if self.backend.is_first:
                datasets.write_array(refined.hidden / "dropped.npy", refined.dropped)

    def report(self, refined: Refined) -> dict[str, Any]:
        """Gathers what report.json says of every run."""
        figures = self.figures
        return {
            "options": flags.values(),
            "settings": refined.settings.as_report(),
            "environment": outputs.environment(),
            "layout": self.backend.layout,
            "pool": inputs.describe(refined.pool) | {"rows": len(refined.degree)},
            "calibration": refined.calibration and refined.calibration._asdict(),
            "dropped": int(np.sum(refined.dropped)),
            "residual": np.asarray(refined.residual).tolist(),
            "degree": outputs.spread(refined.degree),
            "rows_without_neighbour": int(np.sum(refined.degree == 0)),
            "verification": {
                name: evaluation.as_report(
                    figure, before=None if name == "before" else figures["before"]
                )
                for name, figure in figures.items()
            },
            "seconds": self.stages.seconds,
            "peak_memory": outputs.peak_memory(),
        }


def say(refined: Refined) -> str:
    """Says in five lines what was run."""
    pool, chosen = refined.pool, refined.settings
    rows, columns = len(pool.norms), pool.features.shape[1]
    scaled = "scaled to unit length" if pool.was_normalized else "of unit length"
    half = _half(chosen)
    steps = f"K = {chosen.k} (the row itself counted), T = {chosen.num_steps}"
    gamma = np.round(np.ravel(chosen.params.gamma), 4).tolist()
    gamma = gamma[0] if len(gamma) == 1 else gamma
    edges = np.maximum(np.asarray(refined.degree) - 1, 0).mean()
    if chosen.evidence is not None:
        edges = chosen.evidence.edges_per_row
    count = int(np.sum(refined.dropped))
    dropped = f"rows dropped: {count:,}"
    lines = [
        f"pool: {rows:,} rows of {columns} values, {scaled}",
        f"settings: {steps}, gamma = {gamma}; {half}",
        f"edges: {edges:.1f} a row, besides the row itself",
        dropped + (" (dropped.npy says which)" if count else ""),
    ]
    if chosen.evidence is not None and chosen.evidence.distrust:
        lines.append(f"distrust: {chosen.evidence.distrust}")
    return "\n".join(lines)


def _half(chosen: settings.Settings) -> str:
    if chosen.weights is None:
        return f"an edge counts above a cosine of {chosen.first_threshold:.3f}"
    half = float(chosen.evidence.half_cosine) if chosen.evidence else np.nan
    if np.isnan(half):
        return "no edge is as likely as not"
    return f"an edge is as likely as not at a cosine of {half:.3f}"


def _input_files() -> tuple[str | None, ...]:
    return FLAGS.features, FLAGS.labels, FLAGS.pairs, FLAGS.candidates, FLAGS.params
