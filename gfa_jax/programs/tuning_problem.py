"""What `tune` learns from: a half of the identities, its pairs, and its score.

The score is the TPR over all pairs, not a proxy of it: on the sizes at hand a look at
all pairs costs as much as a few steps. It is the mean over five FPRs around the one to
learn for, since at one FPR the TPR hangs on few pairs, those of two or three people,
and what is chosen by it does worse on others. The same look lists the impostor pairs
that score highest in the features as they are refined now, and the loss compares the
genuine pairs with those around the rank that the FPR lets pass.

Junk is isolated as `refine` does it, and K is at least what the half suggests.
"""

from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import metrics
from gfa_jax.programs import cli, evaluation, halves, inputs, pooled
from gfa_jax.selection import thresholds
from gfa_jax.tuning import Validation
from gfa_jax.tuning.frames import Frames

# Multiples of the FPR to learn for: where the score takes the TPR, and the ranks of
# impostor pairs that the loss compares with, which are listed.
_AROUND = (0.25, 0.5, 1.0, 2.0, 4.0)
_BAND = (0.25, 4.0)
_LEAST_LISTED = 64
# As `refine` has it where nothing is suggested.
_LEAST_K = 15
# Genuine pairs that are kept; a batch draws from them.
_GENUINE_PAIRS = 200_000


class Problem(NamedTuple):
    """The half to learn on.

    Attributes:
        pool: the half.
        candidates: [N, W] candidates in it, W >= K.
        neighbors: [N, K] the nearest of them, outliers isolated.
        suggestion: what the half suggests without labels, where it was asked.
        teaches: [N] bool, rows of the identities whose pairs teach.
        chooses: [N] bool, rows of those whose pairs choose the step.
        fpr: the FPR to learn for.
        max_images: identities with more rows have no genuine pairs; None for no limit.
        frames: that the rows are pooled from, where the power is learnt too.
    """

    pool: inputs.Pool
    candidates: gfa.Neighbors
    neighbors: gfa.Neighbors
    suggestion: thresholds.Suggestion | None
    teaches: np.ndarray
    chooses: np.ndarray
    fpr: float
    max_images: int | None
    frames: Frames | None = None

    @property
    def learnt_from(self) -> np.ndarray | Frames:
        """What `tune` starts from: the rows, or their frames."""
        return self.pool.features if self.frames is None else self.frames


class Split(NamedTuple):
    """A pool cut by identity.

    Attributes:
        learning: the half to learn on.
        reported: the half to report on.
        candidates: [N, W] candidates in it; None where it is pooled anew and searched
            when the power is known.
        isolates: whether outliers are isolated.
        frames: that its rows are pooled from, as `Problem.frames`.
    """

    learning: Problem
    reported: inputs.Pool
    candidates: gfa.Neighbors | None
    isolates: bool
    frames: Frames | None = None


class Score(NamedTuple):
    """What a look at refined features measures.

    Attributes:
        tpr: TPR at the FPR to learn for.
        around: its mean over the FPRs around it, by which settings are chosen.
    """

    tpr: float
    around: float


def split(
    pool: inputs.Pool,
    *,
    seed: int,
    k: int | None,
    isolates: bool,
    held_out: float,
    fpr: float,
    max_images: int | None,
    options: dict[str, Any],
    suggests: bool = True,
    frames: Frames | None = None,
) -> Split:
    """Cuts a pool by identity, the halves as holdout has them, and searches each.

    Args:
        pool: with labels, without listed pairs.
        seed: of the split.
        k: K, the row itself counted; None for what the half suggests, at least 15.
        isolates: whether outliers of the half are isolated, at the suggested threshold.
        held_out: share in [0, 1) of the identities of the first half that choose the
            step and do not teach; with 0 all do both.
        fpr: the FPR to learn for.
        max_images: see `Problem`.
        options: of `gfa_jax.aggregate`, with which settings are suggested.
        suggests: whether the half is asked even where neither K nor outliers need it.
        frames: that the rows of the pool are pooled from, where the power is learnt.

    Returns:
        Split.

    Raises:
        ValueError: a pool without identities, a part without both kinds of pairs, K
            that a half is too small for; as `gfa_jax.thresholds.suggest`.
    """
    learning, reported = halves.split(pool, seed=seed)
    for half in (learning, reported):
        gfa.neighbors.check_k(_LEAST_K if k is None else k, len(half.features))
    codes, order = halves.shuffle_identities(pool, seed=seed)
    half = len(order) // 2
    assert learning.labels is not None  # a half has them
    teaches = np.isin(learning.labels, order[: half - round(half * held_out)])
    chooses = ~teaches if held_out else teaches
    for part in (teaches, chooses):
        inputs.check_both_kinds(learning.labels[part])
    candidates = find_candidates(learning.features, k=k)
    others = find_candidates(reported.features, k=k) if frames is None else None
    suggestion = isolate_at = None
    if suggests or isolates or k is None:
        suggestion = thresholds.suggest(
            learning.features, candidates, seed=seed, **options
        )
        isolate_at = suggestion.params.threshold if isolates else None
        k = max(suggestion.k, _LEAST_K) if k is None else k
    neighbors = nearest(candidates, k=k, isolate_at=isolate_at)
    problem = Problem(
        learning, candidates, neighbors, suggestion, teaches, chooses, fpr, max_images
    )
    if frames is None:
        return Split(problem, reported, others, isolates)
    learns = np.isin(codes, order[:half])
    return Split(
        problem._replace(frames=pooled.select_frames(frames, learns)),
        reported,
        others,
        isolates,
        pooled.select_frames(frames, ~learns),
    )


