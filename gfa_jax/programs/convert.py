"""Converts a file of features to another format, with its ids and other columns.

    gfa convert embeddings.csv embeddings.parquet

reads what `gfa refine --features` reads and writes .npy, .npz, .csv, .tsv, .jsonl,
.parquet, .arrow, .feather, .h5, .safetensors, .bin, .fvecs, .fbin, .faiss and their
kin, by the suffix. Columns that a format has no place for are named and left out. In
memory are a block of rows and the columns; what cannot be mapped goes through a file
without a name beside the target. The target appears whole or not at all.
"""

import os
import pathlib

import numpy as np

from gfa_jax import datasets
from gfa_jax.datasets import formats
from gfa_jax.programs import cli, flags, inputs

FLAGS = flags.FLAGS
flags.adopt(inputs, "features_key", "dim", "id_column")

flags.DEFINE_string("source", None, "File or folder to read; also the first word.")
flags.DEFINE_string("target", None, "File to write; also the second word.")
flags.DEFINE_enum(
    "dtype",
    None,
    ["float16", "float32", "float64", "uint8", "int8", "int32"],
    "Of the vectors written, rounded to it; by default as they are.",
)
flags.require("source", "target")
POSITIONAL = ("source", "target")
EVERYDAY = ("source", "target", "features_key", "dim", "id_column", "dtype")


def main() -> None:
    """Reads, checks the shape, writes, and says what was written."""
    source, target = pathlib.Path(FLAGS.source), pathlib.Path(FLAGS.target)
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(f"{source} would be overwritten; name another target")
    formats.find(target, "write")
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {target}: there is no {target.parent}")
    found = inputs.open_source(target.parent, given=FLAGS.source)
    rows = found.read(0, found.shape[0])
    if FLAGS.dtype is not None:
        rows = _cast(rows, np.dtype(FLAGS.dtype))
    table = datasets.Table(rows, found.columns, found.vectors)
    left_out = datasets.write_table(target, table)
    if left_out:
        named = ", ".join(map(repr, left_out))
        cli.warn(f"{target.suffix} has no place for {named}; left out")
    rows, columns = table.features.shape
    held = [name for name in table.columns if name not in left_out]
    others = f", and {', '.join(map(repr, held))}" if held else ""
    print(f"{target}: {rows:,} rows of {columns} {table.features.dtype} values{others}")


def _cast(features: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounds to a type, which must have room for the values."""
    if dtype.kind != "i" and dtype.kind != "u":
        return features.astype(dtype)
    limits, whole = np.iinfo(dtype), np.rint(features)
    if not (whole.min() >= limits.min and whole.max() <= limits.max):
        raise ValueError(
            f"--dtype={dtype}: the values are {features.min():g} to "
            f"{features.max():g}, beyond it; scale them first"
        )
    return whole.astype(dtype)
