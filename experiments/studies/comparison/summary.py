"""The splits summed up: the table, and who is first, near the first and fastest."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.studies.comparison.contest import Outcome
from experiments.studies.comparison.cost import Cost
from gfa_jax.programs import evaluation

# Mean TPR within which two methods count as equally good when time decides.
CLOSE = 0.005


class Cell(NamedTuple):
    """One method at one target.

    Attributes:
        tpr: mean over the splits.
        lower: mean over the splits of the lower bootstrap bound; without a bootstrap,
            the least of the splits.
        upper: the same of the upper bound; the most of the splits.
        reliable: whether every split has ten false accepts or more.
    """

    tpr: float
    lower: float
    upper: float
    reliable: bool


def cells(splits: Sequence[Mapping[str, Outcome]]) -> dict[str, list[Cell]]:
    """Sums the splits up, a list of cells by target for each method.

    Args:
        splits: the outcomes of each split, at least one, of the same methods.

    Returns:
        name -> a Cell a target.
    """
    return {name: _cells([split[name] for split in splits]) for name in splits[0]}


def _cells(outcomes: Sequence[Outcome]) -> list[Cell]:
    row = []
    for number in range(len(outcomes[0].verification.points)):
        points = [o.verification.points[number] for o in outcomes]
        tprs = [p.tpr for p in points]
        bounds = [
            o.verification.intervals[number]
            for o in outcomes
            if o.verification.intervals is not None
        ]
        known = len(bounds) == len(tprs) and not any(
            math.isnan(b.lower) for b in bounds
        )
        row.append(
            Cell(
                statistics.fmean(tprs),
                statistics.fmean(b.lower for b in bounds) if known else min(tprs),
                statistics.fmean(b.upper for b in bounds) if known else max(tprs),
                all(p.is_reliable for p in points),
            )
        )
    return row


def verdicts(
    table: Mapping[str, Sequence[Cell]],
    costs: Mapping[str, Cost],
    fprs: Sequence[float],
    *,
    ours: str = "ours",
) -> list[dict[str, Any]]:
    """Says at each target who is first, and how ours stands to it.

    Args:
        table: of `cells`.
        costs: name -> Cost.
        fprs: the targets.
        ours: the method to judge.

    Returns:
        A target each: `first`; `ours_within_interval`, whether our mean is not below
        the interval of the first; `behind`, TPR to the first; `fastest`, of those
        within `CLOSE` of the first the one with the least seconds, search included.
    """
    said = []
    for number, fpr in enumerate(fprs):
        column = {name: row[number] for name, row in table.items()}
        first = max(column, key=lambda name: column[name].tpr)
        close = [n for n, c in column.items() if c.tpr >= column[first].tpr - CLOSE]
        said.append(
            {
                "fpr": fpr,
                "first": first,
                "ours_within_interval": column[ours].tpr >= column[first].lower,
                "behind": column[first].tpr - column[ours].tpr,
                "fastest": min(close, key=lambda n: costs[n].search + costs[n].method),
            }
        )
    return said


def render(
    table: Mapping[str, Sequence[Cell]],
    costs: Mapping[str, Cost],
    fprs: Sequence[float],
    said: Sequence[Mapping[str, Any]],
) -> str:
    """Lays the table and the verdicts out for the terminal.

    Args:
        table: of `cells`.
        costs: name -> Cost.
        fprs: the targets.
        said: of `verdicts`.

    Returns:
        Lines without the last line break.
    """
    header = ["TPR at FPR", *(f"{fpr:.0e}" for fpr in fprs)]
    rows = [[*header, "s", "s with search", "MB"]]
    for name, row in table.items():
        cost = costs[name]
        rows.append(
            [
                name,
                *(
                    f"{c.tpr:.3f}{' ' if c.reliable else '*'} "
                    f"[{c.lower:.3f}, {c.upper:.3f}]"
                    for c in row
                ),
                f"{cost.method:.3f}",
                f"{cost.search + cost.method:.3f}",
                f"{cost.peak_bytes / 2**20:.0f}",
            ]
        )
    lines = [evaluation.align(rows)]
    for verdict in said:
        standing = (
            "first"
            if verdict["first"] == "ours"
            else f"{verdict['behind']:.3f} behind, "
            f"{'within' if verdict['ours_within_interval'] else 'below'} its interval"
        )
        lines.append(
            f"at {verdict['fpr']:.0e}: first is {verdict['first']}; "
            f"ours is {standing}; "
            f"fastest within {CLOSE} of the first: {verdict['fastest']}"
        )
    return "\n".join(lines)
