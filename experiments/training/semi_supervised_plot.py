"""The figure of semi-supervised training: what labels, and what clusters, are worth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import COLORS, MARKERS, STYLES, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_semi_supervised(
    shares: npt.ArrayLike,
    tprs: Mapping[str, npt.ArrayLike],
    axes: "Axes | None" = None,
    *,
    fpr: float,
) -> "Figure":
    """Draws TPR against the share of labelled identities (paper, Fig. 13).

    A point is the mean over the seeds, its bar one sample standard deviation each way.
    Curves stand a little apart from each other, so that bars do not cover bars.

    Args:
        shares: [H] labelled shares in (0, 1].
        tprs: by name of the curve, [seeds, H] true positive rates.
        axes: where to draw; a figure of its own by default.
        fpr: false positive rate of the TPRs, for the label of the axis.

    Returns:
        The figure that holds the axes.
    """
    axes = panels(1, (6.0, 4.2))[0] if axes is None else axes
    percent = 100 * np.asarray(shares, np.float64)
    for number, (name, values) in enumerate(tprs.items()):
        seeds = np.asarray(values, np.float64)
        spread = seeds.std(axis=0, ddof=1) if len(seeds) > 1 else None
        axes.errorbar(
            percent + 0.6 * (number - (len(tprs) - 1) / 2),
            seeds.mean(axis=0),
            yerr=spread,
            label=name,
            color=COLORS[number % len(COLORS)],
            linestyle=STYLES[number % len(STYLES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            capsize=3,
        )
    axes.set_xticks(percent, [f"{value:g}" for value in percent])
    axes.set_xlim(max(0, percent.min() - 8), percent.max() + 8)
    axes.set_xlabel("identities with labels (%)")
    axes.set_ylabel(f"TPR at FPR = {fpr:g}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure
