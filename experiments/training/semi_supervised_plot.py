"""The figure of semi-supervised training: what labels, and what clusters, are worth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import curve_style, finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_semi_supervised(
    shares: npt.ArrayLike,
    tprs: Mapping[str, npt.ArrayLike],
    *,
    fpr: float,
) -> "Figure":
    """Draws TPRs [seeds, H] against the labelled shares [H] (paper, Fig. 13).

    A point is the mean over the seeds, its bar one sample standard deviation each way.
    Curves stand a little apart from each other, so that bars do not cover bars.
    """
    (axes,) = panels(1, (6.0, 4.2))
    percent = 100 * np.asarray(shares, np.float64)
    for number, (name, values) in enumerate(tprs.items()):
        seeds = np.asarray(values, np.float64)
        spread = seeds.std(axis=0, ddof=1) if len(seeds) > 1 else None
        axes.errorbar(
            percent + 0.6 * (number - (len(tprs) - 1) / 2),
            seeds.mean(axis=0),
            yerr=spread,
            label=name,
            markersize=5,
            capsize=3,
            **curve_style(number),
        )
    axes.set_xticks(percent, [f"{value:g}" for value in percent])
    axes.set_xlim(max(0, percent.min() - 8), percent.max() + 8)
    axes.set_xlabel("identities with labels (%)")
    axes.set_ylabel(f"TPR at FPR = {fpr:g}")
    return finish(axes)
