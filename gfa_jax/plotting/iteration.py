"""Figures of the iteration: how far it still moves, and which rows it joins."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import COLORS, MARKERS, curve_style, finish, panels
from gfa_jax.types import Neighbors

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_residual(residuals: Mapping[str, npt.ArrayLike]) -> "Figure":
    """Draws how far each update moves the rows, one line a run: label -> [T].

    residual_t = √mean_i ‖F_i^t − F_i^{t−1}‖², on a logarithmic axis: a straight line
    is linear convergence, a level one a cycle. A residual of zero is not drawn.
    """
    (axes,) = panels(1, (6.0, 3.6))
    for number, (label, values) in enumerate(residuals.items()):
        residual = np.asarray(values, float)
        axes.plot(
            np.arange(1, len(residual) + 1),
            np.where(residual > 0, residual, np.nan),
            markersize=4,
            label=label,
            **curve_style(number),
        )
    axes.set_yscale("log")
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("update")
    axes.set_ylabel("residual")
    return finish(axes)


def plot_degree(
    degree: npt.ArrayLike,
    *,
    neighbors: Neighbors | None = None,
    threshold: float | None = None,
) -> "Figure":
    """Draws how many rows have each degree and, given the candidates, each in-degree.

    degree_i = #{j ∈ KNN_i : A_ij > t},  in-degree_j = #{i : j ∈ KNN_i, A_ij > t}

    The degree is at most K. The in-degree is not: a long tail is hubs, rows that pull
    on many others; rows of degree 0 were left as they were.

    Args:
        degree: [N] of `Aggregation`; fractions of a soft mask are rounded.
        neighbors: [N, K] candidates, for the in-degree; None draws the degree alone.
        threshold: cosine t that a candidate must exceed to count in the in-degree.
            None counts every one.
    """
    degree = np.rint(np.asarray(degree)).astype(int)
    drawn = {"degree": degree}
    if neighbors is not None:
        indices, similarity = map(np.asarray, neighbors)
        counts = indices >= 0
        if threshold is not None:
            counts &= similarity > threshold
        drawn["in-degree"] = np.bincount(indices[counts], minlength=len(degree))
    (axes,) = panels(1, (6.0, 4.2))
    for number, (label, numbers) in enumerate(drawn.items()):
        axes.plot(
            *np.unique(numbers, return_counts=True),
            MARKERS[number],
            color=COLORS[1 + number],
            markerfacecolor="none" if number else COLORS[1],
            markersize=5,
            label=f"{label}, mean {numbers.mean():.1f}, at most {numbers.max()}",
        )
    # Linear up to 1, so that 0 has a place.
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(left=-0.2)
    axes.set_yscale("log")
    axes.set_xlabel("neighbours")
    axes.set_ylabel("rows")
    axes.set_title(
        f"{np.count_nonzero(degree == 0):,} of {len(degree):,} rows keep no neighbour",
        loc="left",
        fontsize="medium",
    )
    return finish(axes)
