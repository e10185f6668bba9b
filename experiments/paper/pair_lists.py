"""Tasks over a list of pairs: of named images, or of row numbers in an array.

Importing this module defines the flags that say which rows a list means.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.paper import grid, paper, protocols, tables
from experiments.paper.protocols.counts import count_pairs
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs

FLAGS = flags.FLAGS
flags.adopt(inputs)
flags.adopt(grid)
flags.DEFINE_input("protocol", None, "Pairs as distributed; needs --names.")
flags.DEFINE_input(
    "names", None, "Text, a line a feature row: the image that it is, with its folders."
)
flags.DEFINE_string("folds_key", None, "Array of the --pairs .npz, fold of each pair.")


def run(
    read: Callable[[str], protocols.PairList],
    *,
    depth: int,
    table: paper.Table,
    pairs_a_kind: int,
) -> None:
    """Sweeps the grid of a table over --features, with --protocol or --pairs.

    `read` reads --protocol, in which a person is `depth` folders above an image.
    """
    cli.keep_compiled_programs()
    tables.run(
        lambda: load(
            FLAGS.protocol,
            read,
            identity=lambda name: folder(name, depth),
            table=table,
            pairs_a_kind=pairs_a_kind,
        ),
        folder=FLAGS.output_dir,
    )


def load(
    protocol: str | None,
    read: Callable[[str], protocols.PairList],
    *,
    identity: Callable[[str], str],
    table: paper.Table,
    pairs_a_kind: int,
) -> grid.Task:
    """Loads --features with either the protocol as distributed or --pairs.

    `identity` takes the name of an image and gives the person's; `pairs_a_kind` is the
    published number of genuine, and of impostor, pairs.
    """
    if (protocol is None) == (FLAGS.pairs is None):
        raise ValueError("name one of --protocol, with --names, and --pairs")
    pool = inputs.load_pool()
    if protocol is not None:
        if FLAGS.names is None:
            raise ValueError("--protocol names images; tell each row's with --names")
        names = protocols.read_names(FLAGS.names)
        if len(names) != len(pool.features):
            raise ValueError(
                f"{FLAGS.names}: got {len(names)} names, expected "
                f"{len(pool.features)}, one a feature row"
            )
        return from_names(pool, read(protocol), names, identity=identity, table=table)
    assert pool.pairs is not None  # load_pool read --pairs
    same = pool.pairs.same
    assert same is not None  # load_pool decides it
    folds = None
    if FLAGS.folds_key is not None:
        folds = datasets.read_array(FLAGS.pairs, key=FLAGS.folds_key)
        if folds.shape != same.shape:
            raise ValueError(
                f"{FLAGS.pairs}: {FLAGS.folds_key} has shape {folds.shape}, expected "
                f"({len(same)},), a fold a pair"
            )
    kinds = {"genuine": pairs_a_kind, "impostor": pairs_a_kind}
    counts = count_pairs(same, total=2 * pairs_a_kind, **kinds)
    return grid.Task(with_labels(pool, pool.labels), table, counts, folds)


def from_names(
    pool: inputs.Pool,
    protocol: protocols.PairList,
    row_names: Sequence[str] | np.ndarray,
    *,
    identity: Callable[[str], str],
    table: paper.Table,
    notes: dict[str, Any] | None = None,
) -> grid.Task:
    """Joins a pool and a protocol by the names of the rows.

    Rows that the protocol does not name stay in the pool.
    """
    rows = protocols.match_names(protocol.names, row_names)
    pairs = datasets.Pairs(rows[protocol.pairs.indices], protocol.pairs.same)
    datasets.check_pairs(pairs, len(pool.features))
    people = np.array([identity(name) for name in protocol.names.tolist()])
    labels = np.full(len(pool.features), "", people.dtype)
    labels[rows] = people
    pool = with_labels(pool._replace(pairs=pairs), labels)
    return grid.Task(pool, table, protocol.counts, protocol.folds, notes)


def with_labels(pool: inputs.Pool, labels: np.ndarray | None) -> inputs.Pool:
    """Gives a pool its identities, [N] or None, unless they contradict its pairs."""
    assert pool.pairs is not None
    if labels is not None:
        first, second = labels[pool.pairs.indices].T
        wrong = int(np.count_nonzero((first == second) != pool.pairs.same))
        if wrong:
            cli.warn(
                f"{wrong} of {len(first)} pairs contradict the identities; no "
                "bootstrap intervals"
            )
            labels = None
    return pool._replace(labels=labels)


def link_genuine(pairs: datasets.Pairs, num_rows: int) -> np.ndarray:
    """Infers [N] identities: rows that genuine pairs link, in any steps, are one."""
    import scipy.sparse

    assert pairs.same is not None
    first, second = pairs.indices[pairs.same].T
    graph = scipy.sparse.coo_array(
        (np.ones(len(first), np.bool_), (first, second)), (num_rows, num_rows)
    )
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def folder(name: str, depth: int) -> str:
    """Takes the folder of a file, `depth` steps up: the person, in most sets."""
    return pathlib.PurePosixPath(name.replace("\\", "/")).parts[-1 - depth]
