"""What `tune` learns from: a half of the identities, its pairs, and its score.

The score is the TPR over all pairs, in the mean over five FPRs around the one to learn
for, since at one FPR the TPR hangs on the few pairs of two or three people. The same
evaluation lists the impostor pairs that score highest in the features as they are
refined now, and the loss compares the genuine pairs with those around the rank that the
FPR lets pass.
"""

from typing import NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import metrics
from gfa_jax.programs import cli, evaluation, flags, halves, inputs, pooled
from gfa_jax.selection import WIDTH
from gfa_jax.tuning import Frames, Validation

FLAGS = flags.FLAGS

# Multiples of the FPR to learn for: where the score takes the TPR, and the ranks of
# impostor pairs that the loss compares with, which are listed.
_AROUND = (0.25, 0.5, 1.0, 2.0, 4.0)
_BAND = (0.25, 4.0)
_LEAST_LISTED = 64
# Genuine pairs that are kept; a batch draws from them.
_GENUINE_PAIRS = 200_000


class Problem(NamedTuple):
    """The half to learn on."""

    # [N, D] unit rows, or the frames that they are pooled from.
    features: np.ndarray | Frames
    labels: np.ndarray  # [N] identity of each row
    neighbors: gfa.Neighbors  # [N, K] candidates in it
    teaches: np.ndarray  # [N] bool, rows of the identities whose pairs teach
    chooses: np.ndarray  # [N] bool, rows of those whose pairs choose the step


def split(
    pool: inputs.Pool, frames: Frames | None
) -> tuple[Problem, inputs.Pool, Frames | None]:
    """Cuts a pool by identity, and searches the half to learn on.

    With --held_out that share of the identities of the first half chooses the step and
    does not teach; without, all do both. Gives the half to learn on, the half to report
    on, and the frames of that, where the power is learnt too.

    Raises:
        ValueError: a pool without identities, a part without both kinds of pairs, K
            that a half is too small for.
    """
    learning, reported = halves.split(pool, seed=FLAGS.seed)
    for each in (learning, reported):
        gfa.neighbors.check_k(FLAGS.k, len(each.features))
    codes, order = halves.shuffle_identities(pool, seed=FLAGS.seed)
    half = len(order) // 2
    labels = learning.labels
    assert labels is not None  # a half has them
    teaches = np.isin(labels, order[: half - round(half * FLAGS.held_out)])
    chooses = ~teaches if FLAGS.held_out else teaches
    for part in (teaches, chooses):
        inputs.check_both_kinds(labels[part])
    neighbors = search(learning.features)
    features = learning.features
    if frames is not None:
        learns = np.isin(codes, order[:half])
        features = pooled.select_frames(frames, learns)
        frames = pooled.select_frames(frames, np.isin(codes, order[half:]))
    return Problem(features, labels, neighbors, teaches, chooses), reported, frames


def search(features: np.ndarray) -> gfa.Neighbors:
    """Searches --k candidates, or takes the first of those that the pool chooses."""
    width = FLAGS.k
    if FLAGS.chosen_edges:
        width = max(width, min(WIDTH, len(features) - 1))
    neighbors = gfa.exact_neighbors(features, k=width, progress=cli.progress)
    if FLAGS.chosen_edges:
        neighbors = gfa.choose_settings(features, neighbors).neighbors
    return neighbors.first(FLAGS.k)


def band(problem: Problem) -> tuple[float, float]:
    """Returns the band of shares of the listed pairs that the loss compares with."""
    passing, listed = _count_passing(problem, problem.teaches)
    low, high = (share * passing / listed for share in _BAND)
    return low, min(high, 1.0)


