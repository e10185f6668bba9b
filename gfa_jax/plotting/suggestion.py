"""The figure of all suggested settings: t, K by the edges found, T by their rest."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.iteration import plot_residual
from gfa_jax.plotting.style import COLORS, finish, panels
from gfa_jax.plotting.tail import plot_tail
from gfa_jax.selection.thresholds import Suggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_suggestion(suggestion: Suggestion) -> "Figure":
    """Draws why t, K and T: three panels, one above the other.

    Args:
        suggestion: of `suggest`.

    Returns:
        The figure.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.4, 9.6), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, height_ratios=(4, 3, 3))
    plot_tail(suggestion.threshold, top)
    plot_edges(suggestion.column_edges, middle, k=suggestion.k)
    label = f"gamma = {suggestion.params.gamma:g}, T = {suggestion.num_steps}"
    plot_residual({label: suggestion.residual}, bottom)
    bottom.axvline(suggestion.num_steps, color=COLORS[3], linewidth=1.8)
    return figure


def plot_edges(
    column_edges: npt.ArrayLike, axes: "Axes | None" = None, *, k: int
) -> "Figure":
    """Draws which share of the edges the first candidates of all rows hold.

    share_r = Σ_{s <= r} edges_s / Σ_s edges_s

    A line that still rises at its end asks for more candidates.

    Args:
        column_edges: [K searched] edges in each column of the candidates; not all 0.
        axes: where to draw; a figure of its own by default.
        k: the K chosen, marked.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (6.4, 3.2))[0] if axes is None else axes
    shares = np.cumsum(column_edges) / np.sum(column_edges)
    columns = np.arange(1, len(shares) + 1)
    axes.plot(columns, shares, "-o", color=COLORS[1], markersize=3)
    axes.axvline(k, color=COLORS[3], linewidth=1.8, label=f"K = {k}")
    axes.set_ylim(0, 1.05)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("candidates of a row, the row itself counted")
    axes.set_ylabel("share of the edges above t")
    return finish(axes)
