"""The pool of features and what is known about it, checked before any work.

Importing this module defines the flags that name the files.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gfa_jax import datasets
from gfa_jax.datasets.rows import is_scaled as is_scaled
from gfa_jax.datasets.rows import place_rows
from gfa_jax.datasets.rows import unit_rows as unit_rows
from gfa_jax.programs import cli, flags, outputs

FLAGS = flags.FLAGS
# The flags that name columns of --features which are no vectors.
_NO_VECTORS = ("id_column", "labels_column", "camera_column")

flags.DEFINE_input(
    "features",
    None,
    "Embeddings, else a sample. A file by its suffix: .npy, .npz, .csv, .tsv, "
    ".jsonl, .parquet, .arrow, .feather, .h5, .safetensors, .bin, .fvecs, .fbin, "
    ".faiss and their kin; a folder of .npy of a vector each, or of shards.",
)
flags.DEFINE_input(
    "labels",
    None,
    "Identities, one a row. A .txt or .meta, or a column of any format of --features.",
)
flags.DEFINE_input(
    "pairs", None, "Pairs i,j[,same] to verify, else all pairs of the labels."
)
flags.DEFINE_integer("dim", None, "Columns of a .bin without header.", lower_bound=1)
flags.DEFINE_string(
    "features_key",
    None,
    "Array, data set or column of the vectors; of numbered columns what their names "
    "begin with. By default found.",
)
flags.DEFINE_string(
    "labels_column",
    None,
    "Column or array of --labels, by name or number; without --labels, of --features.",
)
flags.DEFINE_string(
    "id_column", None, "Column of numbers of --features that is an id and no vector."
)
flags.DEFINE_string("pairs_key", "pairs", "Array of a pairs .npz.")
flags.DEFINE_integer("seed", 0, "Of the sample, of splits and of the bootstrap.")


class Pool(NamedTuple):
    """Features to refine, with the ground truth that only the figures see."""

    name: str  # what the pool is called in the report
    features: Any  # [N, D] float32 unit rows, NumPy's or on the device
    norms: np.ndarray  # [N] float64 lengths of the rows as they were stored
    labels: np.ndarray | None  # [N] identities, or None
    pairs: datasets.Pairs | None  # verification pairs with `same` known, or None
    # [N] what else the file says of the rows, by name.
    columns: Mapping[str, np.ndarray] = {}
    # How it calls the columns of the vectors, or the array.
    vectors: tuple[str, ...] = ("features",)


def load_pool(*, on_device: bool = False) -> Pool:
    """Reads and checks the pool that the flags name, or generates a sample.

    Rows are `on_device` as `rows.place_rows` brings them there.
    """
    if FLAGS.features is None:
        described = (FLAGS.labels, FLAGS.labels_column, FLAGS.pairs)
        if any(name is not None for name in described):
            raise ValueError("--labels and --pairs describe --features; name that too")
        sample = datasets.synthetic_features(seed=FLAGS.seed)
        norms = datasets.check_features(sample.features)
        return Pool("generated", sample.features, norms, sample.labels, None)
    source = open_source()
    stored = source.read(0, source.shape[0])
    if on_device:
        rows, norms = place_rows(stored, name=FLAGS.features)
    else:
        norms = datasets.check_features(stored, name=FLAGS.features)
        rows = unit_rows(stored, norms)
    labels, pairs = read_truth(len(stored), source.columns)
    return Pool(source.name, rows, norms, labels, pairs, *source[2:])


class Source(NamedTuple):
    """Stored features [N, D], of which no row is read yet, and their name."""

    name: str
    stored: np.ndarray | datasets.Shards
    columns: Mapping[str, np.ndarray] = {}
    vectors: tuple[str, ...] = ("features",)

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        rows, columns = self.stored.shape
        return rows, columns

    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads the rows [start, stop) as stored; of shards the hashes are checked."""
        if isinstance(self.stored, datasets.Shards):
            return datasets.read_rows(self.stored, start, stop)
        return self.stored[start:stop]


def is_shards(path: str) -> bool:
    """Tells whether a path is a folder of shards."""
    return pathlib.Path(path, "manifest.json").exists()


def open_source(
    spill: pathlib.Path | None = None, *, given: str | None = None
) -> Source:
    """Opens a file or a folder, by default the one that --features names.

    What cannot be mapped is read into memory, or into a file in the folder `spill`.
    """
    name: str = FLAGS.features if given is None else given
    path = pathlib.Path(name)
    if not is_shards(name):
        table = datasets.read_table(
            path,
            key=FLAGS.features_key,
            dim=FLAGS.dim,
            without=[FLAGS[each].value for each in _NO_VECTORS if each in FLAGS],
            spill=spill,
        )
        datasets.check_matrix(table.features, name=name)
        return Source(path.name, *table)
    shards = datasets.open_shards(path)
    if FLAGS.dim not in (None, shards.shape[1]):
        raise ValueError(
            f"{path}: got rows of {shards.shape[1]} values, expected --dim={FLAGS.dim}"
        )
    return Source(path.name, shards)


