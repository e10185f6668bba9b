"""Readers and writers of features, labels, pairs and candidates; a generator.

Every reader refuses a bad file with a ValueError of one line and never unpickles;
every writer leaves the whole new file or the old one.
"""

from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import (
    atomic_path,
    write_array,
    write_arrays,
    write_json,
    write_text,
)
from gfa_jax.datasets.candidates import read_candidates
from gfa_jax.datasets.features import (
    check_features,
    check_matrix,
    read_features,
    write_features,
)
from gfa_jax.datasets.labels import (
    check_labels,
    encode_labels,
    from_column,
    known_identities,
    read_labels,
)
from gfa_jax.datasets.pairs import Pairs, check_pairs, read_pairs
from gfa_jax.datasets.shards import (
    Part,
    Shards,
    check_hashes,
    open_parts,
    open_shards,
    read_rows,
    write_manifest,
    write_part,
    write_shards,
)
from gfa_jax.datasets.synthetic import SyntheticFeatures, synthetic_features
from gfa_jax.datasets.tables import Table, read_column, read_table, write_table

__all__ = [
    "Pairs",
    "Part",
    "Shards",
    "SyntheticFeatures",
    "Table",
    "atomic_path",
    "check_features",
    "check_hashes",
    "check_labels",
    "check_matrix",
    "check_pairs",
    "encode_labels",
    "from_column",
    "known_identities",
    "open_parts",
    "open_shards",
    "read_array",
    "read_candidates",
    "read_column",
    "read_features",
    "read_labels",
    "read_pairs",
    "read_rows",
    "read_table",
    "synthetic_features",
    "write_array",
    "write_arrays",
    "write_features",
    "write_json",
    "write_manifest",
    "write_part",
    "write_shards",
    "write_table",
    "write_text",
]
