"""The settings of `ablation`, and its tables and figure.

A cell of the grid K × t keeps of the plain method's gain

    kept = gain / gain of the plain method at the same K and t

where the plain method gains at least `MIN_GAIN`; elsewhere it says nothing.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gfa_jax.aggregation import PRESETS
from gfa_jax.programs import evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = "K and t"
# Under it a share of a gain says more about rounding than about a method.
MIN_GAIN = 0.005

FORMS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "safe": dict(PRESETS["safe"]),
        "remask": {"weighting": "affinity", "graph": "remask"},
        "paper": dict(PRESETS["paper"]),
    }
)
PLAIN: dict[str, Any] = FORMS["paper"] | {"guard": False}


class Setting(NamedTuple):
    """What one refinement is made with; see `gfa_jax.aggregate`."""

    k: int
    threshold: float
    gamma: float
    num_steps: int
    weighting: str
    graph: str
    include_self: bool = True
    renormalize: bool = True
    exponent: float = 3.0
    guard: bool = False


class Cell(NamedTuple):
    """What one setting gives.

    Attributes:
        setting: the setting; None for the raw features.
        tpr: [F] TPR at each target.
        false_accepts: [F] impostor pairs behind each.
    """

    setting: Setting | None
    tpr: np.ndarray
    false_accepts: np.ndarray


def render(
    raw: Cell,
    sections: Mapping[str, Sequence[Setting]],
    cells: Mapping[Setting, Cell],
    reference: Setting,
    fprs: Sequence[float],
) -> dict[str, str]:
    """Lays out a table a section, and the summary of the grid K × t.

    Args:
        raw: of the raw features.
        sections: the settings of each table by its title; those of `GRID` hold the
            plain method.
        cells: of each setting.
        reference: the setting from which the others are told.
        fprs: [F] targets.

    Returns:
        The tables by their titles, with "raw" and "summary".
    """
    head = [f"{fpr:.0e}" for fpr in fprs]
    rows = [["TPR at FPR", *head], ["raw", *(f"{tpr:.3f}" for tpr in raw.tpr)]]
    tables = {"raw": evaluation.align(rows)}
    for title, settings in sections.items():
        rows = [[f"{title}: gain", *head]]
        for setting in settings:
            gains = _signed(cells[setting].tpr - raw.tpr)
            if title == GRID and not _is_plain(setting):
                shares = _shares(kept(raw, [setting], cells)[0])
                gains = [
                    f"{gain} {share:>5}"
                    for gain, share in zip(gains, shares, strict=True)
                ]
            rows.append([_name(setting, reference), *gains])
        tables[title] = evaluation.align(rows)
    rows = [[f"{GRID}: least gain of all cells", *head]]
    for key, group in _groups(sections[GRID]).items():
        gains = np.array([cells[setting].tpr - raw.tpr for setting in group])
        rows.append([_title(key), *_signed(gains.min(axis=0))])
        if not _is_plain(group[0]):
            shares = kept(raw, group, cells)
            rows.append(["  kept of the plain gains, least", *_shares(_least(shares))])
            rows.append(["  kept of the plain gains, mean", *_shares(_mean(shares))])
    tables["summary"] = evaluation.align(rows)
    return tables


def kept(
    raw: Cell, settings: Sequence[Setting], cells: Mapping[Setting, Cell]
) -> np.ndarray:
    """Says which share of the plain method's gain each setting keeps.

    Args:
        raw: of the raw features.
        settings: [S] of the grid.
        cells: of each, and of the plain method at the same K and t.

    Returns:
        [S, F] shares; NaN where the plain method gains less than `MIN_GAIN`.
    """
    gains = np.array([cells[setting].tpr - raw.tpr for setting in settings])
    plain = np.array(
        [cells[setting._replace(**PLAIN)].tpr - raw.tpr for setting in settings]
    )
    gained = plain >= MIN_GAIN
    return np.where(gained, gains / np.where(gained, plain, 1), np.nan)


def _is_plain(setting: Setting) -> bool:
    return setting == setting._replace(**PLAIN)


def _least(shares: np.ndarray) -> np.ndarray:
    return np.fmin.reduce(shares)


def _mean(shares: np.ndarray) -> np.ndarray:
    told = np.sum(~np.isnan(shares), axis=0)
    return np.where(told > 0, np.nansum(shares, axis=0) / np.maximum(told, 1), np.nan)


def _shares(shares: np.ndarray) -> list[str]:
    return ["-" if np.isnan(share) else f"{share:.0%}" for share in shares]


def _signed(gains: np.ndarray) -> list[str]:
    return [f"{gain:+.3f}" for gain in gains]


class _Group(NamedTuple):
    """The settings that share a panel."""

    weighting: str
    graph: str
    guard: bool


def _title(group: _Group) -> str:
    return f"{group.weighting}, {group.graph}{', guard' if group.guard else ''}"


def _groups(settings: Sequence[Setting]) -> dict[_Group, list[Setting]]:
    groups: dict[_Group, list[Setting]] = {}
    for setting in settings:
        key = _Group(setting.weighting, setting.graph, setting.guard)
        groups.setdefault(key, []).append(setting)
    return groups


def _name(setting: Setting, reference: Setting) -> str:
    changes = [
        f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
        for field, value in setting._asdict().items()
        if value != getattr(reference, field)
    ]
    return ", ".join(changes) or "the reference"


def draw(
    raw: Cell,
    settings: Sequence[Setting],
    cells: Mapping[Setting, Cell],
    fprs: Sequence[float],
    *,
    ks: Sequence[int],
    thresholds: Sequence[float],
) -> "Figure":
    """Draws the gain over K × t at two of the targets, a line of panels a form.

    Args:
        raw: of the raw features.
        settings: of the grid.
        cells: of each setting.
        fprs: [F] targets; the first and the middle one are drawn.
        ks: of the grid, in its order.
        thresholds: of the grid, in its order.

    Returns:
        The figure.
    """
    import matplotlib.figure

    from experiments.studies.sweep_plot import plot_sweep

    groups = _groups(settings)
    columns = sorted({0, len(fprs) // 2})
    size = (1.5 + 5.2 * len(columns), 0.8 + 2.6 * len(groups))
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(groups), len(columns), squeeze=False)
    for (key, group), line in zip(groups.items(), axes, strict=True):
        for column, panel in zip(columns, line, strict=True):
            shape = (len(ks), len(thresholds))
            plot_sweep(
                np.reshape(
                    [cells[s].tpr[column] - raw.tpr[column] for s in group], shape
                ),
                raw.tpr[column],
                panel,
                k=ks,
                threshold=thresholds,
                false_accepts=np.reshape(
                    [cells[s].false_accepts[column] for s in group], shape
                ),
            )
            panel.set_title(
                f"{_title(key)}: FPR {fprs[column]:.0e}, raw {raw.tpr[column]:.3f}",
                loc="left",
                fontsize="small",
            )
    return figure
