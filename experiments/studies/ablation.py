"""Answers what the paper leaves open with figures: one option at a time, and grids.

    python -m experiments.ablation --features=embeddings.npy --labels=labels.npy

Around the paper as printed (--k, --threshold, --gamma and --num_steps) every open point
is changed by itself: what an edge weighs, whether edges are scored anew in each update,
whether the row counts, whether rows return to unit length, whether the rows that the
default drops take part; and the default itself, for which nothing is chosen. Then
gamma × T, and K × t with all rows and without the dropped ones. Everything is shown.
Each cell is the gain in TPR over the raw features, over all pairs. It writes table.txt,
sweep.png (K × t at two of the FPRs) and report.json.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from experiments.studies import forms
from gfa_jax import datasets, metrics
from gfa_jax.checks import check_params
from gfa_jax.programs import cli, evaluation, flags, inputs, outputs
from gfa_jax.selection import WIDTH
from gfa_jax.types import Graph, Weighting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_string("output_dir", "outputs/ablation", "Folder of the results.")
flags.DEFINE_integer("k", 15, "Of the reference; the row itself counted.")
flags.DEFINE_float("threshold", 0.55, "Of the reference.", -1.0, 1.0)
flags.DEFINE_float("gamma", 0.5, "Of the reference.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Of the reference.", lower_bound=0)
flags.DEFINE_list("gammas", ["0.25", "0.5", "1"], "Of the grid gamma × T.")
flags.DEFINE_list("steps", ["1", "2", "4", "8"], "Of the grid gamma × T.")
flags.DEFINE_list("ks", ["5", "10", "15", "20"], "Of the grid K × t.")
flags.DEFINE_list(
    "thresholds", ["0.55", "0.6", "0.65", "0.7", "0.75", "0.8"], "Of the grid K × t."
)
flags.DEFINE_list("fprs", ["1e-6", "1e-5", "1e-4", "1e-3"], "FPRs to report.")
flags.DEFINE_integer(
    "max_images",
    None,
    "Leave out genuine pairs of identities with more rows.",
    lower_bound=2,
)

_OUTPUTS = ("table.txt", "sweep.png", "report.json")
_DEFAULT = "the default"


class Setting(NamedTuple):
    """What one refinement is made with; see `gfa_jax.aggregate`."""

    k: int
    threshold: float
    gamma: float
    num_steps: int
    weighting: Weighting
    graph: Graph
    include_self: bool = True
    renormalize: bool = True
    drops: bool = False

    def name(self, reference: "Setting") -> str:
        """Says in what it is other than a reference."""
        changes = [
            f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
            for field, value in self._asdict().items()
            if value != getattr(reference, field)
        ]
        return ", ".join(changes) or "the paper as printed"


class Cell(NamedTuple):
    """TPR [F] at each target, and the impostor pairs [F] behind it."""

    tpr: np.ndarray
    false_accepts: np.ndarray


def main() -> None:
    """Measures every setting once and lays them out."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    with stages("load"):
        pool = inputs.load_pool()
        if pool.labels is None or pool.pairs is not None:
            raise ValueError("expected --labels and no --pairs: all pairs are scored")
        reference = Setting(
            FLAGS.k,
            FLAGS.threshold,
            FLAGS.gamma,
            FLAGS.num_steps,
            gfa.PAPER.weighting,
            gfa.PAPER.graph,
        )
        sections = _sections(reference)
        settings = list(dict.fromkeys(itertools.chain(*sections.values())))
        _check(settings, num_rows=len(pool.features))
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("neighbors"):
        width = min(WIDTH, len(pool.features) - 1)
        wide = gfa.exact_neighbors(
            pool.features,
            k=max(width, *(setting.k for setting in settings)),
            progress=cli.progress,
        )
        lists = {False: wide, True: forms.drop_rows(pool.features, wide)}
    with stages("settings"):
        raw = _measure(pool.features, pool, fprs)
        default = _measure(forms.refine_by_default(pool.features, wide), pool, fprs)
        cells = {
            setting: _measure(
                _refine(pool.features, lists[setting.drops], setting), pool, fprs
            )
            for setting in cli.progress(settings, total=len(settings), desc="settings")
        }
    grid = sections["K and t"]
    tables = [_table("TPR at FPR", fprs, [("raw", raw.tpr)], "{:.3f}")]
    for title, members in sections.items():
        gains = [(s.name(reference), cells[s].tpr - raw.tpr) for s in members]
        if title == "one option at a time":
            gains.append((_DEFAULT, default.tpr - raw.tpr))
        tables.append(_table(f"{title}: gain", fprs, gains))
    least = [
        (
            "without the dropped rows" if drops else "with all rows",
            np.min([cells[s].tpr - raw.tpr for s in grid if s.drops == drops], axis=0),
        )
        for drops in (False, True)
    ]
    summary = _table("K and t: least gain of all cells", fprs, least)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(
            hidden / "table.txt", "\n\n".join([*tables, summary]) + "\n"
        )
        _draw(raw, grid, cells, fprs).savefig(hidden / "sweep.png", dpi=150)
        report = {
            "pool": inputs.describe(pool),
            "fprs": list(fprs),
            "raw": _as_report(raw),
            "default": _as_report(default),
            "cells": [
                {"setting": setting._asdict()} | _as_report(cell)
                for setting, cell in cells.items()
            ],
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    # Of the largest grid the terminal gets the summary.
    print("\n\n".join([*tables[:-1], summary]))
    print(f"every cell is in {folder}: table.txt, sweep.png and report.json")


def _sections(reference: Setting) -> dict[str, list[Setting]]:
    """Lists the settings of each table."""
    changes: list[dict[str, Any]] = [
        {},
        {"weighting": "affinity"},
        {"graph": "fixed"},
        {"weighting": "affinity", "graph": "fixed"},
        {"include_self": False},
        {"renormalize": False},
        {"drops": True},
    ]
    return {
        "one option at a time": [reference._replace(**change) for change in changes],
        "gamma and T": _products(
            reference,
            gamma=cli.numbers("gammas", float),
            num_steps=cli.numbers("steps", int),
        ),
        "K and t": _products(
            reference,
            drops=(False, True),
            k=cli.numbers("ks", int),
            threshold=cli.numbers("thresholds", float),
        ),
    }


def _products(reference: Setting, **axes: Sequence) -> list[Setting]:
    return [
        reference._replace(**dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]


def _check(settings: Sequence[Setting], *, num_rows: int) -> None:
    for setting in settings:
        gfa.neighbors.check_k(setting.k, num_rows)
        check_params(gfa.Params(setting.gamma, setting.threshold))
        if setting.num_steps < 0:
            raise ValueError(f"--steps has {setting.num_steps}; expected 0 or more")


def _refine(
    features: np.ndarray, neighbors: gfa.Neighbors, setting: Setting
) -> np.ndarray:
    """Refines the pool by one setting, on the first K of the candidates."""
    result = gfa.aggregate(
        features,
        neighbors.first(setting.k),
        gfa.Params(setting.gamma, setting.threshold),
        num_steps=setting.num_steps,
        options=gfa.Options(
            weighting=setting.weighting,
            graph=setting.graph,
            include_self=setting.include_self,
            renormalize=setting.renormalize,
        ),
    )
    return np.asarray(result.features)


def _measure(features: np.ndarray, pool: inputs.Pool, fprs: Sequence[float]) -> Cell:
    assert pool.labels is not None  # main refuses a pool without
    # Rows that were not brought back to unit length are compared by their cosine.
    length = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.maximum(length, np.finfo(features.dtype).tiny)
    result = evaluation.measure_all_pairs(
        features, pool.labels, max_images=FLAGS.max_images
    )
    points = metrics.tpr_at_fpr(result.roc, fprs)
    return Cell(
        np.array([point.tpr for point in points]),
        np.array([point.false_accepts for point in points]),
    )


def _table(
    title: str,
    fprs: Sequence[float],
    rows: Iterable[tuple[str, np.ndarray]],
    form: str = "{:+.3f}",
) -> str:
    lines = [[title, *(f"{fpr:.0e}" for fpr in fprs)]]
    lines += [[name, *map(form.format, values)] for name, values in rows]
    return evaluation.align(lines)


def _draw(
    raw: Cell,
    grid: Sequence[Setting],
    cells: Mapping[Setting, Cell],
    fprs: Sequence[float],
) -> "Figure":
    """Draws the gain over K × t at two of the targets, a line of panels a form."""
    import matplotlib.figure

    from experiments.studies.sweep_plot import plot_sweep

    ks, thresholds = cli.numbers("ks", int), cli.numbers("thresholds", float)
    columns = sorted({0, len(fprs) // 2})
    figure = matplotlib.figure.Figure(
        figsize=(1.5 + 5.2 * len(columns), 6.0), layout="constrained"
    )
    axes = figure.subplots(2, len(columns), squeeze=False)
    for (row, drops), column in itertools.product(enumerate((False, True)), columns):
        group = [cells[setting] for setting in grid if setting.drops == drops]
        shape = (len(ks), len(thresholds))
        panel = axes[row, columns.index(column)]
        plot_sweep(
            np.reshape([c.tpr[column] - raw.tpr[column] for c in group], shape),
            raw.tpr[column],
            panel,
            k=ks,
            threshold=thresholds,
            false_accepts=np.reshape([c.false_accepts[column] for c in group], shape),
        )
        panel.set_title(
            f"{'without dropped rows' if drops else 'all rows'}: "
            f"FPR {fprs[column]:.0e}, raw {raw.tpr[column]:.3f}",
            loc="left",
            fontsize="small",
        )
    return figure


def _as_report(cell: Cell) -> dict[str, Any]:
    return {"tpr": cell.tpr.tolist(), "false_accepts": cell.false_accepts.tolist()}
