"""The lightweight face recognition challenge (ICCV 2019): what a setting is worth.

TPR at one FPR, over all pairs of the rows and by both readings of which of them are
impostors (see `impostor_readings`). Who is who was never published: a person who knows
names a file.

Importing this module defines the flags.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.paper import grid, paper, protocols
from experiments.paper.impostor_readings import (
    ALL_PAIRS,
    DISTRACTORS,
    against_distractors,
    resample_distractors,
)
from gfa_jax import datasets, metrics, sharding
from gfa_jax.programs import cli, evaluation, flags, inputs

FLAGS = flags.FLAGS
flags.adopt(grid)
flags.adopt(inputs, "features", "features_key", "dim", "seed")
flags.DEFINE_input("filelist", None, "The challenge's list: the order of the rows.")
flags.DEFINE_input(
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
flags.DEFINE_integer(
    "tail_size", 2**20, "Impostor pairs to keep one by one.", lower_bound=1
)

# 2.7 GB of genuine pairs at the most; 274,000 images of 5,700 people make 7 million.
_GENUINE_SIZE = 2**26


class Task(NamedTuple):
    """What the challenge asks of a pool of rows."""

    pool: inputs.Pool  # a row an image or a video, without labels
    table: paper.Challenge  # the paper's figures
    # [N] integers, every distractor one of its own; None where there is no ground
    # truth.
    identities: np.ndarray | None
    is_distractor: np.ndarray  # [N] bool
    counts: tuple[protocols.Count, ...]  # what the lists hold beside what was published
    notes: dict[str, Any]  # what else the report says


class Row(NamedTuple):
    """The figures of one setting."""

    setting: grid.Setting | None  # None for the raw features
    # The operating point of each reading; None where the tail is too short.
    points: dict[str, metrics.OperatingPoint | None]
    # The draws behind the intervals of each reading, where there are any.
    resampled: dict[str, metrics.ResampledTprs]
    # Of each reading over the raw features; none for these themselves.
    gains: dict[str, evaluation.Gain]
    roc: metrics.Roc  # over all pairs, thinned to what a figure shows
    report: dict[str, Any]  # what the report stores


def target(table: paper.Challenge) -> float:
    """Returns the FPR to report: --fpr, else that of the challenge."""
    return table.fpr if FLAGS.fpr is None else FLAGS.fpr


def read_ground_truth(num_rows: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Reads --ground_truth: [N] identities, or None, and [N] bool distractors.

    Every distractor is an identity of its own.
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


def measure(
    task: Task,
    setting: grid.Setting | None,
    features: np.ndarray,
    *,
    before: Row | None = None,
) -> Row:
    """Measures [N, D] unit rows over all pairs, by both readings.

    Without distractors the second reading is left out; `before` are the raw features,
    to bound the gains.
    """
    assert task.identities is not None  # the caller measures known rows only
    result = measure_all_pairs(features, task.identities)
    fpr = target(task.table)
    draws = {"num_resamples": FLAGS.resamples, "seed": FLAGS.seed}
    found = evaluation.verify_all_pairs(result, fprs=(fpr,), rule=FLAGS.rule, **draws)
    points: dict[str, metrics.OperatingPoint | None] = {ALL_PAIRS: found.points[0]}
    resampled = {ALL_PAIRS: found.resampled}
    figures: dict[str, Any] = {ALL_PAIRS: evaluation.as_report(found)}
    if task.is_distractor.any():
        points[DISTRACTORS] = against_distractors(
            result, task.is_distractor, fpr=fpr, rule=FLAGS.rule
        )
        figures[DISTRACTORS] = None
        if (point := points[DISTRACTORS]) is None:
            cli.warn(
                f"the {result.impostor_tail.scores.size:,} impostor pairs kept hold "
                f"too few with one distractor for FPR {fpr:.0e}; give a larger "
                "--tail_size"
            )
        else:
            threshold = point.threshold if math.isfinite(point.threshold) else None
            known = {"threshold": threshold, "reliable": point.is_reliable}
            figures[DISTRACTORS] = point._asdict() | known
            if FLAGS.resamples:
                resampled[DISTRACTORS] = resample_distractors(
                    result, task.is_distractor, fpr=fpr, **draws
                )
    gains = {}
    for name, draw in resampled.items():
        point = points[name]
        old = before.points[name] if before is not None else None
        entry = figures[name]["tpr_at_fpr"][0] if name == ALL_PAIRS else figures[name]
        if draw is not None:
            (interval,) = metrics.tpr_intervals(draw)
            entry["interval"] = evaluation.bounds(interval)
        if point is not None and old is not None and before is not None:
            (gains[name],) = evaluation.compare(
                [old], [point], before.resampled.get(name), draw
            )
            entry["gain"] = gains[name].gain
            entry["gain_interval"] = [gains[name].lower, gains[name].upper]
    # The curve has a million points and more.
    return Row(
        setting,
        points,
        {name: draw for name, draw in resampled.items() if draw is not None},
        gains,
        grid.thin(found.roc),
        figures,
    )


def measure_all_pairs(features: np.ndarray, identities: np.ndarray) -> metrics.AllPairs:
    """Measures all pairs on every device, each with its share of the tiles."""
    options: dict[str, Any] = {
        "tail_size": FLAGS.tail_size,
        "genuine_size": _GENUINE_SIZE,
        "progress": cli.progress,
    }
    if jax.device_count() == 1:
        return evaluation.measure_all_pairs(features, identities, **options)
    return sharding.all_pairs_roc(
        features, identities, mesh=sharding.row_mesh(), **options
    )
