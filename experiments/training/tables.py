"""The study as a person reads it: a table over the seeds, and what the report stores.

    gain = (TPR_name − TPR_lower) / (TPR_upper − TPR_lower),    of each seed

The spread is the sample standard deviation over the seeds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.training.study import NAMES, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {
    "lower": "lower bound: labels alone",
    "raw": "clusters of raw features",
    "ours": "clusters of refined features",
    "upper": "upper bound: all labels",
}


def tprs(rows: Sequence[Row], name: str, share: float | None) -> np.ndarray:
    """Collects the TPRs of one network: [seeds, FPRs], by ascending seed."""
    found = [r for r in rows if r.name == name and r.share in (share, None)]
    found.sort(key=lambda row: row.seed)
    return np.array([[point.tpr for point in row.points] for row in found])


def gains(rows: Sequence[Row], name: str, share: float) -> np.ndarray:
    """Evaluates the module's equation: [seeds, FPRs]; NaN where upper is not above.

    1 on the upper bound, 0 on the lower one.
    """
    lower, upper = tprs(rows, "lower", share), tprs(rows, "upper", share)
    way = upper - lower
    return np.where(
        way > 0, (tprs(rows, name, share) - lower) / np.where(way > 0, way, 1), np.nan
    )


def shares_of(rows: Sequence[Row]) -> list[float]:
    """Returns the shares of a study, ascending."""
    return sorted({row.share for row in rows if row.share is not None})


def render(rows: Sequence[Row]) -> str:
    """Lays the means and spreads over the seeds out.

    Args:
        rows: of a study.

    Returns:
        Lines without the last line break.
    """
    # The flags that come with this import are not those of semi_supervised.
    from gfa_jax.programs import evaluation

    fprs = [point.fpr_target for point in rows[0].points]
    head = ["labelled", "training"]
    head += [f"{fpr:.0e}" for fpr in fprs] + [f"gain {fpr:.0e}" for fpr in fprs]
    lines = [[*head, "precision", "recall"]]
    starred = _starred(rows)
    for share in shares_of(rows):
        for name in NAMES:
            cells = [
                f"{_mean(column)}{star}"
                for column, star in zip(
                    tprs(rows, name, share).T, starred[name], strict=True
                )
            ]
            gain = ["-"] * len(fprs)
            if name in ("raw", "ours"):
                gain = [
                    _mean(column, digits=2) for column in gains(rows, name, share).T
                ]
            found = [
                row.pseudo_labels
                for row in rows
                if row.name == name and row.share == share and row.pseudo_labels
            ]
            quality = [
                _mean(np.array([entry[key] for entry in found]), digits=3)
                if found
                else "-"
                for key in ("precision", "recall")
            ]
            lines.append([f"{share:.0%}", name, *cells, *gain, *quality])
    seeds = sorted({row.seed for row in rows})
    note = "TPR at FPR" + (
        f", mean ± spread over {len(seeds)} seeds" if len(seeds) > 1 else ", one seed"
    )
    note += "; gain: of the way from lower to upper; pairwise precision and recall of "
    note += "the pseudo-labels\n"
    return (
        evaluation.align(lines)
        + "\n"
        + note
        + evaluation.footnote(rows[0].genuine_pairs, rows[0].impostor_pairs)
    )


def as_report(row: Row) -> dict[str, Any]:
    """Turns a row into what the report stores."""
    setting = None
    if row.setting is not None:
        setting = row.setting._asdict()
        setting["scores"] = row.setting.scores._asdict() | {
            "f_score": row.setting.scores.f_score
        }
        if row.name == "raw":
            setting["threshold"] = None
    points = [
        {
            "fpr_target": point.fpr_target,
            "tpr": point.tpr,
            "false_accepts": point.false_accepts,
            "reliable": point.is_reliable,
        }
        for point in row.points
    ]
    return row._asdict() | {"points": points, "setting": setting}


def draw(rows: Sequence[Row]) -> "Figure":
    """Draws the TPR at the lowest FPR against the share (paper, Fig. 13).

    Args:
        rows: of a study.

    Returns:
        The figure.
    """
    from experiments.training.semi_supervised_plot import plot_semi_supervised

    column = _strictest(rows)
    shares = shares_of(rows)
    curves = {
        _TITLES[name]: np.stack(
            [tprs(rows, name, share)[:, column] for share in shares], axis=1
        )
        for name in NAMES
    }
    return plot_semi_supervised(shares, curves, fpr=rows[0].points[column].fpr_target)


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Sums the seeds up for the report: a mean, a spread and a gain an FPR."""
    entries = []
    fprs = [point.fpr_target for point in rows[0].points]
    for share in shares_of(rows):
        for name in NAMES:
            found = tprs(rows, name, share)
            gain = gains(rows, name, share)
            for number, fpr in enumerate(fprs):
                entries.append(
                    {
                        "share": share,
                        "name": name,
                        "fpr": fpr,
                        "mean": float(found[:, number].mean()),
                        "spread": _spread(found[:, number]),
                        "gain": [
                            None if np.isnan(value) else float(value)
                            for value in gain[:, number]
                        ],
                    }
                )
    return entries


def verdict(rows: Sequence[Row]) -> list[str]:
    """Says of each share whether ours gained half of the way, and beat the ablation."""
    column = _strictest(rows)
    fpr = rows[0].points[column].fpr_target
    lines = []
    for share in shares_of(rows):
        lower, raw, ours, upper = (
            tprs(rows, name, share)[:, column].mean() for name in NAMES
        )
        if upper <= lower:
            way = "the upper bound is not above the lower one: no way to gain"
        else:
            part = (ours - lower) / (upper - lower)
            way = f"ours gains {part:.2f} of the way from lower to upper bound"
        beats = "above" if ours > raw else "not above"
        lines.append(
            f"{share:.0%} labelled, FPR {fpr:g}: {way}, and is {beats} pseudo-labels "
            f"of raw features ({ours:.4f} against {raw:.4f})"
        )
    return lines


def _strictest(rows: Sequence[Row]) -> int:
    """Finds the column of the lowest FPR."""
    return int(np.argmin([point.fpr_target for point in rows[0].points]))


def _starred(rows: Sequence[Row]) -> dict[str, list[str]]:
    """A star where a seed's cell rests on few false accepts, by name and FPR."""
    return {
        name: [
            "*" if any(not point.is_reliable for point in points) else " "
            for points in zip(*(r.points for r in rows if r.name == name), strict=True)
        ]
        for name in NAMES
    }


def _mean(values: np.ndarray, *, digits: int = 4) -> str:
    if np.isnan(values).any():
        return "-"
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ±{_spread(values):.{digits}f}"


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
