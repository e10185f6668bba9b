"""Refines a file of embeddings and shows what it did to verification.

    gfa refine --features=embeddings.npy --labels=labels.npy

reads, checks, finds the candidates, chooses the settings, runs the updates and writes
to --output_dir: refined.npy, dropped.npy (which rows have no edge), report.json,
summary.png: why these settings, the neighbours of a row and, where labels or pairs
say which rows belong together, scores and ROC before and after. Without --features it
runs on a generated sample.

    gfa refine --streamed --features=big.npy --storage=bfloat16

keeps the features in their file, where they do not fit in memory (`backends.file`);
with --num_processes several processes share the work and the file.

    gfa refine --num_processes=4 --features=shards/ …

does it over processes (`processes`), as do `srun` and `mpirun` that start several, and
writes a folder of shards, refined/, in place of refined.npy (`backends.mesh`).
"""

from functools import partial
from typing import Any

from gfa_jax import plotting
from gfa_jax.programs import (
    cli,
    evaluation,
    flags,
    outputs,
    pictures,
    pipeline,
    processes,
    results,
)
from gfa_jax.programs.backends import Backend, file, mesh
from gfa_jax.programs.backends.memory import MemoryBackend
from gfa_jax.refinement import Refinement

FLAGS = flags.FLAGS
flags.adopt(pipeline)
flags.adopt(evaluation)
flags.adopt(processes)
flags.adopt(mesh)
flags.adopt(file)
flags.adopt(pictures)

flags.DEFINE_string("output_dir", "outputs/refine", "Folder of the results.")

EVERYDAY = (
    *("features", "labels", "pairs", "output_dir", "preset", "threshold", "k"),
    *("gamma", "num_steps", "params", "neighbors", "plots"),
    *("streamed", "num_processes"),
)
_CURVES = {"before": "raw", "expansion": "query expansion", "after": "refined"}
_PANELS = ("scores", "roc", "edges", "closure", "candidates", "degree", "residual")
_PICTURES = (pictures.SUMMARY, *(f"{name}.png" for name in _PANELS))
_OUTPUTS = ("dropped.npy", *_PICTURES, "report.json")


def main() -> None:
    """Runs in memory or in a file, or on devices with the others of its job."""
    cli.keep_compiled_programs()
    options = evaluation.options()
    file.check_flags()
    is_job = processes.is_job()
    processes.launch()
    with processes.distributed_session():
        if FLAGS.streamed:
            _refine(file.FileBackend(), options)
        else:
            _refine(mesh.MeshBackend() if is_job else MemoryBackend(), options)


def _refine(backend: Backend, options: dict[str, Any]) -> None:
    """Runs the pipeline; the first process writes what is of all."""
    run = pipeline.Run(backend, cli.Stages(quiet=not processes.is_first()))
    refined_name = results.refined_name(backend.refined_name)
    names = (refined_name, *_OUTPUTS)
    with run.refine(FLAGS.output_dir, names) as refined:
        run.verify(refined, options)
        with run.stages("files"):
            run.write(refined)
            with processes.together():
                if processes.is_first():
                    _draw(run, refined)
        with processes.together():
            if processes.is_first():
                outputs.write_report(run.hidden, run.report(refined))
                files = [n for n in _OUTPUTS if (run.hidden / n).exists()]
    if processes.is_first():
        said = [run.say(refined)]
        if run.figures:
            said.append(evaluation.table(**run.figures))
        said.append(f"{run.folder}: {', '.join([refined_name, *files])}")
        print("\n\n".join(said))


def _draw(run: pipeline.Run, refined: Refinement) -> None:
    chosen, panels = refined.settings, {}
    if run.figures:
        found = {_CURVES[name]: figure for name, figure in run.figures.items()}
        ends = {n: found[n].histogram for n in ("raw", "refined")}
        panels["scores"] = partial(plotting.plot_scores, ends)
        panels["roc"] = partial(
            plotting.plot_roc,
            {name: figure.roc for name, figure in found.items()},
            intervals={name: figure.intervals for name, figure in found.items()},
        )
    # With weights every candidate that is left is an edge.
    threshold = chosen.first_threshold if chosen.weights is None else None
    if chosen.evidence is not None:
        panels["edges"] = partial(plotting.plot_edges, chosen.evidence)
        panels["closure"] = partial(plotting.plot_closure, chosen.evidence, k=chosen.k)
    elif threshold is not None:
        panels["candidates"] = partial(
            plotting.plot_candidates, chosen.neighbors, threshold=threshold
        )
    is_whole = len(chosen.neighbors.indices) == len(refined.degree)
    panels["degree"] = partial(
        plotting.plot_degree,
        refined.degree,
        neighbors=chosen.neighbors if is_whole else None,
        threshold=threshold,
    )
    panels["residual"] = partial(plotting.plot_residual, {"_": refined.residual})
    rows, columns = len(refined.degree), run.pool.features.shape[1]
    title = f"{run.pool.name}: {rows:,} rows of {columns} values, K = {chosen.k} "
    title += f"(the row itself counted), T = {chosen.num_steps}"
    pictures.save(run.hidden, panels, title=title)
