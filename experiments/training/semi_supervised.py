"""Trains on few labelled identities, and on clusters of the rest (paper, section 4.6).

    python -m experiments.semi_supervised
    python -m experiments.semi_supervised --shares=.1,.25,.5,.75         # Fig. 13
    python -m experiments.semi_supervised --images=FOLDER                # person/image

For every seed and share: a network learns the labelled identities, the features of
the unlabelled images are refined and clustered, the clusters become classes, and the
network learns both; beside it the lower bound (labels alone), the upper bound (all
labels) and clusters of raw features. Written to --output_dir: table.txt,
semi_supervised.png and report.json. What is trained is kept in --checkpoint_dir: the
same command after a kill goes on where it was, and refuses checkpoints of other
options. Without --images a set of heads is generated.
"""

import pathlib

from gfa_jax import datasets
from gfa_jax.programs import cli, flags, outputs

FLAGS = flags.FLAGS
_OUTPUTS = ("table.txt", "semi_supervised.png", "report.json")

flags.DEFINE_string("output_dir", "outputs/semi_supervised", "Folder of the results.")
flags.DEFINE_string(
    "checkpoint_dir", None, "What is trained; OUTPUT_DIR/checkpoints by default."
)
flags.DEFINE_input(
    "images", None, "FOLDER/person/image, or a .npz of uint8 images and labels."
)
flags.DEFINE_integer("image_size", 32, "Pixels a side of the images of a folder.", 8)
flags.DEFINE_string("images_key", "images", "Array of the images in a .npz.")
flags.DEFINE_string("identities_key", "labels", "Array of the identities in a .npz.")
flags.DEFINE_bool("transpose", False, "Whether a .npz holds images column by column.")
flags.DEFINE_integer("identities", 600, "Of the generated set.", lower_bound=2)
flags.DEFINE_integer("data_seed", 0, "Of the generated set.", lower_bound=0)

flags.DEFINE_list("shares", ["0.5"], "Labelled shares of the training identities.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Of cut, weights and batches: a run each.")
flags.DEFINE_float("test_share", 0.3, "Identities that only test.", 0.0, 1.0)
flags.DEFINE_float(
    "choosing_share", 0.25, "Of the labelled identities, to choose t and t_s.", 0.0, 1.0
)
flags.DEFINE_list("fprs", ["1e-4", "1e-3"], "FPRs to report.")

flags.DEFINE_enum(
    "network", "residual", ["residual", "resnet_se", "efficient"], "Block."
)
flags.DEFINE_list("widths", ["16", "32", "64"], "Channels of each stage.")
flags.DEFINE_integer("depth", 1, "Blocks of a stage.", lower_bound=1)
flags.DEFINE_integer("embedding_dim", 64, "Length of a feature.", lower_bound=2)
flags.DEFINE_enum("head", "arcface", ["arcface", "cosface"], "Margin of the loss.")
flags.DEFINE_float("scale", 64.0, "s of the head.", lower_bound=0.0)
flags.DEFINE_float("margin", 0.5, "m of the head.", 0.0, 3.14)
flags.DEFINE_integer("first_steps", 800, "Batches of a first training.", 1)
flags.DEFINE_integer("second_steps", 800, "Batches of a second training.", 1)
flags.DEFINE_integer("batch_size", 64, "Images of a batch.", lower_bound=2)
flags.DEFINE_float("learning_rate", 0.1, "At the start of a training.", 0.0)
flags.DEFINE_float("weight_decay", 5e-4, "Of all weights.", lower_bound=0.0)
flags.DEFINE_bool("balance", False, "Whether every class weighs the same.")
flags.DEFINE_bool("flip", None, "Mirror images; by default unless they are generated.")
flags.DEFINE_integer("max_shift", 1, "Most pixels of a shift.", lower_bound=0)
flags.DEFINE_float("brightness", 0.1, "Most change of gain and offset.", 0.0, 0.99)
flags.DEFINE_integer("checkpoint_every", 200, "Steps.", lower_bound=1)

flags.DEFINE_enum("preset", "affinity", ["paper", "affinity"], "Of the updates.")
flags.DEFINE_integer("k", 15, "Neighbours a row, the row itself counted.", 2)
flags.DEFINE_float("gamma", 0.5, "Step towards the pseudo-center.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=1)
flags.DEFINE_list("thresholds", ["0.2", "0.3", "0.4", "0.5", "0.6"], "t to try.")
flags.DEFINE_list(
    "merge_thresholds",
    ["0.5", "0.6", "0.7", "0.75", "0.8", "0.85", "0.9", "0.93", "0.96", "0.98"],
    "t_s to try with each t.",
)
flags.DEFINE_integer("max_size", None, "Cut larger clusters at higher thresholds.", 1)
flags.DEFINE_integer("min_size", 2, "Least images of a cluster to learn from.", 1)
flags.DEFINE_enum(
    "confidence",
    "none",
    ["none", "weight", "drop"],
    "Samples that their cluster doubts: as others, by weight, or dropped.",
)
flags.DEFINE_float("min_confidence", 0.3, "Below it, a sample is dropped.", 0.0, 1.0)


def main() -> None:
    """Reads, runs the study, writes."""
    # flax and optax are imported only here, so that their absence is one line.
    from experiments.training import flag_options, image_sets, study, tables

    cli.keep_compiled_programs()
    stages = cli.Stages()
    with stages("load"):
        options = flag_options.read()
        shares = flag_options.shares()
        seeds = flag_options.seeds()
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
        checkpoints = pathlib.Path(FLAGS.checkpoint_dir or folder / "checkpoints")
        outputs.prepare_folder(str(checkpoints), ())
        images = flag_options.load_images()
    for trouble in image_sets.troubles(images):
        cli.warn(trouble)
    with stages("study"):
        rows = study.run(
            images,
            options,
            shares=shares,
            seeds=seeds,
            folder=checkpoints,
            progress=cli.progress,
            say=print,
        )
    text = "\n".join([tables.render(rows), *tables.verdict(rows)])
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "table.txt", text + "\n")
        tables.draw(rows).savefig(hidden / "semi_supervised.png", dpi=150)
        report = {
            "images": image_sets.describe(images),
            "rows": [tables.as_report(row) for row in rows],
            "summary": tables.summary(rows),
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(text)
    print(f"the table, the figure and report.json are in {folder}")
