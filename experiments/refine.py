"""Refines a file of embeddings and shows what it did to verification.

    python -m experiments.refine --features=embeddings.npy --labels=labels.npy

reads, checks, finds the K candidates, runs T updates and writes to --output_dir:
refined.npy, report.json and, where labels or pairs say which rows belong together,
roc.png and similarity.png. Without --features it runs on a generated sample.
"""

import pathlib

import numpy as np
from absl import flags

from experiments import cli, evaluation, inputs, method, outputs
from gfa_jax import datasets, metrics

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(inputs)
flags.adopt_module_key_flags(method)
_OUTPUTS = ("refined.npy", "roc.png", "similarity.png", "report.json")

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
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    run = method.run(stages, output_dir=FLAGS.output_dir, names=_OUTPUTS)
    pool, result = run.pool, run.result
    refined = np.asarray(result.features)
    figures = {}
    if pool.labels is not None or pool.pairs is not None:
        with stages("evaluation"):
            for name, rows in (("before", pool.features), ("after", refined)):
                figures[name] = evaluation.verify(
                    rows,
                    pool,
                    fprs=fprs,
                    rule=FLAGS.rule,
                    num_resamples=FLAGS.resamples,
                    seed=FLAGS.seed,
                    max_images=FLAGS.max_images,
                    progress=cli.progress,
                )
    with outputs.staged(run.folder, _OUTPUTS) as hidden:
        with stages("files"):
            datasets.write_array(hidden / "refined.npy", refined)
            if figures and FLAGS.plots:
                _draw(hidden, figures)
        report = {
            "options": outputs.flag_values() | run.options,
            "environment": outputs.environment(),
            "pool": inputs.describe(pool),
            "calibration": run.calibration and run.calibration._asdict(),
            "residual": result.residual.tolist(),
            "degree": outputs.spread(np.asarray(result.degree)),
            "rows_without_neighbour": int(np.sum(np.asarray(result.degree) == 0)),
            "verification": {k: evaluation.as_report(v) for k, v in figures.items()},
            "seconds": stages.seconds,
            "peak_memory": outputs.peak_memory(),
        }
        datasets.write_json(hidden / "report.json", report)
    if figures:
        print(evaluation.table(**figures))
    print(f"refined features, {refined.shape}, are in {run.folder}")


def _draw(folder: pathlib.Path, figures: dict[str, evaluation.Verification]) -> None:
    from gfa_jax import plotting

    roc = plotting.plot_roc({name: v.roc for name, v in figures.items()})
    roc.savefig(folder / "roc.png", dpi=150)
    cosines = plotting.plot_similarity({k: v.histogram for k, v in figures.items()})
    cosines.savefig(folder / "similarity.png", dpi=150)


if __name__ == "__main__":
    cli.run(main)
