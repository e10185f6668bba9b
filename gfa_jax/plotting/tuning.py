"""How a tuning went: the loss, the score of what would be kept, and the parameters."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gfa_jax.tuning import TuneResult


def plot_tuning(result: "TuneResult", *, score: str = "partial AUC") -> "Figure":
    """Draws a tuning against its steps, three panels one under the other.

    Args:
        result: of `gfa_jax.tuning.tune`.
        score: what a validation measured, for the axis.

    Returns:
        The figure: the loss of each batch; the validations, and the step that was kept;
        the parameters, on a logarithmic scale, each [T] one as its mean and range.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.0, 6.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    history = result.history
    top.plot(history.loss, color=COLORS[0], linewidth=1.0)
    top.set_ylabel("loss of a batch")
    if history.score.size:
        middle.plot(
            history.validated, history.score, "o-", color=COLORS[1], markersize=3
        )
    middle.axvline(result.step, color=COLORS[2], linestyle="--", label="kept")
    middle.set_ylabel(f"{score}")
    middle.legend(frameon=False)
    _plot_params(bottom, result)
    bottom.set_xlabel("optimizer step")
    return figure


def _plot_params(axes: "Axes", result: "TuneResult") -> None:
    column = 0
    for number, (name, kept) in enumerate(result.params._asdict().items()):
        width = np.size(kept)
        values = result.history.params[:, column : column + width]
        column += width
        axes.plot(
            values.mean(axis=1),
            label=name,
            color=COLORS[number % len(COLORS)],
            linestyle=STYLES[number % len(STYLES)],
        )
        if width > 1:
            axes.fill_between(
                np.arange(len(values)),
                values.min(axis=1),
                values.max(axis=1),
                color=COLORS[number % len(COLORS)],
                alpha=0.2,
                linewidth=0,
            )
    axes.set_yscale("log")
    axes.set_ylabel("parameter")
    axes.legend(frameon=False, ncols=2)
