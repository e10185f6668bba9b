"""The one way from files to refined features, in memory, in a file or on a mesh.

    read ─► search ─► settings ─► updates ─► evaluation ─► files

The program says where the rows live; what each step does there is in `backends`.
Importing this module defines the flags.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gfa_jax import datasets
from gfa_jax.programs import (
    cli,
    evaluation,
    flags,
    inputs,
    outputs,
    processes,
    results,
    settings,
)
from gfa_jax.programs.backends import Backend
from gfa_jax.refinement import Refinement

FLAGS = flags.FLAGS

flags.adopt(inputs)
flags.adopt(settings)
flags.adopt(results)
flags.DEFINE_enum(
    "neighbors",
    None,
    ["exact", "approximate", "auto", "faiss"],
    "Search, by default exact, auto with --streamed. approximate: calibrated to "
    "--edge_recall; auto: the one of these two that its time on this machine speaks "
    "for; faiss: an index as --faiss_factory says.",
)
flags.DEFINE_float(
    "edge_recall",
    0.99,
    "Share of the edges above the threshold to find. Candidates of a file or of FAISS "
    "that hold less are warned of, and refused where they hold less than half of it.",
    0.0,
    1.0,
)
flags.DEFINE_input("candidates", None, "Candidates found before: .npz or .npy.")
flags.DEFINE_string("faiss_factory", "Flat", "FAISS index factory string.")
flags.DEFINE_string("faiss_search", "", "FAISS search parameters: nprobe=16.")


class Run:
    """One run of the pipeline; its stages are timed.

    Attributes:
        pool: as it was read.
        folder: where the results go.
        hidden: a folder whose files appear there at the end.
        figures: what was measured, by name.
    """

    pool: inputs.Pool
    folder: pathlib.Path
    hidden: pathlib.Path

    def __init__(self, backend: Backend, stages: cli.Stages):
        """Begins a run on a backend."""
        self.backend = backend
        self.stages = stages
        self.figures: dict[str, evaluation.Verification] = {}

    @contextlib.contextmanager
    def refine(self, output_dir: str, names: Sequence[str]) -> Iterator[Refinement]:
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
            with processes.together():
                request = settings.read()
                self.folder = self.hidden = outputs.prepare_folder(
                    output_dir, names, alone=processes.is_first()
                )
            self.pool = backend.read(request, self.folder)
        with stages("neighbors"):
            searched, self._calibration = backend.search(request)
        with contextlib.ExitStack() as stack:
            result = backend.refine(request, searched, stages)
            if processes.is_first():
                staged = outputs.staged(self.folder, names)
                self.hidden = stack.enter_context(staged)
            yield result
            with processes.together():
                stack.close()
        backend.publish()

    def verify(self, refined: Refinement, options: Mapping[str, Any]) -> None:
        """Measures the raw, the expanded and the refined rows, where truth is known."""
        is_known = self.pool.labels is not None or self.pool.pairs is not None
        if not (is_known and self.backend.measures):
            return
        with self.stages("evaluation"):
            expansion = settings.expansion(refined.neighbors)
            expanded = self.backend.update(expansion, "expansion")
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

    def write(self, refined: Refinement) -> None:
        """Writes the refined rows and which rows were dropped."""
        stored = self.backend.refined_name
        is_table = results.refined_name(stored) != stored
        if not is_table:
            self.backend.write(refined.features, self.hidden)
        with processes.together():
            if processes.is_first():
                if is_table:
                    table = refined.features, refined.dropped
                    results.write_refined(self.hidden, self.pool, *table)
                datasets.write_array(self.hidden / "dropped.npy", refined.dropped)

    def report(self, refined: Refinement) -> dict[str, Any]:
        """Gathers what report.json says of every run."""
        figures = self.figures
        return {
            "settings": settings.as_report(refined.settings),
            "layout": self.backend.layout,
            "outputs": self.backend.written,
            "pool": inputs.describe(self.pool) | {"rows": len(refined.degree)},
            "calibration": self._calibration and self._calibration._asdict(),
            "dropped": int(np.sum(refined.dropped)),
            "residual": refined.residual.tolist(),
            "degree": outputs.spread(refined.degree),
            "rows_without_neighbour": int(np.sum(np.rint(refined.degree) <= 1)),
            "verification": {
                name: evaluation.as_report(
                    figure, before=None if name == "before" else figures["before"]
                )
                for name, figure in figures.items()
            },
            "seconds": self.stages.seconds,
        }

    def say(self, refined: Refinement) -> str:
        """Says in five lines what was run, and what speaks against trusting it."""
        found, searched = self._calibration, "exact search"
        if found is not None:
            searched = f"{found.factory}, {found.recall:.1%} of a sample's edges found"
        elif FLAGS.candidates is not None:
            searched = f"from {FLAGS.candidates}"
        elif FLAGS.neighbors == "faiss":
            searched = f"FAISS {FLAGS.faiss_factory}"
        first = [inputs.say(self.pool), f"neighbors: {searched}"]
        return "\n".join([*first, *refined.lines()])
