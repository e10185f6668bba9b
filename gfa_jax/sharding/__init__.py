"""The same method over many devices: where the rows live, and how they are exchanged.

Device p of P owns n = ⌈N/P⌉ consecutive rows. The per-shard functions name an axis
and use its collectives; `jax.pmap` maps them over the devices of one host, and
`jax.shard_map` over a mesh of any number of processes. What stays on the host, an index
of FAISS, a forest of edges, the counts of a curve, each process makes of its own rows
or tiles, and tells the others by a collective too (`processes`).
"""

from gfa_jax.sharding.aggregation import aggregate, aggregate_pmap
from gfa_jax.sharding.all_pairs import all_pairs_roc
from gfa_jax.sharding.clustering import cluster, score_candidates
from gfa_jax.sharding.exchange import ExchangeMemory, choose_exchange, exchange_memory
from gfa_jax.sharding.faiss import faiss_neighbors
from gfa_jax.sharding.layout import Layout, row_mesh, shard_rows
from gfa_jax.sharding.neighbors import exact_neighbors
from gfa_jax.sharding.processes import (
    CollectiveError,
    collective_errors,
    gather_arrays,
    gather_bytes,
)

__all__ = [
    "CollectiveError",
    "ExchangeMemory",
    "Layout",
    "aggregate",
    "aggregate_pmap",
    "all_pairs_roc",
    "choose_exchange",
    "cluster",
    "collective_errors",
    "exact_neighbors",
    "exchange_memory",
    "faiss_neighbors",
    "gather_arrays",
    "gather_bytes",
    "row_mesh",
    "score_candidates",
    "shard_rows",
]
