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
from gfa_jax.datasets.checks import check_features
from gfa_jax.datasets.features import read_features, write_features
from gfa_jax.datasets.labels import (
    check_labels,
    encode_labels,
    known_identities,
    read_labels,
    separate_unknown,
    write_labels,
)
from gfa_jax.datasets.pairs import (
    PairCounts,
    Pairs,
    check_pairs,
    drop_self_pairs,
    read_pairs,
)
from gfa_jax.datasets.shards import (
    Part,
    Shards,
    open_parts,
    open_shards,
    read_rows,
    read_shards,
    write_manifest,
    write_part,
    write_shards,
)
from gfa_jax.datasets.synthetic import SyntheticFeatures, synthetic_features
from gfa_jax.datasets.synthetic_images import SyntheticImages, synthetic_images

__all__ = [
    "PairCounts",
    "Pairs",
    "Part",
    "Shards",
    "SyntheticFeatures",
    "SyntheticImages",
    "atomic_path",
    "check_features",
    "check_labels",
    "check_pairs",
    "drop_self_pairs",
    "encode_labels",
    "known_identities",
    "open_parts",
    "open_shards",
    "read_array",
    "read_candidates",
    "read_features",
    "read_labels",
    "read_pairs",
    "read_rows",
    "read_shards",
    "separate_unknown",
    "synthetic_features",
    "synthetic_images",
    "write_array",
    "write_arrays",
    "write_features",
    "write_json",
    "write_labels",
    "write_manifest",
    "write_part",
    "write_shards",
    "write_text",
]
