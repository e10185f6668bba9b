"""Refines a file of embeddings and shows what it did to verification.

    gfa refine --features=embeddings.npy --labels=labels.npy

reads, checks, finds the candidates, chooses the settings, runs the updates and writes
to --output_dir: refined.npy, dropped.npy (which rows have no edge), report.json,
residual.png, degree.png, settings.png where the pool chose the settings and, where
labels or pairs say which rows belong together, roc.png and similarity.png. Without
--features it runs on a generated sample.

    gfa refine --streamed --features=big.npy --storage=bfloat16

keeps the features in their file, where they do not fit in memory (`backends.file`).

    gfa refine --num_processes=4 --features=shards/ …

does it over processes (`processes`) and writes a folder of shards, refined/, in place
of refined.npy (`backends.mesh`).
"""

from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, evaluation, flags, pipeline, processes
from gfa_jax.programs.backends import Backend, mesh
from gfa_jax.programs.backends.file import FileBackend
from gfa_jax.programs.backends.memory import MemoryBackend
from gfa_jax.refinement import Refinement

FLAGS = flags.FLAGS
flags.adopt(pipeline)
flags.adopt(processes)
flags.adopt(mesh)

flags.DEFINE_string("output_dir", "outputs/refine", "Folder of the results.")
flags.DEFINE_list(
    "fprs", [f"{fpr:g}" for fpr in metrics.DEFAULT_FPRS], "FPRs to report."
)
flags.DEFINE_integer(
    "max_images", None, "Leave out genuine pairs of identities with more rows.", 2
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)
flags.DEFINE_bool("plots", True, "Whether the figures are drawn.")
flags.DEFINE_bool("streamed", False, "Keep the features in their file.")
flags.DEFINE_enum(
    "storage",
    "float32",
    ["float32", "bfloat16"],
    "Of the refined rows on disk, with --streamed.",
)

EVERYDAY = (
    *("features", "labels", "pairs", "output_dir", "preset", "threshold", "k"),
    *("gamma", "num_steps", "params", "neighbors", "plots"),
    *("streamed", "num_processes"),
)
_PICTURES = ("residual", "degree", "settings", "roc", "similarity")
_OUTPUTS = ("dropped.npy", *(f"{name}.png" for name in _PICTURES), "report.json")


def main() -> None:
    """Runs in memory or in a file, or on devices with the others of its job."""
    cli.keep_compiled_programs()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    if not processes.is_job():
        _refine(FileBackend() if FLAGS.streamed else MemoryBackend(), fprs)
    elif FLAGS.streamed:
        raise ValueError(
            "--streamed is for one process; leave it out with --num_processes and "
            "--num_devices"
        )
    elif processes.launches():
        processes.launch()
    else:
        with processes.joined():
            _refine(mesh.MeshBackend(), fprs)


def _refine(backend: Backend, fprs: tuple[float, ...]) -> None:
    """Runs the pipeline; the first process writes what is of all."""
    run = pipeline.Run(backend, cli.Stages())
    options = {
        "fprs": fprs,
        "rule": "conservative",
        "num_resamples": FLAGS.resamples,
        "seed": FLAGS.seed,
        "max_images": FLAGS.max_images,
    }
    names = (backend.refined_name, *_OUTPUTS)
    with run.refine(FLAGS.output_dir, names) as refined:
        run.verify(refined, options)
        with run.stages("files"):
            run.write(refined)
            with backend.together():
                if backend.is_first and FLAGS.plots:
                    _draw(run, refined)
        with backend.together():
            if backend.is_first:
                datasets.write_json(run.hidden / "report.json", run.report(refined))
                files = [n for n in _OUTPUTS if (run.hidden / n).exists()]
    if backend.is_first:
        said = [run.say(refined)]
        if run.figures:
            said.append(evaluation.table(**run.figures))
        said.append(f"{run.folder}: {', '.join([backend.refined_name, *files])}")
        print("\n\n".join(said))


def _draw(run: pipeline.Run, refined: Refinement) -> None:
    from gfa_jax import plotting

    chosen, folder = refined.settings, run.hidden
    is_whole = len(chosen.neighbors.indices) == len(refined.degree)
    drawn = {
        "residual": plotting.plot_residual({"updates": refined.residual}),
        "degree": plotting.plot_degree(
            refined.degree,
            neighbors=chosen.neighbors if is_whole else None,
            threshold=chosen.first_threshold if chosen.weights is None else None,
        ),
    }
    if chosen.found is not None:
        drawn["settings"] = plotting.plot_settings(chosen.found, name=run.pool.name)
    if run.figures:
        drawn["roc"] = plotting.plot_roc(
            {name: v.roc for name, v in run.figures.items()},
            intervals={name: v.intervals for name, v in run.figures.items()},
        )
        drawn["similarity"] = plotting.plot_similarity(
            {name: v.histogram for name, v in run.figures.items()}
        )
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
