r"""Image search: mAP and CMC of a labelled set that is searched by its own rows.

    python -m experiments.retrieval --features=images.npy --labels=labels.txt
    python -m experiments.retrieval --features=images.npy --labels=labels.txt \
        --queries=queries.txt

Every row is a query, or those whose numbers --queries lists, one a line from 0. A query
searches all rows but itself, the other queries among them; one that is alone in its
class is skipped, and stays in the gallery as a distractor. With --camera_column a match
must be of another camera, or session, as in re-identification. The pool that is refined
is every row. Without --features a sample is generated. --k and --threshold take lists
and sweep their grid. The source is the paper's outlook (§5).
"""

import pathlib

import numpy as np

from experiments.paper import grid, rankings
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs

FLAGS = flags.FLAGS
flags.adopt(grid, *rankings.GRID_FLAGS)
flags.adopt(inputs, "features", "features_key", "dim", "seed")
flags.adopt(inputs, "labels", "labels_column", "id_column")

flags.DEFINE_string(
    "camera_column",
    None,
    "Column of --labels, or without it of --features, of cameras or sessions: a match "
    "must be of another one.",
)
flags.DEFINE_input("queries", None, "Row numbers of the queries: .txt, .npy, .npz.")
flags.DEFINE_string("output_dir", "outputs/retrieval", "Folder of the results.")


def main() -> None:
    """Sweeps the grid over the queries."""
    cli.keep_compiled_programs()
    rankings.run(_load, folder=FLAGS.output_dir)


def _load() -> rankings.Task:
    if FLAGS.features is not None and not (FLAGS.labels or FLAGS.labels_column):
        raise ValueError("--labels is not given; expected the class of every row")
    pool = inputs.load_pool()
    assert pool.labels is not None  # read, or generated
    rows = np.arange(len(pool.features))
    cameras = None
    if FLAGS.camera_column is not None:
        cameras = inputs.read_column(FLAGS.camera_column, pool.columns, "camera_column")
        datasets.check_labels(cameras, len(rows))
    queries = rows if FLAGS.queries is None else _read_queries(len(rows))
    return rankings.Task(
        pool,
        queries,
        rows,
        pool.labels,
        cameras,
        own_rows=queries,
        notes={"classes": len(np.unique(pool.labels))},
    )


def _read_queries(num_rows: int) -> np.ndarray:
    path = pathlib.Path(FLAGS.queries)
    queries = datasets.read_labels(path)
    if queries.dtype.kind not in "iu":
        raise ValueError(f"{path}: got words, expected row numbers from 0")
    outside = (queries < 0) | (queries >= num_rows)
    if outside.any():
        raise ValueError(
            f"{path}: got row {queries[np.argmax(outside)]}, expected 0 to "
            f"{num_rows - 1}"
        )
    if len(np.unique(queries)) < len(queries):
        raise ValueError(f"{path}: a row is listed twice; expected each query once")
    return queries
