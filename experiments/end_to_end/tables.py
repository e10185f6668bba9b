"""The study as a person reads it: a table over the seeds, gains and a figure.

A figure is the mean over the seeds and, behind ±, their sample standard deviation. A
gain is the mean of the differences within a seed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.end_to_end.study import NAMES, Row
from gfa_jax.programs import evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {
    "alone": "trained alone",
    "after": "trained alone, aggregated after",
    "encoder": "end to end, not aggregated",
    "chosen": "end to end, t, γ, T chosen",
    "joint": "end to end, as learnt",
}


def tprs(rows: Sequence[Row], name: str) -> np.ndarray:
    """Collects the TPRs of one way to features: [seeds, FPRs], in the order of rows."""
    return np.array([[p.tpr for p in row.points] for row in rows if row.name == name])


def render(rows: Sequence[Row]) -> str:
    """Lays the table and the gains out for the terminal."""
    fprs = [point.fpr_target for point in rows[0].points]
    lines = [["TPR at FPR", *(f"{fpr:g}" for fpr in fprs), "seconds"]]
    for name in NAMES:
        of_name = [row for row in rows if row.name == name]
        cells = []
        for column in range(len(fprs)):
            few = any(not row.points[column].is_reliable for row in of_name)
            cells.append(_mean(tprs(rows, name)[:, column]) + ("*" if few else " "))
        seconds = np.mean([row.seconds for row in of_name])
        lines.append([_TITLES[name], *cells, f"{seconds:.1f}"])
    note = evaluation.footnote(rows[0].genuine_pairs, rows[0].impostor_pairs)
    gained = [
        f"{what} gains {', '.join(cells)} at FPR {', '.join(f'{f:g}' for f in fprs)}"
        for what, cells in (
            ("aggregating afterwards", _gains(rows, "after", "alone")),
            ("training end to end, beyond that,", _gains(rows, "joint", "after")),
            ("the same with t, γ, T chosen alike,", _gains(rows, "chosen", "after")),
        )
    ]
    return "\n".join([evaluation.align(lines), note, *gained])


def as_report(row: Row) -> dict[str, Any]:
    """Turns a row into what the report stores."""
    points = [point._asdict() | {"reliable": point.is_reliable} for point in row.points]
    params = None if row.params is None else row.params._asdict()
    return row._asdict() | {"points": points, "params": params}


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Sums the seeds up for the report."""
    return [
        {
            "name": name,
            "fpr": point.fpr_target,
            "mean": float(tprs(rows, name)[:, column].mean()),
            "spread": _spread(tprs(rows, name)[:, column]),
        }
        for name in NAMES
        for column, point in enumerate(rows[0].points)
    ]


def draw(rows: Sequence[Row]) -> "Figure":
    """Draws every way to features, one a line."""
    from experiments.studies.comparison_plot import plot_comparison

    names = [f"TPR at FPR {point.fpr_target:g}" for point in rows[0].points]
    found = {_TITLES[name]: tprs(rows, name) for name in NAMES}
    # The lines rise to the right: the corner under them is free.
    return plot_comparison(found, names)


def _gains(rows: Sequence[Row], name: str, beside: str) -> list[str]:
    gains = tprs(rows, name) - tprs(rows, beside)
    return [_mean(column, sign="+") for column in gains.T]


def _mean(values: np.ndarray, sign: str = "") -> str:
    mean = f"{values.mean():{sign}.4f}"
    return mean if len(values) == 1 else f"{mean} ±{_spread(values):.4f}"


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
