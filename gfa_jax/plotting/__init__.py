"""Panels of figures, one function each: numbers and axes in, the figure out.

Without axes a panel is a figure by itself; `join` draws several in one.
"""

from gfa_jax.plotting.clusters import plot_cluster_sizes, plot_confidence, plot_purity
from gfa_jax.plotting.iteration import plot_degree, plot_residual
from gfa_jax.plotting.settings import plot_candidates, plot_closure, plot_edges
from gfa_jax.plotting.style import Panel, join
from gfa_jax.plotting.verification import plot_roc, plot_scores

__all__ = [
    "Panel",
    "join",
    "plot_candidates",
    "plot_closure",
    "plot_cluster_sizes",
    "plot_confidence",
    "plot_degree",
    "plot_edges",
    "plot_purity",
    "plot_residual",
    "plot_roc",
    "plot_scores",
]
