"""What the splits and the sets amount to: tables, and who is near the first.

An outcome is what `contest.compete` returns of one split; a method has a list of them
on each set. A cell is a set at a target, and its figures are means over the splits.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.studies.evidence import markdown
from gfa_jax.metrics.bootstrap import BOUNDS

Outcomes = Mapping[str, Sequence[Mapping[str, Any]]]  # by method, a list of splits

CLOSE = 0.005  # mean TPR within which two methods count as equally good
DEFAULT = "default"


class Cell(NamedTuple):
    """One method on one set at one target.

    The bounds are those of the bootstrap, or the least and the most of the splits
    where there is none.
    """

    tpr: float
    lower: float
    upper: float
    reliable: bool  # whether every split has ten false accepts or more

    def __str__(self) -> str:
        """Says the figure with its interval, and a star where it is not reliable."""
        star = "" if self.reliable else "*"
        return f"{short(self.tpr)}{star} [{short(self.lower)}, {short(self.upper)}]"


def short(value: float) -> str:
    """Writes a figure to three places, ".123"."""
    return f"{value:.3f}".replace("0.", ".")


def cells(outcomes: Outcomes) -> dict[str, list[Cell]]:
    """Sums the splits of a set up: name -> a Cell a target."""
    return {name: _cells(splits) for name, splits in outcomes.items()}


def _cells(splits: Sequence[Mapping[str, Any]]) -> list[Cell]:
    row = []
    for number in range(len(splits[0]["tpr"])):
        tprs, lower, upper = (
            [each.get(key, each["tpr"])[number] for each in splits]
            for key in ("tpr", "lower", "upper")
        )
        bounds = min(tprs), max(tprs)
        if all("lower" in each for each in splits) and None not in lower + upper:
            bounds = statistics.fmean(lower), statistics.fmean(upper)
        reliable = all(each["reliable"][number] for each in splits)
        row.append(Cell(statistics.fmean(tprs), *bounds, reliable))
    return row


def seconds(splits: Sequence[Mapping[str, Any]]) -> float:
    """Averages the seconds of a method, search included."""
    return statistics.fmean(each["search"] + each["run"] for each in splits)


def gain(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], number: int
) -> tuple[float, float, float]:
    """Says what a method gains over another at a target, with its interval.

    The interval is that of the difference on the same draws; nan without draws.
    """
    mean, bounds = [], []
    for old, new in zip(before, after, strict=True):
        mean.append(new["tpr"][number] - old["tpr"][number])
        draws = [
            np.array(each.get("draws") or [[None] * len(each["tpr"])], float)
            for each in (old, new)
        ]
        bounds.append(np.quantile((draws[1] - draws[0])[:, number], BOUNDS))
    return float(np.mean(mean)), *np.mean(bounds, axis=0).tolist()


def verdicts(outcomes: Outcomes, fprs: Sequence[float]) -> list[dict[str, Any]]:
    """Says at each target of a set who is first, and how the default stands to it.

    Returns:
        A target each: `first`; `within`, the methods whose mean is not below the
        interval of the first; `behind`, TPR from the default to the first; `fastest`,
        of those within `CLOSE` of the first the one with the least seconds.
    """
    table, said = cells(outcomes), []
    for number, fpr in enumerate(fprs):
        column = {name: row[number] for name, row in table.items()}
        first = max(column, key=lambda name: column[name].tpr)
        close = [n for n, c in column.items() if c.tpr >= column[first].tpr - CLOSE]
        said.append(
            {
                "fpr": fpr,
                "first": first,
                "within": [
                    n for n, c in column.items() if c.tpr >= column[first].lower
                ],
                "behind": column[first].tpr - column[DEFAULT].tpr,
                "fastest": min(close, key=lambda name: seconds(outcomes[name])),
            }
        )
    return said


def render_set(outcomes: Outcomes, fprs: Sequence[float]) -> str:
    """Lays out one set: its cells, the seconds and the verdicts."""
    table = cells(outcomes)
    head = ["method", *(f"{fpr:.0e}" for fpr in fprs), "s"]
    lines = [
        [name, *map(str, row), f"{seconds(outcomes[name]):.2f}"]
        for name, row in table.items()
    ]
    text = [markdown(" | ".join(head), lines), ""]
    for said in verdicts(outcomes, fprs):
        standing = f"{said['behind']:.3f} behind, " + (
            "within" if DEFAULT in said["within"] else "below"
        )
        text.append(
            f"at {said['fpr']:.0e}: first is {said['first']}; the default is "
            f"{standing} its interval; fastest within {CLOSE} of the first: "
            f"{said['fastest']}"
        )
    return "\n".join(text)


def render_all(sets: Mapping[str, Outcomes], fprs: Sequence[float]) -> dict[str, str]:
    """Lays out many sets: the methods, each set at each target, and who wins where."""
    tables = {name: cells(outcomes) for name, outcomes in sets.items()}
    said = {name: verdicts(outcomes, fprs) for name, outcomes in sets.items()}
    names = list(dict.fromkeys(name for each in sets.values() for name in each))
    targets = [f"{fpr:.0e}" for fpr in fprs]
    lines = [_sum_up(name, sets, tables, said) for name in names]
    head = ["method", "sets", *targets, "first", "within", "over the default"]
    head += ["under raw", "mAP, CMC@1", "s"]
    found = {"methods": markdown(" | ".join(head), lines)}
    for number, target in enumerate(targets):
        rows = []
        for name in names:
            row = [name]
            for set_name, table in tables.items():
                if name not in table:
                    row.append("")
                    continue
                cell, verdict = table[name][number], said[set_name][number]
                text = short(cell.tpr)
                if name == verdict["first"]:
                    text = f"**{text}**"
                text += "" if cell.reliable else "\\*"
                row.append(text + ("†" if name in verdict["within"] else ""))
            rows.append(row)
        found[target] = markdown(" | ".join(["method", *tables]), rows)
    wins = []
    for set_name, outcomes in sets.items():
        for number, target in enumerate(targets):
            for name, splits in outcomes.items():
                mean, low, high = gain(outcomes[DEFAULT], splits, number)
                if low > 0 and mean > CLOSE:
                    tpr = short(tables[set_name][DEFAULT][number].tpr)
                    text = f"+{short(mean)} [{low:+.3f}, {high:+.3f}]"
                    wins.append([set_name, target, tpr, name, text])
    head = "set | FPR | default | method | gain over the default"
    return found | {"over the default": markdown(head, wins)}


def _sum_up(
    name: str,
    sets: Mapping[str, Outcomes],
    tables: Mapping[str, Mapping[str, Sequence[Cell]]],
    said: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Makes the line of a method over the sets that it ran on."""
    own = [each for each in sets if name in sets[each]]
    means = np.mean([[c.tpr for c in tables[each][name]] for each in own], axis=0)
    first = within = over = under = 0
    for each in own:
        for number, verdict in enumerate(said[each]):
            first += verdict["first"] == name
            within += name in verdict["within"]
            cell, raw = tables[each][name][number], tables[each]["raw"][number]
            under += cell.tpr < raw.tpr - CLOSE
            mean, low, _ = gain(sets[each][DEFAULT], sets[each][name], number)
            over += low > 0 and mean > CLOSE
    count = len(own) * len(means)
    searched = [s for each in own for s in sets[each][name] if "map" in s]
    figures = ""
    if searched:
        figures = " ".join(
            short(statistics.fmean(s[key] for s in searched)) for key in ("map", "cmc1")
        )
    time = np.exp(np.mean([np.log(seconds(sets[each][name])) for each in own]))
    counts = [f"{number} of {count}" for number in (first, within, over, under)]
    return [name, str(len(own)), *map(short, means), *counts, figures, f"{time:.2f}"]
