"""A swept grid as a person reads it: the table, the figure and the report.

The table has the paper's shape, a row a setting and a column an FPR, in blocks: what
was measured, its gain over the raw features, what the paper prints, the difference,
and the bootstrap interval.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.paper import grid, paper, protocols
from gfa_jax import datasets, metrics, plotting
from gfa_jax.programs import cli, evaluation, flags, inputs, outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
_OUTPUTS = ("table.txt", "failures.csv", "roc.png", "report.json")


def run(
    load: Callable[[], grid.Task],
    *,
    folder: str,
    extra: Callable[..., Mapping[str, str]] | None = None,
) -> None:
    """Loads a protocol, sweeps its grid and writes the results; prints the table.

    `extra` is called with the task, the candidates
    and the rows of the grid, and gives further text files of the folder, by name.
    """
    stages = cli.Stages()
    with stages("load"):
        task = load()
        settings = grid.read_settings(task.table, num_rows=len(task.pool.features))
        target = outputs.prepare_folder(folder, _OUTPUTS)
    print_counts(task.counts)
    with stages("neighbors"):
        candidates = grid.find_candidates(task.pool, settings)
    with stages("grid"):
        rows = grid.sweep(task, candidates.neighbors, settings)
        files = {} if extra is None else extra(task, candidates.neighbors, rows)
    text = "\n".join([render(task, rows), *grid.name_search(candidates)])
    with outputs.staged(target, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "table.txt", text + "\n")
        for name, content in files.items():
            datasets.write_text(hidden / name, content)
        draw(task, rows).savefig(hidden / "roc.png")
        outputs.write_report(hidden, report(task, rows, candidates, stages))
    print(text)
    print(f"the table, roc.png and report.json are in {target}")


def print_counts(counts: Sequence[protocols.Count]) -> None:
    """Prints what the protocol holds, and warns of what was not to be expected."""
    print("; ".join(str(count) for count in counts))
    for count in protocols.mismatches(counts):
        cli.warn(f"{count}; figures of other pairs do not compare")


def render(task: grid.Task, rows: Sequence[grid.Row]) -> str:
    """Lays the blocks of the table out; the raw row comes first."""
    table, raw = task.table, rows[0]
    in_paper = [row for row in rows if _paper(table, row)]
    blocks = {"TPR at FPR (false accepts)": [(row, _measured(row)) for row in rows]}
    title = "gain over the raw features"
    if in_paper:
        title += " (the paper's gain over its own)"
    blocks[title] = [(row, _gains(table, row, raw)) for row in rows[1:]]
    if in_paper:
        blocks[f"the paper, {table.source}"] = [
            (row, [f"{tpr:.4f}" for tpr in _paper(table, row)]) for row in in_paper
        ]
        blocks["measured - the paper"] = [
            (row, _signed(_tprs(row) - _paper(table, row))) for row in in_paper
        ]
    if raw.verification.intervals is not None:
        blocks["95 % interval, identities drawn anew, conservative rule"] = [
            (row, _intervals(row.verification.intervals or ())) for row in rows
        ]
        blocks["95 % interval of the gain, the same identities for both"] = [
            (row, [f"{g.lower:+.4f}..{g.upper:+.4f}" for g in row.gains])
            for row in rows[1:]
        ]
    head = [*(f"{fpr:.0e}" for fpr in table.fprs), "AUC", "accuracy"]
    lines = lay_out(blocks, head)
    pairs = raw.figures
    lines.append(evaluation.footnote(pairs["genuine_pairs"], pairs["impostor_pairs"]))
    lines += [f"odd in the paper: {oddity}" for oddity in table.oddities]
    return "\n".join(lines)


def lay_out(
    blocks: Mapping[str, Sequence[tuple[Any, list[str]]]], head: Sequence[str]
) -> list[str]:
    """Lays out blocks of rows with a setting, each under its title and the head."""
    lines = []
    for title, cells in blocks.items():
        named = [[*grid.name_setting(row.setting), *values] for row, values in cells]
        names = ["preset", "K", "t", *head][: len(named[0])]
        lines += [title, evaluation.align([names, *named]), ""]
    return lines


def report(
    task: grid.Task,
    rows: Sequence[grid.Row],
    candidates: grid.Candidates,
    stages: cli.Stages,
) -> dict[str, Any]:
    """Collects everything that someone needs to judge or to repeat the table."""
    entries = [
        {
            "setting": row.setting and row.setting._asdict(),
            "paper": list(_paper(task.table, row)) or None,
            **row.figures,
        }
        for row in rows
    ]
    return {
        "table": task.table.source,
        "rows": entries,
        "oddities": list(task.table.oddities),
        **describe_run(task.pool, task.counts, task.notes, candidates, stages),
    }


def describe_run(
    pool: inputs.Pool,
    counts: Sequence[protocols.Count],
    notes: Mapping[str, Any] | None,
    candidates: grid.Candidates,
    stages: cli.Stages,
) -> dict[str, Any]:
    """Says what every report of a grid says: the choices, the pool, the machine."""
    return {
        "open_points": {p: grid.open_points(p) for p in FLAGS.preset},
        "search": candidates.report,
        "notes": notes or {},
        "pool": inputs.describe(pool) | {"identities_known": pool.labels is not None},
        "counts": [count._asdict() for count in counts],
        "seconds": stages.seconds,
    }


def draw(task: grid.Task, rows: Sequence[grid.Row]) -> "Figure":
    """Draws the curves as the paper does: K varied at the first t, t at the first K.

    Two panels a preset, one where K or t is not varied.
    """
    raw, *others = rows
    by_preset: dict[str, list[tuple[grid.Setting, grid.Row]]] = {}
    for row in others:
        assert row.setting is not None  # only the raw row has none
        by_preset.setdefault(row.setting.preset, []).append((row.setting, row))
    panels = []
    for preset, cells in by_preset.items():
        first = cells[0][0]
        drawn = []
        for fixed, varied in (("threshold", "K"), ("k", "t")):
            curves = {"raw": raw.verification.roc} | {
                f"K={setting.k}, t={setting.threshold:g}": row.verification.roc
                for setting, row in cells
                if getattr(setting, fixed) == getattr(first, fixed)
            }
            drawn.append((f"ROC, preset {preset}: {varied} varied", curves))
        # A panel of one setting says nothing that the other does not.
        drawn = [each for each in drawn if len(each[1]) > 2] or drawn[:1]
        panels += [partial(plotting.plot_roc, curves, title=t) for t, curves in drawn]
    return plotting.join(panels, title=f"{task.table.source}: {task.pool.name}")


def _measured(row: grid.Row) -> list[str]:
    cells = [
        f"{point.tpr:.4f} ({point.false_accepts:,}){' ' if point.is_reliable else '*'}"
        for point in row.verification.points
    ]
    cells.append(f"{row.figures['auc']:.4f}")
    if row.accuracies is not None:
        cells.append(_mean_and_error(row.accuracies))
    return cells


def _gains(table: paper.Table, row: grid.Row, raw: grid.Row) -> list[str]:
    gains = _signed(np.array([each.gain for each in row.gains]))
    if _paper(table, row):
        printed = _signed(np.subtract(_paper(table, row), table.raw))
        gains = [f"{gain} ({p})" for gain, p in zip(gains, printed, strict=True)]
    gains.append(f"{row.figures['auc'] - raw.figures['auc']:+.4f}")
    if row.accuracies is not None and raw.accuracies is not None:
        gains.append(_mean_and_error(row.accuracies - raw.accuracies, sign="+"))
    return gains


def _mean_and_error(accuracies: np.ndarray, *, sign: str = "") -> str:
    """Says the mean over the folds and its standard error, as LFW's figures are."""
    error = accuracies.std(ddof=1) / np.sqrt(len(accuracies))
    return f"{accuracies.mean():{sign}.4f} ±{error:.4f}"


def _intervals(intervals: Sequence[metrics.TprInterval]) -> list[str]:
    return [f"{each.lower:.4f}-{each.upper:.4f}" for each in intervals]


def _tprs(row: grid.Row) -> np.ndarray:
    return np.array([point.tpr for point in row.verification.points])


def _signed(values: np.ndarray) -> list[str]:
    return [f"{value:+.4f}" for value in values]


def _paper(table: paper.Table, row: grid.Row) -> tuple[float, ...]:
    """Returns the paper's TPRs of a row, or nothing."""
    if row.setting is None:
        return table.raw
    return table.cells.get((row.setting.k, row.setting.threshold), ())
