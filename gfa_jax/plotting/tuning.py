"""How a tuning went: the loss, the score of what would be kept, and the parameters."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gfa_jax.tuning import TuneResult


def plot_tuning(result: "TuneResult", *, score: str) -> "Figure":
    """Draws a tuning against its optimizer steps, three panels one under the other.

    The loss of each batch; the validations, which measured `score`, and the step that
    was kept; the parameters, each [T] one as its mean and range.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.0, 6.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    history = result.history
    top.plot(history.loss, color=COLORS[0], linewidth=1.0)
    top.set_ylabel("loss of a batch")
    middle.plot(history.validated, history.score, "o-", color=COLORS[1], markersize=3)
    middle.axvline(result.step, color=COLORS[2], linestyle="--", label="kept")
    middle.set_ylabel(score)
    middle.legend(frameon=False)
    column = 0
    for number, (name, kept) in enumerate(result.params._asdict().items()):
        values = history.params[:, column : column + np.size(kept)]
        column += np.size(kept)
        color = COLORS[number % len(COLORS)]
        bottom.plot(
            values.mean(axis=1),
            label=name,
            color=color,
            linestyle=STYLES[number % len(STYLES)],
        )
        bounds = values.min(axis=1), values.max(axis=1)
        bottom.fill_between(
            np.arange(len(values)), *bounds, color=color, alpha=0.2, linewidth=0
        )
    bottom.set_yscale("log")
    bottom.set_ylabel("parameter")
    bottom.legend(frameon=False, ncols=2)
    bottom.set_xlabel("optimizer step")
    return figure
