"""The figure of a sweep over K and t: where a setting gains, and where it loses.

The map is cividis with its grey middle at zero: from dark blue, a loss, to light
yellow, a gain, lighter and lighter, so that it reads the same in grey and to the
colour-blind; the sign stands in every cell.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.metrics import MIN_FALSE_ACCEPTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours reach their ends no earlier: a sweep that gains nothing looks like it.
_LEAST_SCALE = 0.005


def plot_sweep(
    gains: np.ndarray,
    raw: float,
    axes: "Axes",
    *,
    k: Sequence[int],
    threshold: Sequence[float],
    false_accepts: np.ndarray,
) -> None:
    """Draws gain = TPR(K, t) − TPR(raw), at one FPR, of every K and t.

    Gains and counts are [len(k), len(threshold)], the first K at the bottom. A gain of
    nan was not measured and stays empty; one that rests on fewer than ten accepted
    impostor pairs is marked by a star.
    """
    scale = max(_LEAST_SCALE, float(np.nanmax(np.abs(gains), initial=0.0)))
    cells = axes.pcolormesh(
        np.ma.masked_invalid(gains), cmap="cividis", vmin=-scale, vmax=scale
    )
    is_unreliable = (false_accepts < MIN_FALSE_ACCEPTS) & ~np.isnan(gains)
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
    bar = axes.figure.colorbar(cells, ax=axes)
    bar.set_label(f"gain in TPR over {raw:.3f}")
    if is_unreliable.any():
        axes.set_title(
            f"* fewer than {MIN_FALSE_ACCEPTS} false accepts",
            loc="left",
            fontsize="medium",
        )
