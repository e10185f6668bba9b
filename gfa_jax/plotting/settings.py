"""Panels of the settings: what the edges of a pool are worth, and why this K."""

import math
from typing import TYPE_CHECKING

import numpy as np

from gfa_jax.plotting.style import COLORS, finish, own
from gfa_jax.selection import Evidence
from gfa_jax.types import Neighbors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_edges(evidence: Evidence, axes: "Axes | None" = None) -> "Figure":
    """Draws the cosines of candidates beside their null, and the posterior of an edge.

    The cosines are in standard deviations above those of unrelated rows, z.

    Args:
        evidence: of `choose_settings`.
        axes: where to draw; a figure of its own by default.

    Returns:
        The figure.
    """
    axes = axes or own()
    centers = (evidence.z[1:] + evidence.z[:-1]) / 2
    width = evidence.z[1] - evidence.z[0]
    axes.bar(centers, evidence.candidates, width, color="0.75", label="found")
    axes.plot(centers, evidence.strangers, "--", color=COLORS[0], label="by chance")
    axes.set_ylim(0, 1.1 * max(evidence.candidates.max(), 1e-3))
    axes.set_xlim(evidence.z[0], evidence.z[-1])
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("z: standard deviations above unrelated rows")
    axes.set_ylabel("candidates of a row")
    posterior = axes.twinx()
    curve = 1 / (1 + np.exp(evidence.center - centers))
    posterior.plot(centers, curve, color=COLORS[2], label="posterior (right axis)")
    posterior.set_ylim(0, 1.1)
    half = evidence.half_cosine
    at = "at no one cosine" if math.isnan(half) else f"at a cosine of {half:.3f}"
    return finish(axes, f"Edges: as likely as not {at}", posterior, ncols=3)


def plot_closure(evidence: Evidence, axes: "Axes | None" = None, *, k: int) -> "Figure":
    """Draws the closure of neighbourhoods of each size, and the K that is used.

    Args:
        evidence: of `choose_settings`, whose sizes do not count the row itself.
        axes: where to draw; a figure of its own by default.
        k: K, the row itself counted.

    Returns:
        The figure.
    """
    axes = axes or own()
    sizes = np.array(evidence.sizes) + 1
    axes.plot(sizes, evidence.closure, "o-", color=COLORS[1])
    axes.axvline(k, color=COLORS[2], linestyle="--", label=f"K = {k} is used")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("K: neighbours, the row itself counted")
    axes.set_ylabel("closure beyond chance")
    return finish(axes, "How far neighbours of a row are each other's")


def plot_candidates(
    neighbors: Neighbors, axes: "Axes | None" = None, *, threshold: float
) -> "Figure":
    """Draws the cosines of the candidates, and the threshold that edges must exceed.

    Args:
        neighbors: [N, K] candidates.
        axes: where to draw; a figure of its own by default.
        threshold: cosine t.

    Returns:
        The figure.
    """
    axes = axes or own()
    cosines = np.asarray(neighbors.similarity)[np.asarray(neighbors.is_other())]
    axes.hist(cosines, 60, color="0.75")
    axes.axvline(threshold, color=COLORS[2], linestyle="--", label=f"t = {threshold:g}")
    axes.set_xlabel("cosine")
    axes.set_ylabel("candidates")
    above = np.count_nonzero(cosines > threshold)
    title = f"{above:,} of {len(cosines):,} candidates exceed t"
    return finish(axes, title)