def training_pairs(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Lists the genuine pairs that teach, some by --seed where they are very many.

    Returns:
        [G + 1, 2] int32 rows of the half, an impostor pair the last: the evaluation of
        a start lists the others. [G + 1] bool, True for genuine.

    Raises:
        ValueError: none is genuine, since every identity is too large.
    """
    rows = np.flatnonzero(problem.teaches)
    rows = rows[np.argsort(problem.labels[rows], kind="stable")]
    _, sizes = np.unique(problem.labels[rows], return_counts=True)
    lists = []
    for members in np.split(rows, np.cumsum(sizes)[:-1]):
        if FLAGS.max_images is None or len(members) <= FLAGS.max_images:
            lists.append(members[np.stack(np.triu_indices(len(members), 1), axis=1)])
    pairs = np.concatenate([np.empty((0, 2), int), *lists]).astype(np.int32)
    if not len(pairs):
        raise ValueError("no genuine pair teaches; give --max_images a larger number")
    pairs = np.random.default_rng(FLAGS.seed).permutation(pairs)[:_GENUINE_PAIRS]
    pairs = np.concatenate([pairs, _any_impostor(problem, problem.teaches)])
    return pairs, np.arange(len(pairs)) < len(pairs) - 1


def validate(problem: Problem, refined: np.ndarray) -> Validation:
    """Scores refined rows [N, D] of the half.

    Returns:
        Validation: the mean TPR of the identities that choose; the impostor pairs
        that score highest, of those that teach.
    """
    result = _evaluate(problem, refined, problem.teaches)
    if not np.array_equal(problem.teaches, problem.chooses):
        return result._replace(score=_evaluate(problem, refined, problem.chooses).score)
    return result


def separating_threshold(problem: Problem) -> float:
    """Finds t that misjudges the fewest candidates of the rows that teach.

    t = argmin #{genuine with A <= t} + #{impostor with A > t}, of distinct rows.
    """
    indices, similarity = (np.asarray(column) for column in problem.neighbors)
    rows, slots = np.nonzero(indices >= 0)
    others = indices[rows, slots]
    kept = problem.teaches[rows] & problem.teaches[others] & (rows != others)
    cosines = similarity[rows[kept], slots[kept]]
    order = np.argsort(cosines)
    same = (problem.labels[rows[kept]] == problem.labels[others[kept]])[order]
    # Above all of them lie none of the first n.
    errors = np.cumsum(np.append(np.count_nonzero(~same), np.where(same, 1, -1)))
    ascending = np.concatenate([[-1.0], cosines[order]])
    return float(np.clip(ascending[np.argmin(errors)], -1.0, 0.99))


def _evaluate(problem: Problem, refined: np.ndarray, part: np.ndarray) -> Validation:
    """Measures all pairs of some rows: the score, and its best-scoring impostors."""
    members = np.flatnonzero(part)
    _, listed = _count_passing(problem, part)
    result = evaluation.measure_all_pairs(
        refined[members],
        problem.labels[members],
        max_images=FLAGS.max_images,
        tail_size=listed,
    )
    # Of equal scores at its end the tail has none; as many pairs compile nothing new.
    tail = members[result.impostor_tail.rows]
    tail = np.resize(tail if len(tail) else _any_impostor(problem, part), (listed, 2))
    fprs = [min(FLAGS.fpr * multiple, 1.0) for multiple in _AROUND]
    tprs = [point.tpr for point in metrics.tpr_at_fpr(result.roc, fprs)]
    return Validation(float(np.mean(tprs)), tail.astype(np.int32))


def _any_impostor(problem: Problem, part: np.ndarray) -> np.ndarray:
    """Finds one impostor pair of some rows: [1, 2]."""
    rows = np.flatnonzero(part)
    labels = problem.labels[rows]
    return np.array([[rows[0], rows[np.argmax(labels != labels[0])]]], np.int32)


def _count_passing(problem: Problem, part: np.ndarray) -> tuple[float, int]:
    """Counts the impostor pairs that the FPR lets pass, and those to list."""
    _, sizes = np.unique(problem.labels[part], return_counts=True)
    passing = FLAGS.fpr * ((int(sizes.sum()) ** 2 - int(np.sum(sizes**2))) // 2)
    return passing, max(_LEAST_LISTED, round(_BAND[1] * passing))
