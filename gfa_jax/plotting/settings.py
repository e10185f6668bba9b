"""The figure of the settings that a pool gives: what edges are worth, and K."""

from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS
from gfa_jax.selection.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_settings(settings: Settings, *, name: str) -> "Figure":
    """Draws counts, null and posterior of the edges of a pool, the closure of each K.

    Args:
        settings: of `choose_settings`.
        name: what the pool is called.
    """
    import matplotlib.figure

    seen = settings.evidence
    figure = matplotlib.figure.Figure(figsize=(6.4, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 2))
    figure.suptitle(f"{name}: why these settings")
    centers = (seen.z[1:] + seen.z[:-1]) / 2
    width = seen.z[1] - seen.z[0]
    top.bar(centers, seen.candidates, width, color="0.8", label="candidates of a row")
    top.plot(centers, seen.strangers, "--", color=COLORS[0], label="expected by chance")
    top.set_ylim(0, 1.3 * max(seen.candidates.max(), 1e-3))
    top.set_xlim(seen.z[0], seen.z[-1])
    top.set_xlabel("z: standard deviations above both rows' strangers")
    top.set_ylabel("a row, in each bin")
    posterior = top.twinx()
    posterior.plot(
        centers,
        1 / (1 + np.exp(seen.center - centers)),
        color=COLORS[2],
        label="posterior of an edge (right)",
    )
    posterior.set_ylim(0, 1.3)
    posterior.set_ylabel("posterior")
    handles = [axes.get_legend_handles_labels() for axes in (top, posterior)]
    top.legend(
        *(ours + theirs for ours, theirs in zip(*handles, strict=True)),
        loc="upper right",
        frameon=False,
    )
    bottom.plot(seen.sizes, seen.closure, "-o", color=COLORS[1])
    bottom.axvline(settings.k, color=COLORS[3], label=f"K = {settings.k}")
    bottom.set_xscale("log")
    bottom.set_xticks(seen.sizes, [str(size) for size in seen.sizes])
    bottom.minorticks_off()
    bottom.set_xlabel("K: neighbours of a row")
    bottom.set_ylabel("closure beyond chance")
    bottom.legend(frameon=False)
    return figure