def find_candidates(features: np.ndarray, *, k: int | None) -> gfa.Neighbors:
    """Searches as many candidates as a suggestion reads, and K.

    Args:
        features: [N, D] unit rows.
        k: K, the row itself counted, or None.

    Returns:
        [N, W] candidates.
    """
    width = min(thresholds.SUGGESTING_WIDTH, len(features) - 1)
    return gfa.exact_neighbors(features, k=max(k or 0, width), progress=cli.progress)


def nearest(
    candidates: gfa.Neighbors, *, k: int, isolate_at: Any = None
) -> gfa.Neighbors:
    """Takes the nearest candidates, outliers isolated where a threshold is told.

    Args:
        candidates: [N, W], W >= K.
        k: K.
        isolate_at: t, or [T] of which the first counts; None isolates nothing.

    Returns:
        [N, K] candidates.
    """
    if isolate_at is not None:
        first = float(np.ravel(isolate_at)[0])
        is_outlier = gfa.find_outliers(candidates, threshold=first)
        candidates = gfa.selection.isolate(candidates, is_outlier)
    return gfa.Neighbors(*(column[:, :k] for column in candidates))


def band(problem: Problem) -> tuple[float, float]:
    """Returns the band of shares of the listed pairs that the loss compares with."""
    passing = problem.fpr * _count_impostors(problem, problem.teaches)
    low, high = (share * passing / _num_listed(problem) for share in _BAND)
    return low, min(high, 1.0)


def genuine_pairs(problem: Problem, *, seed: int) -> np.ndarray:
    """Lists the genuine pairs that teach, some of them where they are very many.

    Args:
        problem: whose.
        seed: of the choice.

    Returns:
        [G, 2] int32 rows of the half.

    Raises:
        ValueError: none, since every identity is too large.
    """
    assert problem.pool.labels is not None  # a half has them
    rows = np.flatnonzero(problem.teaches)
    rows = rows[np.argsort(problem.pool.labels[rows], kind="stable")]
    _, sizes = np.unique(problem.pool.labels[rows], return_counts=True)
    lists = []
    for members in np.split(rows, np.cumsum(sizes)[:-1]):
        if problem.max_images is None or len(members) <= problem.max_images:
            first, second = np.triu_indices(len(members), 1)
            lists.append(np.stack([members[first], members[second]], axis=1))
    pairs = np.concatenate([np.empty((0, 2), int), *lists]).astype(np.int32)
    if not len(pairs):
        raise ValueError("no genuine pair teaches; give --max_images a larger number")
    return np.random.default_rng(seed).permutation(pairs)[:_GENUINE_PAIRS]


def any_impostor(problem: Problem) -> np.ndarray:
    """Finds one impostor pair of the identities that teach: [1, 2] rows."""
    assert problem.pool.labels is not None  # a half has them
    rows = np.flatnonzero(problem.teaches)
    labels = problem.pool.labels[rows]
    return np.array([[rows[0], rows[np.argmax(labels != labels[0])]]], np.int32)


def measure(problem: Problem, refined: np.ndarray) -> Score:
    """Scores refined features by all pairs of the half, as a grid is searched."""
    everyone = np.ones(len(problem.teaches), bool)
    return _look(problem, refined, everyone)[0]


def validate(problem: Problem, refined: np.ndarray) -> Validation:
    """Scores refined features, and lists the impostor pairs that are hardest in them.

    Args:
        problem: the half.
        refined: [N, D] unit rows of it.

    Returns:
        Validation: the mean TPR of the identities that choose; pairs of those that
        teach.
    """
    score, tail = _look(problem, refined, problem.teaches)
    if not np.array_equal(problem.teaches, problem.chooses):
        score, _ = _look(problem, refined, problem.chooses)
    return Validation(score.around, tail)


def _look(
    problem: Problem, refined: np.ndarray, part: np.ndarray
) -> tuple[Score, np.ndarray]:
    """Measures all pairs of some rows: the score, and the hardest impostor pairs."""
    assert problem.pool.labels is not None  # a half has them
    members = np.flatnonzero(part)
    result = evaluation.measure_all_pairs(
        refined[members],
        problem.pool.labels[members],
        max_images=problem.max_images,
        tail_size=_num_listed(problem, part),
    )
    tail = members[result.impostor_tail.rows].astype(np.int32)
    # Of equal scores at its end the tail has none; as many pairs compile nothing new.
    missing = _num_listed(problem, part) - len(tail)
    last = tail[-1:] if len(tail) else any_impostor(problem)
    tail = np.concatenate([tail, np.repeat(last, max(missing, 0), axis=0)])
    fprs = [min(problem.fpr * multiple, 1.0) for multiple in _AROUND]
    tprs = [point.tpr for point in metrics.tpr_at_fpr(result.roc, fprs)]
    return Score(tprs[_AROUND.index(1.0)], float(np.mean(tprs))), tail


def _num_listed(problem: Problem, part: np.ndarray | None = None) -> int:
    part = problem.teaches if part is None else part
    passing = problem.fpr * _count_impostors(problem, part)
    return max(_LEAST_LISTED, round(_BAND[1] * passing))


def _count_impostors(problem: Problem, part: np.ndarray) -> int:
    assert problem.pool.labels is not None  # a half has them
    _, sizes = np.unique(problem.pool.labels[part], return_counts=True)
    rows = int(sizes.sum())
    return (rows * (rows - 1) - int(np.sum(sizes * (sizes - 1)))) // 2
