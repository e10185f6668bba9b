"""Searches of a gallery, raw and refined: the sweep, the table and the report.

What is refined is one pool, queries and gallery together: a refined query is near what
the gallery showed it. The aggregation sees neither identities nor cameras.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.paper import grid, paper, protocols, tables
from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, flags, inputs, outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
_OUTPUTS = ("table.txt", "cmc.png", "report.json")
# The flags of `grid` that mean something here.
GRID_FLAGS = (
    "preset",
    "k",
    "threshold",
    "gamma",
    "num_steps",
    "include_self",
    "renormalize",
    "neighbors",
    "edge_recall",
    "resamples",
)
# The paper searches no gallery; K and t are those of its largest sets (§4.5).
_TABLE = paper.Table("not in the paper", (), (), {(15, 0.55): ()})


class Task(NamedTuple):
    """What is searched by whom."""

    pool: inputs.Pool  # all rows that are refined together
    queries: np.ndarray  # [Q] row of the pool of each query
    gallery: np.ndarray  # [G] row of the pool of each image of the gallery
    identities: np.ndarray  # [N] integers or strings, of the rows of the pool
    # [N] likewise: a match must come from another camera. Or None.
    cameras: np.ndarray | None = None
    # [Q] position in the gallery of each query itself, or None.
    own_rows: np.ndarray | None = None
    # What the protocol holds beside what was published.
    counts: tuple[protocols.Count, ...] = ()
    notes: dict[str, Any] | None = None  # what else the report says


class Row(NamedTuple):
    """The figures of one setting."""

    setting: grid.Setting | None  # None for the raw features
    values: np.ndarray  # mAP, then the CMC at each of `metrics.DEFAULT_RANKS`
    bounds: np.ndarray | None  # [1 + R, 2] their intervals, or None
    # [1 + R, 2] intervals of what they gained over the raw features, or None.
    gains: np.ndarray | None
    rankings: metrics.Rankings  # where every query finds its matches
    report: dict[str, Any]  # what the report stores


def run(load: Callable[[], Task], *, folder: str) -> None:
    """Loads a task, sweeps its grid and writes the results; prints the table.

    One search, then a refinement and Q G D multiply-adds a setting.
    """
    stages = cli.Stages()
    with stages("load"):
        task = load()
        settings = grid.read_settings(_TABLE, num_rows=len(task.pool.features))
        target = outputs.prepare_folder(folder, _OUTPUTS)
    tables.print_counts(task.counts)
    # The raw features first: identities without a match are refused before any search.
    with stages("raw features"):
        rows = [measure(task, None, task.pool.features)]
    with stages("neighbors"):
        candidates = grid.find_candidates(task.pool, settings)
    with stages("grid"):
        sweep = grid.refined(task.pool, candidates.neighbors, settings)
        for setting, features, about in sweep:
            rows.append(measure(task, setting, features, before=rows[0].rankings))
            rows[-1].report.update(about)
    text = "\n".join([render(task, rows), *grid.name_search(candidates)])
    with outputs.staged(target, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "table.txt", text + "\n")
        draw(task, rows).savefig(hidden / "cmc.png", dpi=150)
        content = report(task, rows, candidates, stages)
        outputs.write_report(hidden, content)
    print(text)
    print(f"the table, cmc.png and report.json are in {target}")


def measure(
    task: Task,
    setting: grid.Setting | None,
    features: np.ndarray,
    *,
    before: metrics.Rankings | None = None,
) -> Row:
    """Ranks the gallery by [N, D] unit rows; `before`, by the raw ones, bounds gain."""
    cameras: dict[str, Any] = {}
    if task.cameras is not None:
        cameras = {
            "query_cameras": task.cameras[task.queries],
            "gallery_cameras": task.cameras[task.gallery],
        }
    identities = task.identities[task.queries]
    rankings = metrics.rank_gallery(
        features[task.queries],
        features[task.gallery],
        identities,
        task.identities[task.gallery],
        own_rows=task.own_rows,
        progress=cli.progress,
        **cameras,
    )
    mean, shares = metrics.mean_average_precision(rankings), metrics.cmc(rankings)
    figures: dict[str, Any] = {
        "mean_average_precision": mean,
        "map_at_10": metrics.mean_average_precision(rankings, k=10),
        "map_at_r": metrics.map_at_r(rankings),
        "cmc": dict(zip(map(str, metrics.DEFAULT_RANKS), shares, strict=True)),
        "queries": len(task.queries),
        "queries_with_a_match": int(rankings.counted.sum()),
    }
    draws = {"num_resamples": FLAGS.resamples, "seed": FLAGS.seed}
    bounds = gains = None
    if FLAGS.resamples:
        bounds = metrics.bootstrap_rankings(rankings, identities, **draws)
        figures["interval"] = bounds
    if FLAGS.resamples and before is not None:
        gains = metrics.bootstrap_rankings(rankings, identities, before=before, **draws)
        figures["gain_interval"] = gains
    values = np.array([mean, *shares])
    return Row(setting, values, bounds, gains, rankings, figures)


def render(task: Task, rows: Sequence[Row]) -> str:
    """Lays out what was measured, its gain and its intervals; first the raw row."""
    raw = rows[0]
    blocks = {
        "measured": [(row, [f"{value:.4f}" for value in row.values]) for row in rows],
        "gain over the raw features": [
            (row, [f"{gain:+.4f}" for gain in row.values - raw.values])
            for row in rows[1:]
        ],
    }
    if raw.bounds is not None:
        blocks["95 % interval, identities of the queries drawn anew"] = [
            (row, [f"{low:.4f}-{high:.4f}" for low, high in row.bounds])
            for row in rows
            if row.bounds is not None
        ]
        blocks["95 % interval of the gain, the same identities for both"] = [
            (row, [f"{low:+.4f}..{high:+.4f}" for low, high in row.gains])
            for row in rows
            if row.gains is not None
        ]
    head = ["mAP", *(f"CMC@{rank}" for rank in metrics.DEFAULT_RANKS)]
    lines = tables.lay_out(blocks, head)
    counted = raw.report["queries_with_a_match"]
    lines.append(
        f"{counted:,} of {len(task.queries):,} queries have a match among "
        f"{len(task.gallery):,} rows; pool refined together: {task.pool.name}"
    )
    return "\n".join(lines)


def report(
    task: Task, rows: Sequence[Row], candidates: grid.Candidates, stages: cli.Stages
) -> dict[str, Any]:
    """Collects everything that someone needs to judge or to repeat the table."""
    own = "elsewhere" if task.own_rows is None else "left out"
    return {
        "table": _TABLE.source,
        "rules": {
            "ties": "a match stands behind every non-match of its score",
            "average_precision": "sum of precision at each match / matches",
            "map_at_10": "the same up to rank 10 / min(matches, 10)",
            "map_at_r": "the same up to rank R / R, R the matches of the query",
            "same_identity_and_camera": "kept" if task.cameras is None else "left out",
            "the_query_itself": own,
            "queries_without_a_match": "skipped",
        },
        "rows": [
            {"setting": row.setting and row.setting._asdict(), **row.report}
            for row in rows
        ],
        **tables.describe_run(task.pool, task.counts, task.notes, candidates, stages),
    }


def draw(task: Task, rows: Sequence[Row]) -> "Figure":
    """Draws the CMC of the raw features and of every setting, with its intervals."""
    from experiments.paper.cmc_plot import CMC_RANKS, plot_cmc

    identities = task.identities[task.queries]
    curves, intervals = {}, {}
    for row in rows:
        name = grid.label(row.setting)
        curves[name] = metrics.cmc(row.rankings, CMC_RANKS)
        if FLAGS.resamples:
            intervals[name] = metrics.bootstrap_rankings(
                row.rankings,
                identities,
                CMC_RANKS,
                num_resamples=FLAGS.resamples,
                seed=FLAGS.seed,
            )[1:]
    return plot_cmc(curves, CMC_RANKS, intervals=intervals)
