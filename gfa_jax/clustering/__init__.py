"""Clusters of refined features, and the pseudo-labels that they make."""

from gfa_jax.clustering.clusters import LINKAGES, Clusters, Linkage, cluster
from gfa_jax.clustering.training import PseudoLabels, pseudo_labels

__all__ = [
    "LINKAGES",
    "Clusters",
    "Linkage",
    "PseudoLabels",
    "cluster",
    "pseudo_labels",
]
