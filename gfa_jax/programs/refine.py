"""Refines a file of embeddings and shows what it did to verification.

    gfa refine --features=embeddings.npy --labels=labels.npy

reads, checks, finds the K candidates, runs T updates and writes to --output_dir:
refined.npy, report.json, residual.png, degree.png, settings.png where the pool was
asked for them and, where labels or pairs say which rows belong together, roc.png and
similarity.png. Without --features it runs on a generated sample.

    gfa refine --num_processes=4 --features=shards/ …

does it over processes (see `processes`) and writes a folder of shards, refined/, in
place of refined.npy (see `distributed`).
"""

import pathlib
from typing import Any

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.programs import (
    cli,
    distributed,
    evaluation,
    flags,
    inputs,
    method,
    outputs,
    processes,
    settings,
)

FLAGS = flags.FLAGS
flags.adopt(inputs)
flags.adopt(method)
flags.adopt(processes)
flags.adopt(distributed)
_OUTPUTS = (
    "refined.npy",
    "residual.png",
    "degree.png",
    "settings.png",
    "roc.png",
    "similarity.png",
    "report.json",
)

flags.DEFINE_string("output_dir", "outputs/refine", "Folder of the results.")

flags.DEFINE_list(
    "fprs", [f"{fpr:g}" for fpr in metrics.DEFAULT_FPRS], "FPRs to report."
)
flags.DEFINE_enum("rule", "conservative", metrics.RULES, "Reading of the ROC.")
flags.DEFINE_integer(
    "max_images",
    None,
    "Leave out genuine pairs of identities with more rows.",
    lower_bound=2,
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)
flags.DEFINE_bool("plots", True, "Whether the figures are drawn.")


def main() -> None:
    """Runs on one device, or with the others of its job."""
    cli.keep_compiled_programs()
    options = {
        "fprs": metrics.check_targets(cli.numbers("fprs", float)),
        "rule": FLAGS.rule,
        "num_resamples": FLAGS.resamples,
        "seed": FLAGS.seed,
        "max_images": FLAGS.max_images,
    }
    if not processes.is_job():
        _refine(options)
    elif processes.launches():
        processes.launch()
    else:
        with processes.joined():
            _refine_together(options)


def _refine(options: dict[str, Any]) -> None:
    """Runs the stages in the order in which the data travel."""
    stages = cli.Stages()
    run = method.run(stages, output_dir=FLAGS.output_dir, names=_OUTPUTS)
    pool, result = run.pool, run.result
    refined = np.asarray(result.features)
    figures = {}
    if pool.labels is not None or pool.pairs is not None:
        with stages("evaluation"):
            for name, rows in (("before", pool.features), ("after", refined)):
                figures[name] = evaluation.verify(
                    rows, pool, progress=cli.progress, **options
                )
    with outputs.staged(run.folder, _OUTPUTS) as hidden:
        with stages("files"):
            datasets.write_array(hidden / "refined.npy", refined)
            _draw(hidden, figures, result, run.settings, run.neighbors)
        report = {
            "options": flags.values(),
            "settings": run.settings.as_report(),
            "environment": outputs.environment(),
            "pool": inputs.describe(pool),
            "isolated_outliers": run.num_outliers,
            "calibration": run.calibration and run.calibration._asdict(),
        }
        _write_report(
            hidden, report, result.residual, np.asarray(result.degree), figures, stages
        )
    _print(figures, f"refined features, {refined.shape}, are in {run.folder}")


def _refine_together(options: dict[str, Any]) -> None:
    """Runs the same stages in every process; the first one writes what is of all."""
    stages = cli.Stages()
    run = distributed.run(
        stages, output_dir=FLAGS.output_dir, names=_OUTPUTS, figure_options=options
    )
    is_first = processes.is_first()
    with processes.together():
        if is_first:
            with outputs.staged(run.folder, _OUTPUTS) as hidden:
                with stages("files"):
                    _draw(hidden, run.figures, run, run.settings)
                report = {
                    "options": flags.values(),
                    "settings": run.settings.as_report(),
                    "environment": outputs.environment(),
                    "layout": run.layout,
                    "pool": run.pool,
                    "isolated_outliers": run.num_outliers,
                }
                _write_report(
                    hidden, report, run.residual, run.degree, run.figures, stages
                )
    distributed.publish(run)
    if is_first:
        where = run.folder / distributed.SHARDS
        _print(run.figures, f"refined features, {run.shards.shape}, are in {where}")


def _write_report(
    folder: pathlib.Path,
    report: dict[str, Any],
    residual: Any,
    degree: np.ndarray,
    figures: dict[str, evaluation.Verification],
    stages: cli.Stages,
) -> None:
    """Adds to a report what both ways say of the result, and writes it."""
    report |= {
        "residual": residual.tolist(),
        "degree": outputs.spread(degree),
        "rows_without_neighbour": int(np.sum(degree == 0)),
        "verification": {
            name: evaluation.as_report(
                figure, before=figures["before"] if name == "after" else None
            )
            for name, figure in figures.items()
        },
        "seconds": stages.seconds,
        "peak_memory": outputs.peak_memory(),
    }
    datasets.write_json(folder / "report.json", report)


def _print(figures: dict[str, evaluation.Verification], where: str) -> None:
    if figures:
        print(evaluation.table(**figures))
    print(where)


def _draw(
    folder: pathlib.Path,
    figures: dict[str, evaluation.Verification],
    result: gfa.Aggregation | distributed.Refined,
    chosen: settings.Settings,
    neighbors: gfa.Neighbors | None = None,
) -> None:
    if not FLAGS.plots:
        return
    from gfa_jax import plotting

    drawn = {
        "residual": plotting.plot_residual({"updates": result.residual}),
        "degree": plotting.plot_degree(
            result.degree, neighbors=neighbors, threshold=chosen.first_threshold
        ),
    }
    if chosen.suggestion is not None:
        drawn["settings"] = plotting.plot_suggestion(chosen.suggestion)
    if figures:
        drawn["roc"] = plotting.plot_roc(
            {name: v.roc for name, v in figures.items()},
            intervals={name: v.intervals for name, v in figures.items()},
        )
        drawn["similarity"] = plotting.plot_similarity(
            {name: v.histogram for name, v in figures.items()}
        )
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
