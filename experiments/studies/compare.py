"""Compares the method with what a user would pick instead, on any labelled features.

    python -m experiments.compare --features=embeddings.npy --labels=labels.npy
    python -m experiments.compare --sets=FOLDER_OR_FILES

--splits times, the identities are split in two. On one half every method tries
--trials settings, found for all in the same way (`comparison.search`), and one is
chosen for all by the same rule (`choice`); the figures are those of the other half,
over all its pairs, and the seconds of the second run on it, since the first compiles.
Neighbours are searched once, at --max_k, and shared; every method pays for them.

A set is a .npz with `features` and `labels`; `camera`, `session` or `source` says where
a row is from, `is_query` and `is_gallery` which rows search and are searched. Written
to --output_dir: tables.md, report.json and tradeoff.png, and before them a file a set
and method in cells/: the same command goes on after the last of them.
"""

import json
import pathlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import gfa_jax as gfa
from experiments.studies import evidence
from experiments.studies.comparison import contest, summary
from experiments.studies.comparison.methods import METHODS
from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, flags, inputs, outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_list(
    "sets", None, "Files .npz with features and labels, or folders, for --features."
)
flags.DEFINE_string("output_dir", "outputs/compare", "Folder of the results.")
flags.DEFINE_list("methods", list(METHODS), "Methods to compare, raw and default too.")
flags.DEFINE_integer("trials", 24, "Settings that each method may try.", lower_bound=1)
flags.DEFINE_integer("splits", 5, "Splits of the identities.", lower_bound=1)
flags.DEFINE_integer(
    "max_k", 57, "Most neighbours, the row itself counted.", lower_bound=4
)
flags.DEFINE_integer(
    "max_rows", None, "Leave out identities of larger pools, at random.", lower_bound=8
)
flags.DEFINE_list(
    "fprs", ["1e-5", "1e-4", "1e-3"], "Targets to choose by and to report."
)
flags.DEFINE_float(
    "tolerance", 0.005, "Mean TPR to give up for a gentler setting.", lower_bound=0.0
)
flags.DEFINE_list(
    "max_images",
    ["lfw=50", "lfw_dlib=50"],
    "ROWS or NAME=ROWS: leave out genuine pairs of identities with more rows.",
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)

_OUTPUTS = ("tables.md", "tradeoff.png", "report.json")
_CHOICES = ("trials", "splits", "seed", "max_k", "tolerance", "resamples")


