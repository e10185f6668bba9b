"""Graph-based feature aggregation: better pair scores and clusters from embeddings."""

from gfa_jax.aggregation import PAPER, PRESETS, SAFE, aggregate, update
from gfa_jax.neighbors import (
    check_k,
    exact_neighbors,
    faiss_neighbors,
    place_self,
)
from gfa_jax.types import Aggregation, Neighbors, Params, check_params

__version__ = "0.1.0"

__all__ = [
    "PAPER",
    "PRESETS",
    "SAFE",
    "Aggregation",
    "Neighbors",
    "Params",
    "aggregate",
    "check_k",
    "check_params",
    "exact_neighbors",
    "faiss_neighbors",
    "place_self",
    "update",
]
