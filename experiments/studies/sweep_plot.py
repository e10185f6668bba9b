"""The figure of a sweep over K and t: where a setting gains, and where it loses.

The map is cividis with its grey middle at zero: from dark blue, a loss, to light
yellow, a gain, lighter and lighter, so that it reads the same in grey and to the
colour-blind; the sign stands in every cell.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.metrics import MIN_FALSE_ACCEPTS
from gfa_jax.plotting.style import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours reach their ends no earlier: a sweep that gains nothing looks like it.
_LEAST_SCALE = 0.005


def plot_sweep(
    gains: npt.ArrayLike,
    raw: float,
    axes: "Axes | None" = None,
    *,
    k: Sequence[int],
    threshold: Sequence[float],
    false_accepts: npt.ArrayLike | None = None,
) -> "Figure":
    """Draws the gain in TPR of every K and t over the raw features.

    gain = TPR(K, t) − TPR(raw), at one FPR

    Args:
        gains: [len(k), len(threshold)] differences of TPR in [-1, 1]; a cell of nan
            was not measured and stays empty.
        raw: TPR of the raw features in [0, 1], the reference.
        axes: where to draw; a figure of its own by default.
        k: numbers of neighbours, one a row, from the bottom up.
        threshold: cosines t, one a column.
        false_accepts: [len(k), len(threshold)] impostor pairs accepted in each cell;
            fewer than ten are marked by a star. None marks no cell.

    Returns:
        The figure that holds the axes.

    Raises:
        ValueError: gains or false accepts of another shape.
    """
    gains = np.asarray(gains, float)
    expected = (len(k), len(threshold))
    counts = np.full(expected, np.inf) if false_accepts is None else false_accepts
    counts = np.asarray(counts, float)
    for name, values in (("gains", gains), ("false_accepts", counts)):
        if values.shape != expected:
            raise ValueError(
                f"{name} have shape {values.shape}; expected {expected}, a row for "
                "every K and a column for every threshold"
            )
    if axes is None:
        axes = panels(1, (2.4 + 0.72 * len(threshold), 1.5 + 0.5 * len(k)))[0]
    scale = max(_LEAST_SCALE, float(np.nanmax(np.abs(gains), initial=0.0)))
    cells = axes.pcolormesh(
        np.ma.masked_invalid(gains), cmap="cividis", vmin=-scale, vmax=scale
    )
    is_unreliable = (counts < MIN_FALSE_ACCEPTS) & ~np.isnan(gains)
    for (row, column), gain in np.ndenumerate(gains):
        if not np.isnan(gain):
            star = "*" if is_unreliable[row, column] else ""
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{gain:+.3f}".replace("0.", ".", 1) + star,
                ha="center",
                va="center",
                fontsize="small",
                # The map is middle grey at zero, lighter above, darker below.
                color="black" if gain >= 0 else "white",
            )
    axes.set_xticks(np.arange(len(threshold)) + 0.5, [f"{t:g}" for t in threshold])
    axes.set_yticks(np.arange(len(k)) + 0.5, [f"{count}" for count in k])
    axes.set_xlabel("threshold t")
    axes.set_ylabel("K")
    figure = axes.figure
    bar = figure.colorbar(cells, ax=axes)
    bar.set_label(f"gain in TPR over {raw:.3f}")
    if is_unreliable.any():
        axes.set_title(
            f"* fewer than {MIN_FALSE_ACCEPTS} false accepts",
            loc="left",
            fontsize="medium",
        )
    return figure  # pyright: ignore[reportReturnType]  # never a sub-figure
