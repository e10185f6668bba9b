"""From the flags of semi_supervised to the options and images of the study."""

import pathlib

from experiments.training import image_sets, pseudo_labeling, recipes, study
from gfa_jax import metrics
from gfa_jax.programs import cli, flags

FLAGS = flags.FLAGS


def read() -> study.Options:
    """Collects the options.

    Raises:
        ValueError: numbers out of their range.
    """
    widths = tuple(cli.numbers("widths", int))
    if min(widths) < 1:
        raise ValueError(f"--widths={','.join(FLAGS.widths)}: expected at least 1 each")
    thresholds, merge_thresholds = (
        tuple(cli.numbers(name, float)) for name in ("thresholds", "merge_thresholds")
    )
    for name, values in (
        ("thresholds", thresholds),
        ("merge_thresholds", merge_thresholds),
    ):
        if not all(-1 <= value <= 1 for value in values):
            raise ValueError(f"--{name} holds {values}; expected cosines in [-1, 1]")
    flip = FLAGS.images is not None if FLAGS.flip is None else FLAGS.flip
    recipe = recipes.Recipe(
        widths=widths,
        flip=flip,
        **{
            name: getattr(FLAGS, name)
            for name in recipes.Recipe._fields
            if name in FLAGS and name not in ("widths", "flip")
        },
    )
    method = pseudo_labeling.Method(
        **{name: getattr(FLAGS, name) for name in pseudo_labeling.Method._fields}
    )
    return study.Options(
        recipe=recipe,
        method=method,
        thresholds=thresholds,
        merge_thresholds=merge_thresholds,
        fprs=metrics.check_targets(cli.numbers("fprs", float)),
        **{
            name: getattr(FLAGS, name)
            for name in (
                "first_steps",
                "second_steps",
                "confidence",
                "min_confidence",
                "min_size",
                "test_share",
                "choosing_share",
                "checkpoint_every",
            )
        },
    )


def shares() -> list[float]:
    """Reads the labelled shares.

    Raises:
        ValueError: a share that leaves nothing labelled or nothing unlabelled.
    """
    values = sorted(set(cli.numbers("shares", float)))
    if not all(0 < value < 1 for value in values):
        raise ValueError(
            f"--shares={','.join(FLAGS.shares)}: expected shares between 0 and 1"
        )
    return values


def seeds() -> list[int]:
    """Reads the seeds.

    Raises:
        ValueError: a negative one.
    """
    values = sorted(set(cli.numbers("seeds", int)))
    if values[0] < 0 or values[-1] >= 2**32:
        raise ValueError(f"--seeds={','.join(FLAGS.seeds)}: expected 0 to 2**32 - 1")
    return values


def load_images() -> image_sets.ImageSet:
    """Reads the images that the flags name, or generates a set.

    Raises:
        ValueError: anything about the files that cannot be used.
    """
    if FLAGS.images is None:
        return image_sets.generate(
            num_identities=FLAGS.identities,
            seed=FLAGS.data_seed,
            progress=cli.progress,
        )
    if pathlib.Path(FLAGS.images).suffix.lower() == ".npz":
        return image_sets.read_array_file(
            FLAGS.images,
            images_key=FLAGS.images_key,
            labels_key=FLAGS.identities_key,
            transpose=FLAGS.transpose,
        )
    return image_sets.read_folder(
        FLAGS.images, size=FLAGS.image_size, progress=cli.progress
    )
