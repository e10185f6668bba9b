"""The challenge's table, report and submission file.

The table has a column a reading; under it stand the figures that the paper, and
others, printed of their own networks.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from experiments.paper import challenge, grid, impostor_readings, paper, tables
from gfa_jax import datasets, metrics, plotting
from gfa_jax.programs import cli, evaluation, flags, outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
_OUTPUTS = ("submission.bin", "table.txt", "roc.png", "report.json")


def run(load: Callable[[], challenge.Task], *, folder: str) -> None:
    """Loads a task, refines, measures and writes; prints the table.

    N² D / 2 multiply-adds for an exact search, and as many for the figures of the raw
    features and of each setting. Memory: about four times the features, and 40 bytes a
    pair kept. `submission.bin` holds the first setting.
    """
    stages = cli.Stages()
    with stages("load"):
        task = load()
        # A table of the kind that the settings are read from.
        cells = paper.Table(task.table.source, (), (), {task.table.cell: ()})
        settings = grid.read_settings(cells, num_rows=len(task.pool.features))
        target = outputs.prepare_folder(folder, _OUTPUTS)
    tables.print_counts(task.counts)
    rows = []
    if task.identities is not None:
        with stages("raw features"):
            rows.append(challenge.measure(task, None, task.pool.features))
    with stages("neighbors"):
        candidates = grid.find_candidates(task.pool, settings)
    with outputs.staged(target, _OUTPUTS) as hidden:
        sweep = grid.refined(task.pool, candidates.neighbors, settings)
        for setting, features, about in sweep:
            if setting == settings[0]:
                datasets.write_features(hidden / "submission.bin", features)
            if task.identities is not None:
                with stages("refined features"):
                    row = challenge.measure(task, setting, features, before=rows[0])
                rows.append(row)
                row.report.update(about)
        text = "\n".join([render(task, rows), *grid.name_search(candidates)])
        datasets.write_text(hidden / "table.txt", text + "\n")
        if rows:
            draw(task, rows).savefig(hidden / "roc.png")
        content = report(task, rows, settings[0], candidates, stages)
        outputs.write_report(hidden, content)
    print(text)
    print(f"submission.bin, the table and report.json are in {target}")


def render(task: challenge.Task, rows: Sequence[challenge.Row]) -> str:
    """Lays out what was measured, its gain, and Tab. 5; the raw row comes first."""
    table, lines = task.table, []
    if rows:
        readings = list(rows[0].points)
        gains = "gain over the raw features"
        if FLAGS.resamples:
            gains += " [95 %, the same people for both]"
        blocks = {
            f"TPR at FPR {challenge.target(table):.0e} (false accepts)": [
                (row, [_cell(row.points[name]) for name in readings]) for row in rows
            ],
            gains: [
                (row, [str(row.gains.get(name, "unknown")) for name in readings])
                for row in rows[1:]
            ],
        }
        if FLAGS.resamples:
            title = "95 % interval, people drawn anew, conservative rule"
            blocks[title] = [
                (row, [_interval(row, name) for name in readings]) for row in rows
            ]
        lines += tables.lay_out(blocks, readings)
        lines += [
            f"{name}: an impostor pair is {impostor_readings.READINGS[name]}"
            for name in readings
        ]
        all_pairs = rows[0].report[impostor_readings.ALL_PAIRS]
        lines.append(
            evaluation.footnote(all_pairs["genuine_pairs"], all_pairs["impostor_pairs"])
        )
    else:
        lines.append("no --ground_truth: no figures of these features")
    k, threshold = table.cell
    printed = [
        [name, f"{base:.4f}", f"{after:.4f}", f"{after - base:+.4f}"]
        for name, (base, after) in table.models.items()
    ]
    head = ["network", "base", "clustered", "gain"]
    lines += [
        "",
        f"the paper, {table.source}, K={k}, t={threshold:g}, FPR {table.fpr:.0e}",
    ]
    lines.append(evaluation.align([head, *printed]))
    others = ", ".join(f"{name} {tpr:.4f}" for name, tpr in table.others.items())
    lines.append(f"published by others: {others}")
    lines += [f"odd in the paper: {oddity}" for oddity in table.oddities]
    return "\n".join(lines)


def report(
    task: challenge.Task,
    rows: Sequence[challenge.Row],
    submitted: grid.Setting,
    candidates: grid.Candidates,
    stages: cli.Stages,
) -> dict[str, Any]:
    """Collects everything that someone needs to judge or to repeat the table."""
    shared = tables.describe_run(task.pool, task.counts, task.notes, candidates, stages)
    return {
        "table": task.table.source,
        "readings": impostor_readings.READINGS,
        "submitted": submitted._asdict(),
        "rows": [
            {"setting": row.setting and row.setting._asdict(), **row.report}
            for row in rows
        ],
        "paper": task.table._asdict(),
        "calibration": candidates.report["calibration"],
        **shared,
    }


def draw(task: challenge.Task, rows: Sequence[challenge.Row]) -> "Figure":
    """Draws the ROC over all pairs, raw and of every setting, with its intervals."""
    all_pairs = impostor_readings.ALL_PAIRS
    intervals = {
        grid.label(row.setting): metrics.tpr_intervals(row.resampled[all_pairs])
        for row in rows
        if all_pairs in row.resampled
    }
    curves = {grid.label(row.setting): row.roc for row in rows}
    panel = partial(plotting.plot_roc, curves, intervals=intervals)
    return plotting.join([panel], title=f"{task.table.source}: {task.pool.name}")


def _cell(point: metrics.OperatingPoint | None) -> str:
    if point is None:
        return "unknown"
    star = " " if point.is_reliable else "*"
    return f"{point.tpr:.4f} ({point.false_accepts:,}){star}"


def _interval(row: challenge.Row, reading: str) -> str:
    if reading not in row.resampled:
        return "unknown"
    (interval,) = metrics.tpr_intervals(row.resampled[reading])
    return f"{interval.lower:.4f}-{interval.upper:.4f}"
