r"""YouTube Faces, a video the sum of its frames (paper, §4.4, Tab. 4 and Fig. 12).

    python -m experiments.ytf --features=frames.npy --names=frames.txt \
        --splits=splits.txt

--splits is splits.txt or splits_corrected.txt as distributed. Line i of --names is the
frame of feature row i, "Name/video/7.jpg", in any order and with any folders in front;
where the features are of whole videos already, give each one frame. The frames of a
video are summed as they are stored, then scaled to unit length. Every video of --names
is in the pool that is refined.
"""

import numpy as np

import gfa_jax as gfa
from experiments.paper import grid, pair_lists, paper, protocols, tables
from gfa_jax.programs import cli, flags, inputs, pooled

FLAGS = flags.FLAGS
flags.adopt(grid)
flags.adopt(inputs, "features", "features_key", "dim", "seed")
flags.adopt(pair_lists, "names")

flags.DEFINE_input("splits", None, "YTF's splits.txt or splits_corrected.txt.")
flags.DEFINE_string("output_dir", "outputs/ytf", "Folder of the results.")
flags.require("features", "names", "splits")


def main() -> None:
    """Sweeps the grid of Tab. 4."""
    cli.keep_compiled_programs()
    tables.run(_load, folder=FLAGS.output_dir)


def _load() -> grid.Task:
    protocol = protocols.read_ytf_splits(FLAGS.splits)
    frames = protocols.read_names(FLAGS.names)
    rows = pooled.read_rows(FLAGS.features, len(frames))
    folders = [name.replace("\\", "/").rpartition("/")[0] for name in frames.tolist()]
    videos, segments = np.unique(folders, return_inverse=True)
    templates = gfa.streaming.pool(
        rows,
        segments,
        num_segments=len(videos),
        method="sum",
        progress=cli.progress,
    )
    return pair_lists.from_names(
        pooled.as_pool(templates),
        protocol,
        videos,
        identity=lambda name: pair_lists.folder(name, 1),
        table=paper.YTF,
        notes={"pooling": "sum of the frames as stored", "frames": len(frames)},
    )
