"""Results in the format that came in, with its ids and in its order.

NumPy files, .bin and shards come back as .npy, a folder of vectors as .csv.
"""

import pathlib
from typing import Any

import numpy as np

from gfa_jax import datasets
from gfa_jax.datasets.formats import FORMATS
from gfa_jax.programs import flags, inputs

FLAGS = flags.FLAGS

# What comes back in another format than it came in; "" is a folder.
_INSTEAD = {
    **dict.fromkeys((".npz", ".bin"), ".npy"),
    **dict.fromkeys(("", ".txt"), ".csv"),
    **dict.fromkeys((".f16bin", ".u8bin", ".i8bin", ".ibin"), ".fbin"),
    ".bvecs": ".fvecs",
}
_CHOICES = [suffix[1:] for suffix in FORMATS if suffix not in _INSTEAD]

flags.DEFINE_enum(
    "output_format",
    None,
    [*_CHOICES, "npz", "bin"],
    "Format of the results, by default that of --features.",
)


def suffix() -> str:
    """Returns the suffix of the results."""
    if FLAGS.output_format is not None:
        return f".{FLAGS.output_format}"
    if FLAGS.features is None or inputs.is_shards(FLAGS.features):
        return ".npy"
    given = pathlib.Path(FLAGS.features)
    own = "" if given.is_dir() else given.suffix.lower()
    return _INSTEAD.get(own, own)


def refined_name(stored: str) -> str:
    """Names the refined rows, which a backend stores under the name `stored`."""
    if stored == "refined.npy":
        return f"refined{suffix()}"
    if FLAGS.output_format not in (None, "npy"):
        raise ValueError(
            f"--output_format={FLAGS.output_format} is for one process; several write "
            "shards, which gfa convert joins"
        )
    return stored


def label_names() -> tuple[str, ...]:
    """Names the table of labels, where the format holds columns of any kind."""
    known = FORMATS.get(suffix())  # what no one reads is refused where it is read
    holds_any = known is not None and known.columns == "any"
    return (f"labels{suffix()}",) if holds_any else ()


def write_refined(
    hidden: pathlib.Path, pool: inputs.Pool, rows: Any, dropped: np.ndarray
) -> None:
    """Writes rows [N, D] with the columns that came in, and `dropped` [N]."""
    rows = np.asarray(rows)
    table = datasets.Table(rows, {**pool.columns, "dropped": dropped}, pool.vectors)
    datasets.write_table(hidden / f"refined{suffix()}", table)


def write_labels(
    hidden: pathlib.Path, pool: inputs.Pool, values: dict[str, np.ndarray]
) -> None:
    """Writes values [N] of every row beside the columns, where there is a table."""
    empty = np.empty((len(pool.norms), 0), np.float32)
    table = datasets.Table(empty, {**pool.columns, **values}, ())
    for name in label_names():
        datasets.write_table(hidden / name, table)
