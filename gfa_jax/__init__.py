"""Graph-based feature aggregation: better pair scores and clusters from embeddings."""

from gfa_jax.aggregation import PAPER, PRESETS, SAFE, aggregate, update
from gfa_jax.clustering import Clusters, PseudoLabels, cluster, pseudo_labels
from gfa_jax.fixed_point import FixedPoint, aggregate_to_fixed_point
from gfa_jax.neighbor_products import ReverseNeighbors, reverse_neighbors
from gfa_jax.neighbors import (
    Calibration,
    SearchChoice,
    approximate_neighbors,
    approximate_neighbors_streamed,
    check_k,
    choose_search,
    exact_neighbors,
    exact_neighbors_streamed,
    faiss_neighbors,
    place_self,
)
from gfa_jax.outliers import find_outliers, isolate
from gfa_jax.pooling import pool, pool_media, pool_streamed
from gfa_jax.sharding import (
    aggregate_pmap,
    aggregate_sharded,
    exact_neighbors_sharded,
    row_mesh,
    shard_rows,
)
from gfa_jax.streaming import aggregate_streamed
from gfa_jax.types import Aggregation, Neighbors, Params, check_params

__version__ = "0.1.0"

__all__ = [
    "PAPER",
    "PRESETS",
    "SAFE",
    "Aggregation",
    "Calibration",
    "Clusters",
    "FixedPoint",
    "Neighbors",
    "Params",
    "PseudoLabels",
    "ReverseNeighbors",
    "SearchChoice",
    "aggregate",
    "aggregate_pmap",
    "aggregate_sharded",
    "aggregate_streamed",
    "aggregate_to_fixed_point",
    "approximate_neighbors",
    "approximate_neighbors_streamed",
    "check_k",
    "check_params",
    "choose_search",
    "cluster",
    "exact_neighbors",
    "exact_neighbors_sharded",
    "exact_neighbors_streamed",
    "faiss_neighbors",
    "find_outliers",
    "isolate",
    "place_self",
    "pool",
    "pool_media",
    "pool_streamed",
    "pseudo_labels",
    "reverse_neighbors",
    "row_mesh",
    "shard_rows",
    "update",
]
