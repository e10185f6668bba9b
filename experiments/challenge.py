"""The lightweight face recognition challenge (ICCV 2019): what a setting is worth.

TPR at one FPR, over all pairs of the rows and by both readings of which of them are
impostors (see `impostor_readings`). Who is who was never published: a person who knows
names a file.

Importing this module defines the flags.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, evaluation, grid, inputs, paper
from experiments.impostor_readings import ALL_PAIRS, DISTRACTORS, against_distractors
from gfa_jax import datasets, metrics
from gfa_jax.datasets import protocols

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(grid)
for name in ("features", "features_key", "dim", "seed"):
    flags.declare_key_flag(name)
flags.DEFINE_string("filelist", None, "The challenge's list: the order of the rows.")
flags.DEFINE_string(
    "ground_truth", None, "Identity of every row of the list; no figures without."
)
flags.DEFINE_float(
    "fpr",
    None,
    "FPR to report; by default the challenge's, for its whole set.",
    0.0,
    1.0,
)
flags.DEFINE_string("distractor", "-1", "What --ground_truth calls a distractor.")
flags.DEFINE_float(
    "edge_recall",
    None,
    "Search approximately (FAISS) for this share of the edges; exactly without.",
)
flags.DEFINE_integer(
    "tail_size", 2**20, "Impostor pairs to keep one by one.", lower_bound=1
)

# 2.7 GB of genuine pairs at the most; 274,000 images of 5,700 people make 7 million.
_GENUINE_SIZE = 2**26


class Task(NamedTuple):
    """What the challenge asks of a pool of rows.

    Attributes:
        pool: a row an image or a video, without labels.
        table: the paper's figures.
        identities: [N] integers, every distractor one of its own; None where there is
            no ground truth.
        is_distractor: [N] bool.
        counts: what the lists hold beside what was published.
        notes: what else the report says.
    """

    pool: inputs.Pool
    table: paper.Challenge
    identities: np.ndarray | None
    is_distractor: np.ndarray
    counts: tuple[protocols.Count, ...]
    notes: dict[str, Any]


class Row(NamedTuple):
    """The figures of one setting.

    Attributes:
        setting: None for the raw features.
        points: the operating point of each reading; None where the tail is too short.
        report: what the report stores.
    """

    setting: grid.Setting | None
    points: dict[str, metrics.OperatingPoint | None]
    report: dict[str, Any]


def target(table: paper.Challenge) -> float:
    """Returns the FPR to report: of --fpr, else the challenge's."""
    return table.fpr if FLAGS.fpr is None else FLAGS.fpr


def read_ground_truth(num_rows: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Reads who is who, and makes every distractor a person of its own.

    Args:
        num_rows: N rows of the list.

    Returns:
        [N] int64 identities, or None; [N] bool distractors.

    Raises:
        ValueError: another number of rows, no two rows of one person, no two people.
    """
    if FLAGS.ground_truth is None:
        return None, np.zeros(num_rows, bool)
    labels = datasets.read_labels(FLAGS.ground_truth)
    datasets.check_labels(labels, num_rows)
    codes, classes = datasets.encode_labels(labels)
    is_distractor = (classes.astype(str) == FLAGS.distractor)[codes]
    identities = codes.astype(np.int64)
    identities[is_distractor] = len(classes) + np.arange(is_distractor.sum())
    inputs.check_both_kinds(identities)
    return identities, is_distractor


def count_truth(
    identities: np.ndarray | None, is_distractor: np.ndarray
) -> tuple[protocols.Count, ...]:
    """Counts the ground truth; the published numbers are round ones."""
    if identities is None:
        return ()
    known = identities[~is_distractor]
    return (
        protocols.Count("rows of the ground truth", len(known), None),
        protocols.Count("identities", len(np.unique(known)), None),
        protocols.Count("distractors", int(is_distractor.sum()), None),
    )


def search(
    pool: inputs.Pool, settings: list[grid.Setting]
) -> tuple[gfa.Neighbors, gfa.Calibration | None]:
    """Searches the candidates of every setting at once, as --edge_recall says."""
    if FLAGS.edge_recall is None:
        return grid.search(pool, settings), None
    found, calibration = gfa.approximate_neighbors(
        pool.features,
        k=max(setting.k for setting in settings),
        edge_recall=FLAGS.edge_recall,
        threshold=min(setting.threshold for setting in settings),
        include_self=FLAGS.include_self,
        progress=cli.progress,
    )
    return jax.tree.map(jnp.asarray, found), calibration


def measure(task: Task, setting: grid.Setting | None, features: np.ndarray) -> Row:
    """Measures one set of features over all pairs, by both readings.

    Args:
        task: with identities.
        setting: what made the features; None for the raw ones.
        features: [N, D] unit rows.

    Returns:
        Row; without distractors the second reading is left out.
    """
    assert task.identities is not None  # the caller measures known rows only
    result = evaluation.measure_all_pairs(
        features,
        task.identities,
        tail_size=FLAGS.tail_size,
        genuine_size=_GENUINE_SIZE,
        progress=cli.progress,
    )
    verification = evaluation.verify_all_pairs(
        result,
        fprs=(target(task.table),),
        rule=FLAGS.rule,
        num_resamples=FLAGS.resamples,
        seed=FLAGS.seed,
    )
    points: dict[str, metrics.OperatingPoint | None] = {
        ALL_PAIRS: verification.points[0]
    }
    figures: dict[str, Any] = {ALL_PAIRS: evaluation.as_report(verification)}
    if task.is_distractor.any():
        point = against_distractors(
            result, task.is_distractor, fpr=target(task.table), rule=FLAGS.rule
        )
        if point is None:
            cli.warn(
                f"the {result.impostor_tail.scores.size:,} impostor pairs kept hold "
                f"too few with one distractor for FPR {target(task.table):.0e}; give a "
                "larger --tail_size"
            )
        points[DISTRACTORS] = point
        figures[DISTRACTORS] = None
        if point is not None:
            threshold = point.threshold if math.isfinite(point.threshold) else None
            known = {"threshold": threshold, "reliable": point.is_reliable}
            figures[DISTRACTORS] = point._asdict() | known
    return Row(setting, points, figures)
