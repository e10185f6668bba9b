"""Panels of a tuning: the loss, the score of what would be kept, and the parameters."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, curve_style, finish, own

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gfa_jax.tuning import TuneResult


def plot_loss(result: "TuneResult", axes: "Axes | None" = None) -> "Figure":
    """Draws the loss of each batch."""
    axes = axes or own()
    axes.plot(result.history.loss, "o-", color=COLORS[1], markersize=3)
    return _over_steps(axes, "Loss of each batch", "loss")


def plot_validation(
    result: "TuneResult", axes: "Axes | None" = None, *, score: str
) -> "Figure":
    """Draws the validations, which measured `score`, and the step that was kept."""
    axes = axes or own()
    history = result.history
    axes.plot(history.validated, history.score, "o-", color=COLORS[1], markersize=4)
    kept = f"step {result.step}, kept"
    axes.axvline(result.step, color=COLORS[2], linestyle="--", label=kept)
    axes.ticklabel_format(axis="y", useOffset=False)
    gain = np.max(history.score) - history.score[0]
    return _over_steps(axes, f"Validation: at most {gain:+.4f} over the start", score)


def plot_parameters(result: "TuneResult", axes: "Axes | None" = None) -> "Figure":
    """Draws each parameter divided by its value at the start, a [T] one as its mean."""
    axes = axes or own()
    column = 0
    for number, (name, kept) in enumerate(result.params._asdict().items()):
        values = result.history.params[:, column : column + np.size(kept)].mean(axis=1)
        column += np.size(kept)
        start = float(values[0]) if len(values) and values[0] else 1.0
        label = f"{name}, {start:.3g} at first"
        axes.plot(values / start, markersize=3, label=label, **curve_style(number))
    return _over_steps(axes, "Parameters", "divided by the value at the start")


def _over_steps(axes: "Axes", title: str, label: str) -> "Figure":
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(label)
    return finish(axes, title)
