"""Keeps a gallery in a folder: rows come and go, and a new one is looked up.

    gfa gallery create people --features=people.csv
    gfa gallery add    people --features=more.parquet
    gfa gallery remove people --ids=gone.txt
    gfa gallery query  people --features=probes.npy --k=5 --open_set=0.01
    gfa gallery info   people

create refines and clusters a pool as `gfa refine` does, and keeps what that takes; add
and remove change it without a rerun; query shows the nearest rows of each probe, the
cosine of both once refined, the probability that they are the same, and the cluster.
info also says whether the pool has changed so much that a refresh, which measures it
anew, is due. verify reads every file and holds it against its hash.

Ids are texts: the column --id_column, else one called id, name, path or the like; of a
file without columns those of --ids, else the next numbers. A folder holds a whole
gallery at any moment, whatever is killed, and takes one writer at a time.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gfa_jax import datasets
from gfa_jax import gallery as core
from gfa_jax.datasets import formats
from gfa_jax.datasets.formats.table import ID_NAMES
from gfa_jax.datasets.labels import read_lines
from gfa_jax.gallery import lists, store
from gfa_jax.programs import cli, evaluation, flags, inputs

FLAGS = flags.FLAGS
flags.DEFINE_input(
    "features",
    None,
    "Rows to keep or to look up: a file as of gfa refine, or a folder.",
)
flags.DEFINE_string(
    "id_column", None, "Column of the ids. By default one called id, name or the like."
)
flags.adopt(inputs, "features_key", "dim")

_ACTIONS = ("create", "add", "remove", "query", "refresh", "info", "verify")
flags.DEFINE_enum("action", None, _ACTIONS, "What to do; also the first word.")
flags.DEFINE_string("path", None, "Folder of the gallery; also the second word.")
flags.DEFINE_input("ids", None, "Ids, one a row: a .txt, or a column of any format.")
flags.DEFINE_integer("k", 5, "Rows to show of each probe.", lower_bound=1)
flags.DEFINE_float(
    "open_set",
    None,
    "Share of strangers that may be taken for someone (FPIR). A probe whose best score "
    "is not above what such a share has is not known; the gallery itself says, without "
    "labels, where that is.",
    0.0,
    1.0,
)
flags.DEFINE_string("output", None, "Table of the answers of query, by its suffix.")
flags.require("action", "path")
POSITIONAL = ("action", "path")
EVERYDAY = (
    *("action", "path", "features", "ids", "id_column", "k", "open_set", "output"),
)
# What each action reads beside the folder; the first it must.
_ROWS = ("features", "ids", "id_column", "features_key", "dim")
_READS = {
    "create": _ROWS,
    "add": _ROWS,
    "remove": ("ids", "id_column"),
    "query": (*_ROWS, "k", "open_set", "output"),
}


def main() -> None:
    """Does the action, and says what came of it."""
    cli.keep_compiled_programs()
    _check_flags()
    action, path = FLAGS.action, pathlib.Path(FLAGS.path)
    if action == "query":
        _query(store.load(path))
        return
    if action == "create":
        stored = store.create(path, *_read(), progress=cli.progress)
    elif action in ("add", "remove", "refresh"):
        stored = store.change(path, _change(action))
    else:
        stored = store.load(path, whole=action == "verify")
    try:
        print(_say(path, stored))
    except KeyboardInterrupt as stopped:
        if action in ("info", "verify"):
            raise
        raise KeyboardInterrupt(f"generation {stored.number} was saved") from stopped
    if action == "verify":
        print("every file is as it was written")


def _check_flags() -> None:
    """Refuses flags that the action does not read, and asks for what it needs."""
    action = FLAGS.action
    for name in {*_READS["query"]} - {*_READS.get(action, ())}:
        if FLAGS[name].present:
            raise ValueError(f"--{name} is not for gfa gallery {action}; leave it out")
    for name in _READS.get(action, ())[:1]:
        if FLAGS[name].value is None:
            raise ValueError(f"--{name} is missing: the rows to {action}")
    target = "answers.csv" if FLAGS.output is None else FLAGS.output
    if formats.find(pathlib.Path(target), "write").columns != "any":
        raise ValueError(f"--output={target}: expected a format of text, as .csv")
    if os.path.realpath(target) in map(os.path.realpath, flags.inputs().values()):
        raise ValueError(f"--output={target} would replace what is read; name another")


def _change(action: str) -> Callable[[store.Stored], store.Stored]:
    """Reads what is to change, before the gallery is opened."""
    if action == "remove":
        ids = _read_ids()
        return lambda stored: store.remove(stored, ids)
    if action == "add":
        rows, ids = _read()
        return lambda stored: store.add(stored, rows, ids)
    return lambda stored: stored._replace(
        gallery=core.refresh(stored.gallery, progress=cli.progress)
    )


def _read() -> tuple[np.ndarray, list[Any] | None]:
    """Reads --features and the ids of its rows, None where there are none."""
    source = inputs.open_source()
    rows = source.read(0, source.shape[0])
    least = 2 if FLAGS.action == "create" else 1
    datasets.check_features(rows, name=FLAGS.features, least=least)
    if FLAGS.ids is not None:
        ids = _read_ids()
        if len(ids) != len(rows):
            raise ValueError(
                f"--ids={FLAGS.ids}: got {len(ids)} ids, expected {len(rows)}"
            )
        return rows, ids
    if FLAGS.id_column is not None:
        return rows, [*inputs.own_column(FLAGS.id_column, source.columns, "id_column")]
    columns = reversed([*source.columns.items()])
    lower = {name.lower(): ids for name, ids in columns}
    found = next((lower[name] for name in ID_NAMES if name in lower), None)
    return rows, None if found is None else [*found]


def _read_ids() -> list[Any]:
    """Reads --ids as they stand there: "007" is not 7."""
    path = pathlib.Path(FLAGS.ids)
    if path.suffix.lower() == ".txt":
        return read_lines(path)
    return [*datasets.read_column(path, FLAGS.id_column, are_ids=True)]


def _query(stored: store.Stored) -> None:
    """Prints what the probes find, or writes it as a table: a line a row found."""
    held = stored.gallery
    rows, ids = _read()
    k = FLAGS.k if FLAGS["k"].present else min(FLAGS.k, max(held.count, 1))
    found = core.query(held, rows, k=k)
    probes, places = np.nonzero(found.ids >= 0)
    keys = found.ids[probes, places]
    names = [str(each) for each in (range(len(rows)) if ids is None else ids)]
    columns = {
        "probe": np.array(names, object)[probes],
        "rank": places + 1,
        "id": np.array([stored.names[key] for key in keys.tolist()], object),
        "score": found.scores[probes, places],
        "posterior": found.posterior[probes, places],
        "cluster": held.clusters[lists.places(held.ids, keys)],
    }
    said = f"{len(rows):,} probes"
    if FLAGS.open_set is not None:
        least = core.impostor_threshold(held, FLAGS.open_set)
        known = found.scores[:, 0] > least
        columns["known"] = known[probes]
        said += (
            f", {int(known.sum()):,} known: with a score above {least:.4f}, as "
            f"{FLAGS.open_set:g} of strangers have"
        )
    if FLAGS.output is None:
        cells = zip(*([*map(_cell, each)] for each in columns.values()), strict=True)
        print(evaluation.align([[*columns], *cells]))
    else:
        empty = np.empty((len(keys), 0), np.float32)
        datasets.write_table(FLAGS.output, datasets.Table(empty, columns, ()))
        said += f"; {FLAGS.output}: {len(keys):,} rows found"
    print(said)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, np.floating) else str(value)


def _say(path: pathlib.Path, stored: store.Stored) -> str:
    """Says in some lines what a gallery holds."""
    held = stored.gallery
    due = core.drift(held).reasons
    return "\n".join(
        [
            f"{path}: {held.count:,} rows of {held.stages.shape[2]} values in "
            f"{len(np.unique(held.labels)):,} clusters, generation {stored.number}",
            f"settings: K = {held.k + 1}, the row itself counted, T = {held.num_steps}",
            *(f"a refresh is due: {reason}" for reason in due),
        ]
    )
