r"""Market-1501: CMC and mAP of a person search (the paper's outlook, §5).

    python -m experiments.market1501 --query=query.npy --query_names=query \
        --gallery=gallery.npy --gallery_names=bounding_box_test

The names are a folder as it was distributed, whose .jpg files in ascending order are
the feature rows, or a text file with one name a line. Identity and camera are in the
names. Bad detections (−1) are left out of every ranking, distractors (0) never match,
and a query is not compared with the images of its own camera.

The pool that is refined is every row of both files, bad detections among them: which
images are bad is known from the labels alone, and the aggregation sees no label.
--k and --threshold take lists and sweep their grid.
"""

import pathlib

import numpy as np

from experiments.paper import grid, protocols, rankings
from experiments.paper.protocols import MarketImages
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs, pooled

FLAGS = flags.FLAGS
flags.adopt(grid, *rankings.GRID_FLAGS)
flags.adopt(inputs, "features_key", "dim", "seed")

flags.DEFINE_input("query", None, "Features of the queries.")
flags.DEFINE_input("gallery", None, "Features of the gallery.")
flags.DEFINE_input("query_names", None, "Folder `query`, or a list of names.")
flags.DEFINE_input(
    "gallery_names", None, "Folder `bounding_box_test`, or a list of names."
)
flags.DEFINE_string("output_dir", "outputs/market1501", "Folder of the results.")
flags.require("query", "gallery", "query_names", "gallery_names")

_BAD = "bad detections left out"


def main() -> None:
    """Sweeps the grid over Market-1501's queries."""
    cli.keep_compiled_programs()
    rankings.run(_load, folder=FLAGS.output_dir)


def _load() -> rankings.Task:
    query = protocols.read_market(FLAGS.query_names, subset="query")
    gallery = protocols.read_market(FLAGS.gallery_names, subset="gallery")
    stored = [
        pooled.read_rows(path, _num_names(images))
        for path, images in ((FLAGS.query, query), (FLAGS.gallery, gallery))
    ]
    if stored[0].shape[1] != stored[1].shape[1]:
        raise ValueError(
            f"{FLAGS.query} has {stored[0].shape[1]} columns and {FLAGS.gallery} "
            f"{stored[1].shape[1]}; expected features of one network"
        )
    norms = [datasets.check_features(rows) for rows in stored]
    features = np.concatenate(
        [inputs.unit_rows(*each) for each in zip(stored, norms, strict=True)]
    )
    first = len(stored[0])
    rows = {"query": query.rows, "gallery": first + gallery.rows}
    # A row that no list keeps is never ranked; its identity is not read.
    identities, cameras = np.full((2, len(features)), -1)
    for images, places in zip((query, gallery), rows.values(), strict=True):
        identities[places], cameras[places] = images.identities, images.cameras
    # No query's match, not even of a query that is a distractor itself.
    identities[rows["gallery"][gallery.identities == 0]] = -2
    counts = tuple(
        count._replace(name=f"{subset} {count.name}")
        for subset, images in (("query", query), ("gallery", gallery))
        for count in images.counts
    )
    files = (pathlib.Path(path).name for path in (FLAGS.query, FLAGS.gallery))
    name = f"{' and '.join(files)}, every row"
    return rankings.Task(
        inputs.Pool(name, features, np.concatenate(norms), None, None),
        rows["query"],
        rows["gallery"],
        identities,
        cameras,
        counts=counts,
        notes={"rows": {"query": first, "gallery": len(stored[1])}},
    )


def _num_names(images: MarketImages) -> int:
    """Counts the names that were read, bad detections included."""
    left_out = {count.name: count.found for count in images.counts}[_BAD]
    return len(images.rows) + left_out
