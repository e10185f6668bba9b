"""The same method over many devices: where the rows live, and how they meet.

Device p of P owns n = ⌈N/P⌉ consecutive rows. The per-shard functions name an axis
and use its collectives; `jax.pmap` maps them over the devices of one host, and
`jax.shard_map` over a mesh of any number of processes.
"""

from gfa_jax.sharding.aggregation import aggregate_pmap, aggregate_sharded
from gfa_jax.sharding.exchange import ExchangeMemory, choose_exchange, exchange_memory
from gfa_jax.sharding.layout import row_mesh, shard_rows
from gfa_jax.sharding.neighbors import exact_neighbors_sharded

__all__ = [
    "ExchangeMemory",
    "aggregate_pmap",
    "aggregate_sharded",
    "choose_exchange",
    "exact_neighbors_sharded",
    "exchange_memory",
    "row_mesh",
    "shard_rows",
]
