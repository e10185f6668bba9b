"""Compares the method with what a user would pick instead, on any labelled features.

    python -m experiments.compare --features=embeddings.npy --labels=labels.npy

--splits times, the identities are split in two. On one half every method tries
--trials settings, found for all in the same way (`comparison.search`), and one is
chosen for all by the same rule (`choice`); the figures are those of the other half,
over all its pairs. Neighbours are searched once, at --max_k, and shared. Seconds and
peak memory are of the whole file, with the setting of the first split, each method
alone in a fresh process. Written to --output_dir: table.txt, report.json and
tradeoff.png.
"""

import importlib.util
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import gfa_jax as gfa
from experiments.studies import baselines
from experiments.studies.comparison import contest, cost, summary
from experiments.studies.comparison.methods import METHODS
from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, evaluation, flags, halves, inputs, outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_string("output_dir", "outputs/compare", "Folder of the results.")
flags.DEFINE_list("methods", list(METHODS), "Methods to compare; ours has to be there.")
flags.DEFINE_integer("trials", 24, "Settings that each method may try.", lower_bound=1)
flags.DEFINE_integer("splits", 5, "Splits of the identities.", lower_bound=1)
flags.DEFINE_integer(
    "max_k", 57, "Most neighbours, the row itself counted.", lower_bound=4
)
flags.DEFINE_list(
    "fprs", ["1e-5", "1e-4", "1e-3"], "Targets to choose by and to report."
)
flags.DEFINE_float(
    "tolerance", 0.005, "Mean TPR to give up for a gentler setting.", lower_bound=0.0
)
flags.DEFINE_integer(
    "max_images",
    None,
    "Leave out genuine pairs of identities with more rows.",
    lower_bound=2,
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)

_OUTPUTS = ("table.txt", "tradeoff.png", "report.json")


def main() -> None:
    """Splits, lets the methods compete, measures what they cost, sums up."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    methods = _methods(FLAGS.methods)
    with stages("load"):
        pool = inputs.load_pool()
        seeds = range(FLAGS.seed, FLAGS.seed + FLAGS.splits)
        parts = [half for seed in seeds for half in halves.split(pool, seed=seed)]
        smallest = min(len(half.features) for half in parts)
        if FLAGS.max_k >= smallest > 4:
            cli.warn(f"--max_k={smallest - 1}: a half has no more than {smallest} rows")
            FLAGS.max_k = smallest - 1
        gfa.neighbors.check_k(FLAGS.max_k, smallest)
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("splits"):
        splits = [_compete(pool, methods, fprs, seed=seed) for seed in seeds]
    with stages("costs"):
        costs = _costs(pool, splits[0])
    table = summary.cells(splits)
    said = summary.verdicts(table, costs, fprs)
    text = summary.render(table, costs, fprs, said)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "table.txt", text + "\n")
        draw(table, costs, fprs).savefig(hidden / "tradeoff.png", dpi=150)
        report = {
            "pool": inputs.describe(pool),
            "methods": {
                name: {
                    "cells": [cell._asdict() for cell in row],
                    "cost": costs[name]._asdict(),
                    "splits": [_describe(split[name]) for split in splits],
                }
                for name, row in table.items()
            },
            "verdicts": said,
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(text)
    print(f"the table, tradeoff.png and report.json are in {folder}")


def draw(
    table: Mapping[str, Sequence[summary.Cell]],
    costs: Mapping[str, cost.Cost],
    fprs: Sequence[float],
) -> "Figure":
    """Draws a panel a target: quality against seconds.

    Args:
        table: of `summary.cells`.
        costs: name -> Cost.
        fprs: the targets.

    Returns:
        The figure.
    """
    import matplotlib.figure

    from experiments.studies.tradeoff_plot import plot_tradeoff

    height = 3.2 * len(fprs) + 0.6
    figure = matplotlib.figure.Figure(figsize=(8.0, height), layout="constrained")
    panels = figure.subplots(len(fprs), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, fpr) in enumerate(zip(panels, fprs, strict=True)):
        points = {
            name: (costs[name].search + costs[name].method, *row[number][:3])
            for name, row in table.items()
            if name != "raw"
        }
        plot_tradeoff(
            points,
            baseline=table["raw"][number].tpr,
            quality=f"TPR at FPR {fpr:.0e}",
            legend=number == 0,
            axes=axes,
        )
        axes.label_outer()
    return figure


def _methods(names: Sequence[str]) -> dict[str, Any]:
    """Takes the methods that are named and can run here."""
    unknown = [name for name in names if name not in METHODS]
    if unknown or "ours" not in names:
        what = f"{unknown[0]!r} is unknown" if unknown else "ours is missing"
        raise ValueError(
            f"--methods: {what}; expected ours and any of {'; '.join(METHODS)}"
        )
    if importlib.util.find_spec("faiss") is None:
        missing = {n for n in names if METHODS[n].search is baselines.faiss_search}
        names = [name for name in names if name not in missing]
        for name in missing:
            cli.warn(f"{name} is left out: pip install '.[cpu]' brings FAISS")
    return {name: METHODS[name] for name in names}


def _compete(
    pool: inputs.Pool, methods: dict[str, Any], fprs: Sequence[float], *, seed: int
) -> dict[str, contest.Outcome]:
    choosing, reported = (
        contest.prepare(half, max_k=FLAGS.max_k, fprs=fprs, max_images=FLAGS.max_images)
        for half in halves.split(pool, seed=seed)
    )
    return contest.compete(
        choosing,
        reported,
        methods,
        trials=FLAGS.trials,
        fprs=fprs,
        tolerance=FLAGS.tolerance,
        num_resamples=FLAGS.resamples,
        seed=seed,
    )


def _costs(
    pool: inputs.Pool, outcomes: Mapping[str, contest.Outcome]
) -> dict[str, cost.Cost]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "features.npy")
        np.save(path, pool.features)
        return {
            name: cost.measure(path, name, outcome.setting)
            for name, outcome in cli.progress(
                outcomes.items(), total=len(outcomes), desc="costs"
            )
        }


def _describe(outcome: contest.Outcome) -> dict[str, Any]:
    return {
        "setting": outcome.setting,
        "tried": [setting | {"tpr": tprs} for setting, tprs in outcome.tried],
        "verification": evaluation.as_report(outcome.verification),
        "seconds": outcome.seconds,
    }