def main() -> None:
    """Lets the methods compete on each set, sums up."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    names = _methods(FLAGS.methods)
    with stages("load"):
        sets = _load()
        largest = {given.pool.name: _largest_k(given) for given in sets}
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("splits"):
        found = {
            given.pool.name: _compete(given, names, fprs, folder, largest)
            for given in cli.progress(sets, total=len(sets), desc="sets")
        }
    if FLAGS.sets is None:
        text = summary.render_set(found[sets[0].pool.name], fprs)
    else:
        tables = summary.render_all(found, fprs)
        text = "\n\n".join(f"## {title}\n\n{table}" for title, table in tables.items())
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "tables.md", text + "\n")
        draw(found, fprs).savefig(hidden / "tradeoff.png", dpi=150)
        report = {
            "sets": {
                given.pool.name: {
                    "pool": inputs.describe(given.pool),
                    "methods": found[given.pool.name],
                    "verdicts": summary.verdicts(found[given.pool.name], fprs),
                }
                for given in sets
            },
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(text)
    print(f"the tables, tradeoff.png and report.json are in {folder}")


def draw(sets: Mapping[str, summary.Outcomes], fprs: Sequence[float]) -> "Figure":
    """Draws a panel a target: quality against seconds, means over the sets.

    Seconds are averaged as their logarithms; a method that some sets lack is left out.
    """
    import matplotlib.figure

    from experiments.studies.tradeoff_plot import plot_tradeoff

    tables = [summary.cells(outcomes) for outcomes in sets.values()]
    others = [name for name in tables[0] if all(name in table for table in tables)]
    names = [name for name in others if name != "raw"]
    time = {
        name: np.exp(np.mean([np.log(summary.seconds(s[name])) for s in sets.values()]))
        for name in names
    }
    height = 3.2 * len(fprs) + 0.6
    figure = matplotlib.figure.Figure(figsize=(8.0, height), layout="constrained")
    panels = figure.subplots(len(fprs), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, fpr) in enumerate(zip(panels, fprs, strict=True)):
        means = {
            name: np.mean([table[name][number][:3] for table in tables], axis=0)
            for name in others
        }
        plot_tradeoff(
            {name: (time[name], *means[name]) for name in names},
            baseline=means["raw"][0],
            quality=f"TPR at FPR {fpr:.0e}",
            legend=number == 0,
            axes=axes,
        )
        axes.label_outer()
    return figure


def _methods(names: Sequence[str]) -> list[str]:
    """Takes the methods that are named and can run here."""
    unknown = [name for name in names if name not in METHODS]
    missing = [name for name in ("raw", summary.DEFAULT) if name not in names]
    if unknown or missing:
        what = f"{unknown[0]!r} is unknown" if unknown else f"{missing[0]} is missing"
        raise ValueError(
            f"--methods: {what}; expected raw, default and any of {'; '.join(METHODS)}"
        )
    return list(dict.fromkeys(names))


def _load() -> list[evidence.Set]:
    """Reads the pool of --features, or the --sets."""
    if FLAGS.sets is not None:
        if FLAGS.features is not None:
            raise ValueError("got --features and --sets; expected one of them")
        paths = evidence.list_files(FLAGS.sets)
        sets = [evidence.read_set(path, FLAGS.max_images) for path in paths]
    else:
        pool = inputs.load_pool()
        most = evidence.images_of(pathlib.Path(pool.name).stem, FLAGS.max_images)
        sets = [evidence.Set(pool.name, pool, most, None, None)]
    if FLAGS.max_rows is None:
        return sets
    return [
        contest.limit_rows(given, FLAGS.max_rows, seed=FLAGS.seed) for given in sets
    ]


def _seeds() -> range:
    return range(FLAGS.seed, FLAGS.seed + FLAGS.splits)


def _largest_k(given: evidence.Set) -> int:
    """Shrinks --max_k to the smallest half."""
    rows = [
        len(half.pool.features)
        for seed in _seeds()
        for half in contest.split(given, seed=seed)
    ]
    smallest = min(rows)
    if FLAGS.max_k >= smallest > 4:
        cli.warn(
            f"{given.pool.name}: --max_k={smallest - 1}, a half has no more than "
            f"{smallest} rows"
        )
    k = min(FLAGS.max_k, smallest - 1) if smallest > 4 else FLAGS.max_k
    gfa.neighbors.check_k(k, smallest)
    return k


def _compete(
    given: evidence.Set,
    names: Sequence[str],
    fprs: Sequence[float],
    folder: pathlib.Path,
    largest: Mapping[str, int],
) -> dict[str, list[dict[str, Any]]]:
    """Measures the methods on a set, but for those whose file is there already."""
    name, k = given.pool.name, largest[given.pool.name]
    rows = np.ascontiguousarray(given.pool.features)
    made_with = {flag: FLAGS[flag].value for flag in _CHOICES}
    made_with |= {
        "fprs": list(fprs),
        "rows": len(rows),
        "checksum": zlib.crc32(rows.data),
    }
    made_with |= {"max_images": given.max_images}
    cells = folder / "cells"
    cells.mkdir(exist_ok=True)
    splits: list[list[contest.Half]] = []
    found: dict[str, Any] = {}
    wanted = [
        n for n in names if given.origin is not None or not METHODS[n].takes_origin
    ]
    for method in cli.progress(wanted, total=len(wanted), desc=name):
        path = cells / (re.sub(r"\W+", "_", f"{name}.{method}") + ".json")
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.get("made_with") != made_with:
            splits = splits or [
                [
                    contest.prepare(half, max_k=k, fprs=fprs)
                    for half in contest.split(given, seed=seed)
                ]
                for seed in _seeds()
            ]
            outcomes = [
                contest.compete(
                    choosing,
                    reported,
                    METHODS[method],
                    trials=FLAGS.trials,
                    fprs=fprs,
                    tolerance=FLAGS.tolerance,
                    num_resamples=FLAGS.resamples,
                    seed=seed,
                )
                for (choosing, reported), seed in zip(splits, _seeds(), strict=True)
            ]
            kept = {"made_with": made_with, "splits": outcomes}
            datasets.write_json(path, kept)
        found[method] = kept["splits"]
    return found
