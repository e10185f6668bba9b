r"""iQIYI-VID, 6.3 million frames of 203,848 videos (paper, §4.5, Tab. 5): FPR 1e-4.

    python -m experiments.iqiyi --features=frames.bin --frames=frames.txt \
        --filelist=video_filelist.txt --ground_truth=identities.txt

Line i of --frames is the frame of feature row i, "video/frame.jpg", in any order and
with any folders in front; --filelist is the challenge's list, a video a line.
--ground_truth, which was never public, has an identity a line in the order of the
videos, -1 (or --distractor) for a distractor; without it the videos are pooled,
refined and written all the same. submission.bin is in the challenge's format.

A video is the sum of the directions of its frames, each weighted by the power p = 3.6
of its length: our reading of "features L - norm where L is chosen to be 3.6". So the
frames must come as the network gives them, not normalised. --power=0 is the pooling of
the challenge's own baseline. The frames are streamed; the pool that is refined is
every video.
"""

import pathlib

import gfa_jax as gfa
from experiments.paper import challenge, challenge_tables, paper, protocols
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, pooled

FLAGS = flags.FLAGS
flags.adopt(challenge)
flags.DEFINE_input("frames", None, "Text, a line a feature row: video/frame.jpg.")
flags.DEFINE_float("power", 3.6, "Power p of a frame's length.", lower_bound=0.0)
flags.DEFINE_string("output_dir", "outputs/iqiyi", "Folder of the results.")
flags.require("features", "frames", "filelist")

_LOOKED_AT = 8192


def main() -> None:
    """Pools the frames, measures the setting of Tab. 5 and writes the submission."""
    cli.keep_compiled_programs()
    challenge_tables.run(_load, folder=FLAGS.output_dir)


def _load() -> challenge.Task:
    videos = protocols.read_lfr_filelist(FLAGS.filelist, track="video")
    truth = challenge.read_ground_truth(len(videos.names))
    frames = protocols.read_names(FLAGS.frames)
    rows = pooled.read_rows(FLAGS.features, len(frames))
    if FLAGS.power:
        norms = datasets.check_features(rows[:_LOOKED_AT], allow_zero=True)
        pooled.warn_of_unit_frames(norms[norms > 0], effect="--power weighs nothing")
    templates = gfa.streaming.pool(
        rows,
        protocols.match_folders(frames, videos.names),
        num_segments=len(videos.names),
        method="norm_power",
        power=FLAGS.power,
        progress=cli.progress,
    )
    pool = pooled.as_pool(templates)
    frame_count = protocols.Count("frames", len(frames), None)
    return challenge.Task(
        pool._replace(name=f"videos of {pathlib.Path(FLAGS.features).name}, every one"),
        paper.IQIYI,
        *truth,
        (*videos.counts, frame_count, *challenge.count_truth(*truth)),
        {"pooling": "norm_power", "power": FLAGS.power, "frames": len(frames)},
    )
