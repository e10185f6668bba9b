"""Figures, one function each, with matplotlib axes in and a figure out."""

from gfa_jax.plotting.clusters import plot_cluster_sizes, plot_purity
from gfa_jax.plotting.iteration import plot_degree, plot_residual
from gfa_jax.plotting.settings import plot_settings
from gfa_jax.plotting.verification import plot_roc, plot_similarity

__all__ = [
    "plot_cluster_sizes",
    "plot_degree",
    "plot_purity",
    "plot_residual",
    "plot_roc",
    "plot_settings",
    "plot_similarity",
]
