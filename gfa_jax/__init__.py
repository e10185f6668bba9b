"""Graph-based feature aggregation: better pair scores and clusters from embeddings."""

from gfa_jax.aggregation import PAPER, PRESETS, SAFE, aggregate, update
from gfa_jax.neighbors import exact_neighbors
from gfa_jax.types import Aggregation, Neighbors, Params

__version__ = "0.1.0"

__all__ = [
    "PAPER",
    "PRESETS",
    "SAFE",
    "Aggregation",
    "Neighbors",
    "Params",
    "aggregate",
    "exact_neighbors",
    "update",
]
