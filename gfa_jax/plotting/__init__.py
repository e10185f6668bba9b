"""Figures, one function each, with matplotlib axes in and a figure out."""

from gfa_jax.plotting.clusters import plot_cluster_sizes, plot_purity
from gfa_jax.plotting.comparison import plot_comparison
from gfa_jax.plotting.iteration import plot_degree, plot_residual
from gfa_jax.plotting.map import plot_map
from gfa_jax.plotting.retrieval import CMC_RANKS, plot_cmc
from gfa_jax.plotting.scale import plot_scale
from gfa_jax.plotting.semi_supervised import plot_semi_supervised
from gfa_jax.plotting.suggestion import plot_edges, plot_suggestion
from gfa_jax.plotting.sweep import plot_sweep
from gfa_jax.plotting.tail import plot_tail
from gfa_jax.plotting.tradeoff import plot_tradeoff
from gfa_jax.plotting.verification import plot_roc, plot_similarity

__all__ = [
    "CMC_RANKS",
    "plot_cluster_sizes",
    "plot_cmc",
    "plot_comparison",
    "plot_degree",
    "plot_edges",
    "plot_map",
    "plot_purity",
    "plot_residual",
    "plot_roc",
    "plot_scale",
    "plot_semi_supervised",
    "plot_similarity",
    "plot_suggestion",
    "plot_sweep",
    "plot_tail",
    "plot_tradeoff",
]
