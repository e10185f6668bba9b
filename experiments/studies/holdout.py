"""Chooses the settings on half of the identities and reports on the other half.

    python -m experiments.holdout --features=embeddings.npy --labels=labels.npy

The identities are split as in `halves`, and each half is refined by itself: the pool
that the aggregation sees is that half. Every setting of the grid is tried on the first
half and one is chosen by the rule of `choice`: of those whose mean gain in TPR is
within --tolerance of the largest, the gentlest, which has the smallest γ·T, then the
highest t. The strongest settings win by less than the noise and stand next to the
collapse, as the sweep in report.json shows. The cosines of the first half also fit
likelihood ratios, before and after; calibration.png and the table of costs show them on
the other.
"""

import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

import gfa_jax as gfa
from experiments.studies import calibration, choice
from gfa_jax import metrics
from gfa_jax.checks import check_params
from gfa_jax.neighbors import check_k
from gfa_jax.programs import cli, evaluation, flags, halves, inputs, outputs

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_string("output_dir", "outputs/holdout", "Folder of the results.")
flags.DEFINE_enum(
    "preset",
    "mask",
    ["mask", "paper"],
    "mask: affinities above t, of the first step; paper: as printed.",
)
flags.DEFINE_list(
    "k", ["5", "10", "15", "20"], "Neighbours to try, the row itself counted."
)
flags.DEFINE_list(
    "threshold", ["0.35", "0.45", "0.55", "0.65", "0.75"], "Thresholds to try."
)
flags.DEFINE_list("gamma", ["0.5", "1"], "Steps to try.")
flags.DEFINE_list("num_steps", ["1", "2", "4"], "Numbers of updates to try.")
flags.DEFINE_list(
    "fprs", ["1e-6", "1e-5", "1e-4", "1e-3"], "Targets to choose by and to report."
)
flags.DEFINE_float(
    "tolerance", 0.005, "Mean TPR to give up for a gentler setting.", lower_bound=0.0
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)

_OUTPUTS = ("roc.png", "calibration.png", "report.json")


class Setting(NamedTuple):
    """One cell of the grid."""

    k: int
    threshold: float
    gamma: float
    num_steps: int


def main() -> None:
    """Splits, chooses, reports."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    grid = _grid()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    with stages("load"):
        pool = inputs.load_pool()
        choosing, reported = halves.split(pool, seed=FLAGS.seed)
        for half in (choosing, reported):
            check_k(max(setting.k for setting in grid), len(half.features))
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("choice"):
        raw, cells = _sweep(choosing, grid, fprs)
        chosen = choice.choose(
            raw,
            cells,
            tolerance=FLAGS.tolerance,
            strength=lambda s: (s.gamma * s.num_steps, -s.threshold, s.k),
        )
    with stages("report"):
        rows, fitted = (
            [half.features, next(_refine(half, [chosen]))]
            for half in (reported, choosing)
        )
        draws = {"num_resamples": FLAGS.resamples, "seed": FLAGS.seed}
        before, after = (choice.verify(r, reported, fprs, **draws) for r in rows)
        ratios = {
            name: calibration.show(
                name, choice.verify(own, choosing, fprs).roc, other.roc
            )
            for name, own, other in zip(
                ("before", "after"), fitted, (before, after), strict=True
            )
        }
    shown = {name: each for name, each in ratios.items() if each is not None}
    _write(folder, pool, raw, cells, chosen, before, after, shown, stages)
    print(
        f"chosen on {len(choosing.features):,} rows: "
        + ", ".join(f"{k}={v:g}" for k, v in chosen._asdict().items())
    )
    print(f"on the other {len(reported.features):,} rows:")
    print(evaluation.table(before, after))
    if shown:
        print(calibration.table(shown))


def _refine(pool: inputs.Pool, grid: Sequence[Setting]) -> Iterator[np.ndarray]:
    """Refines a pool by each setting; the widest search serves the narrower ones."""
    neighbors = gfa.exact_neighbors(pool.features, k=max(s.k for s in grid))
    for setting in grid:
        result = gfa.aggregate(
            pool.features,
            neighbors.first(setting.k),
            gfa.Params(setting.gamma, setting.threshold),
            num_steps=setting.num_steps,
            options=gfa.PAPER if FLAGS.preset == "paper" else gfa.Options(),
        )
        yield np.asarray(jax.block_until_ready(result.features))


def _sweep(
    pool: inputs.Pool, grid: Sequence[Setting], fprs: Sequence[float]
) -> tuple[list[float], list[tuple[Setting, list[float]]]]:
    """Returns the TPRs of the raw features and of every setting."""
    raw = choice.tprs(choice.verify(pool.features, pool, fprs))
    refined = cli.progress(_refine(pool, grid), total=len(grid), desc="settings")
    return raw, [
        (setting, choice.tprs(choice.verify(features, pool, fprs)))
        for setting, features in zip(grid, refined, strict=True)
    ]


def _grid() -> list[Setting]:
    """Returns every combination of the flags, each checked."""
    values = itertools.product(
        cli.numbers("k", int),
        cli.numbers("threshold", float),
        cli.numbers("gamma", float),
        cli.numbers("num_steps", int),
    )
    grid = [Setting(*cell) for cell in values]
    for setting in grid:
        check_params(gfa.Params(setting.gamma, setting.threshold))
        if setting.num_steps < 0:
            raise ValueError(f"--num_steps={setting.num_steps}; expected 0 or more")
    return grid


def _write(
    folder: pathlib.Path,
    pool: inputs.Pool,
    raw: list[float],
    cells: list[tuple[Setting, list[float]]],
    chosen: Setting,
    before: evaluation.Verification,
    after: evaluation.Verification,
    shown: dict[str, calibration.Shown],
    stages: cli.Stages,
) -> None:
    from gfa_jax import plotting

    with outputs.staged(folder, _OUTPUTS) as hidden:
        plotting.plot_roc(
            {"raw": before.roc, "refined": after.roc},
            intervals={"raw": before.intervals, "refined": after.intervals},
            title=f"{pool.name}: ROC of the half held out",
        ).savefig(hidden / "roc.png", dpi=150)
        if shown:
            figure = calibration.draw(shown)
            figure.savefig(hidden / "calibration.png", dpi=150)
        report = {
            "pool": pool.name,
            "preset": FLAGS.preset,
            "seed": FLAGS.seed,
            "chosen": chosen._asdict(),
            "tolerance": FLAGS.tolerance,
            "sweep": {
                "raw": raw,
                "cells": [cell._asdict() | {"tpr": tprs} for cell, tprs in cells],
            },
            "verification": {
                "before": evaluation.as_report(before),
                "after": evaluation.as_report(after),
            },
            "calibration": {name: each.figures for name, each in shown.items()},
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
