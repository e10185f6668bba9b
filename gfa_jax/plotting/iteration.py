"""Panels of the iteration: how far it still moves, and which rows it joins."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import COLORS, MARKERS, curve_style, finish, own
from gfa_jax.types import Neighbors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_residual(
    residuals: Mapping[str, npt.ArrayLike], axes: "Axes | None" = None
) -> "Figure":
    """Draws how far each update moves the rows, one line a run.

    residual_t = √mean_i ‖F_i^t − F_i^{t−1}‖², on a logarithmic axis: a straight line
    is linear convergence, a level one a cycle. A residual of zero is not drawn.

    Args:
        residuals: label -> [T]; a label that begins with "_" is not named.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure.
    """
    axes = axes or own()
    for number, (label, values) in enumerate(residuals.items(), 1):
        residual = np.asarray(values, float)
        axes.plot(
            np.arange(1, len(residual) + 1),
            np.where(residual > 0, residual, np.nan),
            markersize=4,
            label=label,
            **curve_style(number),
        )
    axes.set_yscale("log")
    longest = max(map(len, map(np.atleast_1d, residuals.values())), default=0)
    axes.set_xlim(0.8, max(longest, 1) + 0.2)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.set_xlabel("update")
    axes.set_ylabel("residual")
    return finish(axes, "Root mean square of the rows' steps")


def plot_degree(
    degree: npt.ArrayLike,
    axes: "Axes | None" = None,
    *,
    neighbors: Neighbors | None = None,
    threshold: float | None = None,
) -> "Figure":
    """Draws how many rows have each degree and, given the candidates, each in-degree.

        degree_i = #{j ∈ KNN_i, j ≠ i : A_ij > t}
        in-degree_j = #{i ≠ j : j ∈ KNN_i, A_ij > t}

    The degree is at most K − 1, since K counts the row itself. The in-degree is not: a
    long tail is hubs, rows that pull on many others.

    Args:
        degree: [N] of `Aggregation`, the row itself counted; fractions of a soft mask
            are rounded.
        axes: where to draw; a figure of its own by default.
        neighbors: [N, K] candidates, for the in-degree; None draws the degree alone.
        threshold: cosine t that a candidate must exceed to count in the in-degree.
            None counts every one.

    Returns:
        The figure.
    """
    axes = axes or own()
    degree = np.maximum(np.rint(np.asarray(degree)).astype(int) - 1, 0)
    drawn = {"degree": degree}
    if neighbors is not None:
        counts = np.asarray(neighbors.is_other())
        if threshold is not None:
            counts = counts & (np.asarray(neighbors.similarity) > threshold)
        found = np.asarray(neighbors.indices)[counts]
        drawn["in-degree"] = np.bincount(found, minlength=len(degree))
    for number, (label, numbers) in enumerate(drawn.items()):
        axes.plot(
            *np.unique(numbers, return_counts=True),
            MARKERS[number],
            color=COLORS[1 + number],
            markerfacecolor="none" if number else COLORS[1],
            markersize=5,
            label=f"{label}: mean {numbers.mean():.1f}, at most {numbers.max()}",
        )
    most = max(map(np.max, drawn.values()))
    if most > 100:
        axes.set_xscale("symlog", linthresh=10.0)  # linear at first: 0 has a place
        axes.xaxis.set_major_formatter("{x:.0f}")
    else:
        axes.locator_params(axis="x", integer=True)
    axes.set_xlim(-0.5, 1.1 * most + 0.5)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.5 * len(degree))
    axes.set_xlabel("neighbours, the row itself not counted")
    axes.set_ylabel("rows")
    alone = np.count_nonzero(degree == 0)
    return finish(axes, f"{alone:,} of {len(degree):,} rows have no neighbour", ncols=1)