def read_column(
    column: str | None, columns: Mapping[str, np.ndarray], flag: str
) -> np.ndarray:
    """Reads labels or the like: from --labels, or without it of the features' columns.

    `flag` names the column in errors.
    """
    if FLAGS.labels is not None:
        return datasets.read_labels(FLAGS.labels, column=column)
    found = own_column(column, columns, flag)
    return datasets.from_column(found, name=f"{FLAGS.features}, {column}")


def own_column(
    column: str | None, columns: Mapping[str, np.ndarray], flag: str
) -> np.ndarray:
    """Returns a column of --features, and refuses a name that it does not have."""
    if column is None or column not in columns:
        raise ValueError(
            f"--{flag}={column}: {FLAGS.features} has no such column beside the "
            f"vectors; it has {', '.join(map(repr, columns)) or 'none'}"
        )
    return columns[column]


def read_truth(
    num_rows: int, columns: Mapping[str, np.ndarray] = {}
) -> tuple[np.ndarray | None, datasets.Pairs | None]:
    """Reads what the flags name: [N] identities, and pairs with `same` known."""
    labels = pairs = None
    if FLAGS.labels is not None or FLAGS.labels_column is not None:
        labels = read_column(FLAGS.labels_column, columns, "labels_column")
        datasets.check_labels(labels, num_rows)
        unknown = num_rows - int(np.sum(datasets.known_identities(labels)))
        if unknown:
            cli.warn(
                f"{unknown} of {num_rows} rows have an unknown identity (-1, blank or "
                "nan); they are refined, and left out of every figure"
            )
    if FLAGS.pairs is not None:
        pairs = datasets.read_pairs(FLAGS.pairs, key=FLAGS.pairs_key)
        pairs = _with_same(pairs, labels, num_rows=num_rows)
    elif labels is not None:
        check_both_kinds(labels)
    return labels, pairs


def _with_same(
    pairs: datasets.Pairs, labels: np.ndarray | None, *, num_rows: int
) -> datasets.Pairs:
    """Decides by the labels which pairs are genuine, where the file does not say.

    Pairs of a row with itself, and of a row of unknown identity, are left out.
    """
    datasets.check_pairs(pairs, num_rows)
    first, second = pairs.indices.T
    stays = first != second
    faults = {"of a row with itself, whose cosine is 1": ~stays}
    if labels is not None:
        known = datasets.known_identities(labels)
        told = known[first] & known[second]
        stays = stays & told
        faults["of a row of unknown identity"] = ~told
    for fault, dropped in faults.items():
        if dropped.any():
            cli.warn(
                f"{np.count_nonzero(dropped)} of {len(first)} pairs are {fault}; they "
                "are left out"
            )
    if not stays.all():
        same = None if pairs.same is None else pairs.same[stays]
        pairs = datasets.Pairs(pairs.indices[stays], same)
    if pairs.same is None:
        if labels is None:
            raise ValueError(
                "the pairs have two columns, i and j, and there are no labels; add a "
                "third column with 1 for a genuine pair and 0 for an impostor pair, or "
                "--labels"
            )
        first, second = pairs.indices.T
        pairs = pairs._replace(same=labels[first] == labels[second])
    datasets.check_pairs(pairs, num_rows)
    return pairs


def check_both_kinds(labels: np.ndarray) -> None:
    """Refuses labels whose known identities make no genuine or no impostor pair."""
    labels = labels[datasets.known_identities(labels)]
    num_identities = len(np.unique(labels))
    if num_identities in (0, 1, len(labels)):
        kind = "impostor" if num_identities == 1 else "genuine"
        raise ValueError(
            f"labels: {len(labels)} rows of {num_identities} identities make no {kind} "
            "pair, and a ROC curve needs both kinds; leave --labels out to refine "
            "without figures"
        )


def say(pool: Pool) -> str:
    """Says in one line what was read."""
    rows, columns = len(pool.norms), pool.features.shape[1]
    scaled = "scaled to" if is_scaled(pool.norms) else "of"
    return f"pool: {rows:,} rows of {columns} values, {scaled} unit length"


def select(pool: Pool, rows: np.ndarray, codes: np.ndarray) -> Pool:
    """Takes the rows where `rows` [N] holds; their `codes` [N] become the labels."""
    check_both_kinds(codes[rows])
    return pool._replace(
        features=pool.features[rows], norms=pool.norms[rows], labels=codes[rows]
    )


def describe(pool: Pool) -> dict[str, Any]:
    """Says of a pool what the report stores."""
    identities = unknown = None
    if pool.labels is not None:
        known = datasets.known_identities(pool.labels)
        identities = len(np.unique(pool.labels[known]))
        unknown = int(np.sum(~known))
    return {
        "name": pool.name,
        "rows": len(pool.features),
        "dimensions": pool.features.shape[1],
        "identities": identities,
        "rows_of_unknown_identity": unknown,
        "listed_pairs": None if pool.pairs is None else len(pool.pairs.indices),
        "norms": outputs.spread(pool.norms),
        "normalized": is_scaled(pool.norms),
    }
