"""Learnt settings beside a grid search and beside suggested ones, over several splits.

Each way chooses on one half of the identities and is reported on the other: the TPR
over all its pairs, with the bootstrap interval by identity, and the seconds that the
choice took. The grid chooses by the TPR itself and, in a second row, by the mean around
its FPR as the learning does; "chosen" is that mean for all. Two more rows take the
learning apart: the starts alone, and gradients from the defaults alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import metrics
from gfa_jax.programs import evaluation, halves, tuning_methods, tuning_problem
from gfa_jax.programs.tuning_methods import Chosen, Learning
from gfa_jax.tuning import TuneResult

RAW, SUGGESTED, GRID, STEADY = "raw", "suggested", "grid", "grid by mean"
STARTS, GRADIENT, LEARNT = "starts only", "gradient only", "learnt"
WAYS = (RAW, SUGGESTED, GRID, STEADY, STARTS, GRADIENT, LEARNT)


class Row(NamedTuple):
    """A way on one split.

    Attributes:
        seed: of the split.
        way: one of `WAYS`.
        chosen: what it chose; None for the raw features.
        point: the operating point on the other half.
        interval: its bootstrap bounds, or None.
    """

    seed: int
    way: str
    chosen: Chosen | None
    point: metrics.OperatingPoint
    interval: metrics.TprInterval | None


def compare(
    split: tuning_problem.Split,
    *,
    seed: int,
    cells: Sequence[gfa.Params],
    how: Learning,
    options: dict[str, Any],
    num_resamples: int,
) -> tuple[list[Row], TuneResult]:
    """Chooses on one half in every way and reports on the other.

    Args:
        split: the halves.
        seed: of the split.
        cells: of the grid.
        how: of `tune`; its T is that of the grid, too.
        options: of `gfa_jax.aggregate`: weighting and graph.
        num_resamples: bootstrap draws; 0 for no intervals.

    Returns:
        A row a way, in the order of `WAYS`; the result of the learning.
    """
    problem, num_steps = split.learning, how.objective.num_updates
    # From where `refine` starts where nothing is said.
    default = gfa.Params(0.5, 0.55, how.starts[0].temperature)
    learnt, result = tuning_methods.by_learning(problem, how)
    grid, steady = tuning_methods.by_grid(
        problem, cells, num_steps=num_steps, options=options
    )
    chosen: dict[str, Chosen | None] = {
        RAW: None,
        SUGGESTED: tuning_methods.by_suggestion(problem, seed=seed, options=options),
        GRID: grid,
        STEADY: steady,
        STARTS: tuning_methods.by_learning(problem, how._replace(num_steps=0))[0],
        GRADIENT: tuning_methods.by_learning(problem, how._replace(starts=(default,)))[
            0
        ],
        LEARNT: learnt,
    }
    rows = [
        _report(
            split,
            seed,
            way,
            chosen[way],
            options=options,
            num_resamples=num_resamples,
        )
        for way in WAYS
    ]
    return rows, result


def table(rows: Sequence[Row]) -> str:
    """Lays out every split, then the means over them.

    Args:
        rows: of `compare`, split after split.

    Returns:
        Lines for a terminal.
    """
    header = ["split", "way", "K", "T", "t", "gamma", "exponent"]
    header += ["chosen", "reported", "interval", "looks", "s", "first s"]
    lines = [header, *map(_cells, rows)]
    means = [["mean", "way", "chosen", "reported", "- grid", "s", "of grid's s"]]
    for way in WAYS:
        mine = [row for row in rows if row.way == way]
        means.append([f"{len(mine)} splits", way, *_mean_cells(mine, rows)])
    return evaluation.align(lines) + "\n\n" + evaluation.align(means)


def as_report(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Turns rows into what the report stores."""
    return [
        {
            "split": row.seed,
            "way": row.way,
            "chosen": None if row.chosen is None else row.chosen._asdict(),
            "tpr": row.point.tpr,
            "false_accepts": row.point.false_accepts,
            "interval": row.interval and [row.interval.lower, row.interval.upper],
        }
        for row in rows
    ]


def courses(rows: Sequence[Row]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns, of the ways that look, when each look ended and its score."""
    looked = {row.way: row.chosen.looks for row in rows if row.chosen is not None}
    # The last look of a learning is at the soft mask, which is not what is kept.
    looked = {
        GRID: looked[GRID],
        GRADIENT: looked[GRADIENT][:-1],
        LEARNT: looked[LEARNT][:-1],
    }
    return {
        way: (np.array([at for at, _ in looks]), np.array([tpr for _, tpr in looks]))
        for way, looks in looked.items()
    }


def _report(
    split: tuning_problem.Split,
    seed: int,
    way: str,
    chosen: Chosen | None,
    *,
    options: dict[str, Any],
    num_resamples: int,
) -> Row:
    """Measures a choice on the other half."""
    features = split.reported.features
    if chosen is not None:
        features = tuning_methods.refine_reported(
            split, chosen.params, k=chosen.k, num_steps=chosen.num_steps, **options
        )
    verification = halves.verify(
        features,
        split.reported,
        (split.learning.fpr,),
        num_resamples=num_resamples,
        seed=seed,
        max_images=split.learning.max_images,
    )
    interval = None if verification.intervals is None else verification.intervals[0]
    return Row(seed, way, chosen, verification.points[0], interval)


def _cells(row: Row) -> list[str]:
    """Lays out one row."""
    cells = [str(row.seed), row.way]
    chosen = row.chosen
    if chosen is None:
        cells += [""] * 6
    else:
        params = chosen.params
        cells += [str(chosen.k), str(chosen.num_steps)]
        cells += map(numbers, (params.threshold, params.gamma, params.exponent))
        cells.append("" if chosen.score is None else f"{chosen.score:.4f}")
    star = "" if row.point.is_reliable else "*"
    cells.append(f"{row.point.tpr:.4f}{star}")
    bounds = row.interval
    cells.append("" if bounds is None else f"[{bounds.lower:.3f}, {bounds.upper:.3f}]")
    if chosen is None:
        return [*cells, "", "", ""]
    return [
        *cells,
        str(len(chosen.looks)),
        f"{chosen.seconds:.2f}",
        f"{chosen.compile_seconds:.2f}",
    ]


def numbers(value: Any) -> str:
    """Writes a number, or those of all steps."""
    return "/".join(f"{number:.3g}" for number in np.ravel(np.asarray(value, float)))


def _mean_cells(mine: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """Lays out the means of one way."""
    grid = {row.seed: row for row in rows if row.way == GRID}
    reported = np.mean([row.point.tpr for row in mine])
    more = reported - np.mean([grid[row.seed].point.tpr for row in mine])
    chosen = [row.chosen for row in mine if row.chosen is not None]
    scores = [choice.score for choice in chosen if choice.score is not None]
    cells = [
        f"{np.mean(scores):.4f}" if scores else "",
        f"{reported:.4f}",
        f"{more:+.4f}",
    ]
    if not chosen:
        return [*cells, "", ""]
    seconds = np.mean([choice.seconds for choice in chosen])
    of_grid = np.mean([c.seconds for row in grid.values() if (c := row.chosen)])
    return [*cells, f"{seconds:.2f}", f"{seconds / of_grid:.3f}"]
