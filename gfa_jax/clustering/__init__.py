"""Clusters of refined features, and the pseudo-labels that they make."""

from gfa_jax.clustering.clusters import METHODS, Clusters, Method, cluster
from gfa_jax.clustering.relabel import relabel
from gfa_jax.clustering.review import Review, answer, review
from gfa_jax.clustering.training import PseudoLabels, pseudo_labels

__all__ = [
    "METHODS",
    "Clusters",
    "Method",
    "PseudoLabels",
    "Review",
    "answer",
    "cluster",
    "pseudo_labels",
    "relabel",
    "review",
]
