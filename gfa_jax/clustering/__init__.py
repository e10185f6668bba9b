"""Clusters of refined features, and the pseudo-labels that they make."""

from gfa_jax.clustering.clusters import Clusters, cluster
from gfa_jax.clustering.training import PseudoLabels, pseudo_labels

__all__ = ["Clusters", "PseudoLabels", "cluster", "pseudo_labels"]
