"""Readers and writers of features, labels, pairs and candidates; a generator.

Every reader refuses a bad file with a ValueError of one line and never unpickles;
every writer leaves the whole new file or the old one.
"""

from gfa_jax.datasets import protocols
from gfa_jax.datasets.arrays import read_array
from gfa_jax.datasets.atomic import (
    atomic_path,
    write_array,
    write_arrays,
    write_json,
    write_text,
)
from gfa_jax.datasets.candidates import contains_self, read_candidates
from gfa_jax.datasets.checks import check_features
from gfa_jax.datasets.features import read_features, write_features
from gfa_jax.datasets.labels import (
    check_labels,
    encode_labels,
    read_labels,
    write_labels,
)
from gfa_jax.datasets.pairs import PairCounts, Pairs, check_pairs, read_pairs
from gfa_jax.datasets.synthetic import SyntheticFeatures, synthetic_features

__all__ = [
    "PairCounts",
    "Pairs",
    "SyntheticFeatures",
    "atomic_path",
    "check_features",
    "check_labels",
    "check_pairs",
    "contains_self",
    "encode_labels",
    "protocols",
    "read_array",
    "read_candidates",
    "read_features",
    "read_labels",
    "read_pairs",
    "synthetic_features",
    "write_array",
    "write_arrays",
    "write_features",
    "write_json",
    "write_labels",
    "write_text",
]
