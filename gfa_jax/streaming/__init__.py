"""The same functions over features larger than memory, read from a file in parts.

A file is anything with a shape, a dtype and slices of rows: a memory map, for one.
"""

from gfa_jax.streaming.aggregation import aggregate
from gfa_jax.streaming.approximate import approximate_neighbors
from gfa_jax.streaming.exact import exact_neighbors
from gfa_jax.streaming.pooling import pool

__all__ = ["aggregate", "approximate_neighbors", "exact_neighbors", "pool"]
