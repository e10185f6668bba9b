"""Graph-based feature aggregation: better pair scores and clusters from embeddings."""

from typing import TYPE_CHECKING

from gfa_jax import _early as _early
from gfa_jax import (
    fixed_point,
    gallery,
    neighbors,
    pooling,
    refinement,
    selection,
    sharding,
    streaming,
)
from gfa_jax.aggregation import aggregate
from gfa_jax.clustering import Clusters, PseudoLabels, cluster, pseudo_labels
from gfa_jax.neighbors import (
    approximate_neighbors,
    exact_neighbors,
    faiss_neighbors,
)
from gfa_jax.pooling import pool
from gfa_jax.refinement import Refinement, refine
from gfa_jax.selection import choose_settings
from gfa_jax.types import PAPER, Aggregation, Neighbors, Options, Params

if TYPE_CHECKING:
    from gfa_jax.refinement.estimator import Refiner as Refiner

__version__ = "0.1.0"

__all__ = [
    "PAPER",
    "Aggregation",
    "Clusters",
    "Neighbors",
    "Options",
    "Params",
    "PseudoLabels",
    "Refinement",
    "aggregate",
    "approximate_neighbors",
    "choose_settings",
    "cluster",
    "exact_neighbors",
    "faiss_neighbors",
    "fixed_point",
    "gallery",
    "neighbors",
    "pool",
    "pooling",
    "pseudo_labels",
    "refine",
    "refinement",
    "selection",
    "sharding",
    "streaming",
]


def __getattr__(name: str):
    """Imports the estimator, and scikit-learn with it, when it is asked for."""
    if name != "Refiner":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gfa_jax.refinement.estimator import Refiner

    return Refiner
