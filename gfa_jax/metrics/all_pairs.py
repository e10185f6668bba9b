"""The ROC over all N(N−1)/2 pairs of N labelled rows, streamed through tiles.

The pairs i < j are scored tile by tile and no N × N array exists. What is kept:

    tail        the largest impostor scores with their rows, every one above a floor
    genuine     all genuine scores with their rows, up to a stated number
    histogram   counts of both kinds in fine bins of [−1, 1]
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax.checks import check_integer, check_rows
from gfa_jax.datasets.labels import known_identities
from gfa_jax.metrics.counting import Counts, PairCounter, counts_on_device
from gfa_jax.metrics.histogram import (
    ScoreHistogram,
    bin_edges,
    bin_numbers,
    count_bins,
)
from gfa_jax.metrics.roc import Roc, count_accepts
from gfa_jax.metrics.scored_pairs import (
    RunningTop,
    ScoredPairs,
    by_descending_score,
    check_features,
    check_names,
)
from gfa_jax.metrics.tiles import Plan, score_tiles


class AllPairs(NamedTuple):
    """What `all_pairs_roc` returns; pairs by descending score."""

    roc: Roc  # exact at each of its points, and complete above `tail_floor`
    histogram: ScoreHistogram  # of all scores, in 65,536 bins
    impostor_tail: ScoredPairs  # every impostor pair that scores above `tail_floor`
    tail_floor: float  # the largest impostor score not in the tail; -inf: all are
    genuine: ScoredPairs | None  # every genuine pair; None: more than `genuine_size`
    identities: np.ndarray  # [N] int64 number of each row's label; -1: it is unknown


def all_pairs_roc(
    features: Any,
    labels: npt.ArrayLike,
    *,
    block_size: int | None = None,
    tail_size: int = 2**20,
    genuine_size: int = 2**24,
    progress: Callable | None = None,
) -> AllPairs:
    """Measures the ROC over all unordered pairs of rows, scored by their dot product.

        FA(t) = #{i < j : y_i ≠ y_j, f_i · f_j >= t},  TA(t) = #{i < j : y_i = y_j, …}

    Every point of the curve is exact, and above `tail_floor` none is missing. Below it
    (from an FPR of about `tail_size` / impostor pairs on), and everywhere with more
    genuine pairs than `genuine_size`, there is one at each bin edge. Then a
    conservative TPR is too low by at most the share of the genuine pairs in one bin,
    of 2^-15, and the area under the curve is off by at most
    Σ_b impostor_b genuine_b / (2 · impostor pairs · genuine pairs).

    Args:
        features: [N, D] floating unit rows (a row of zeros scores 0 with every row);
            a NumPy array, a memory map or a JAX array. Never normalised here.
        labels: [N] integers or strings, equal for rows of one identity. Rows of
            unknown identity (see `datasets.known_identities`) are in no pair; a
            distractor needs a label of its own.
        block_size: rows of a tile; by default 1024 on a CPU and 8192 on an accelerator.
        tail_size: the most impostor pairs to keep.
        genuine_size: the most genuine pairs to keep.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        AllPairs: the curve, the floor of its tail and the pairs kept.

    Raises:
        ValueError: rows not of unit length or not finite, labels that do not fit,
            no genuine or no impostor pair, an option out of its range.

    Cost: N² D / 2 multiply-adds on the device, and one histogram increment a pair (see
    `counting`); in float32 at most 20 bytes a pair, written as score and bin, and read.
    Memory beyond the features: four tiles at 6 bytes a score (10 in
    float64), ten blocks of rows, about 40 bytes a pair kept, 60 bytes a point of the
    curve.

    Examples:
        >>> roc = metrics.all_pairs_roc(features, labels).roc
        >>> metrics.tpr_at_fpr(roc, (1e-2,))[0].tpr > 0.5
        True
    """
    plan = plan_pairs(features, labels, block_size, tail_size, genuine_size)
    return join_counts(plan, [count_tiles(plan, progress=progress)])


def plan_pairs(
    features: Any,
    labels: npt.ArrayLike,
    block_size: int | None = None,
    tail_size: int = 2**20,
    genuine_size: int = 2**24,
) -> Plan:
    """Checks the arguments of `all_pairs_roc`, which explains them."""
    if block_size is None:
        block_size = 8192 if counts_on_device() else 1024
    features = check_features(features)
    sizes = {"block_size": block_size, "tail_size": tail_size}
    for name, size in (sizes | {"genuine_size": genuine_size}).items():
        check_integer(name, size, least=1)
    labels = check_names(labels, len(features), "labels")
    known = np.flatnonzero(known_identities(labels))
    identities = np.full(len(labels), -1)
    identities[known] = np.unique(labels[known], return_inverse=True)[1]
    sizes = np.bincount(identities[known])
    num_genuine = int(np.sum(sizes * (sizes - 1) // 2))
    num_impostor = len(known) * (len(known) - 1) // 2 - num_genuine
    if not num_genuine or not num_impostor:
        raise ValueError(
            f"{len(known)} rows of {sizes.size} identities make {num_genuine} "
            f"genuine and {num_impostor} impostor pairs; expected at least one of "
            "each: give two identities, one of them with two rows"
        )
    check_rows(features)
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    return Plan(
        features,
        identities,
        known[np.argsort(identities[known], kind="stable")].astype(np.int32),
        num_genuine <= genuine_size,
        block_size,
        tail_size,
        np.dtype(jax.dtypes.canonicalize_dtype(dtype)),
    )


def count_tiles(
    plan: Plan, *, part: int = 0, num_parts: int = 1, progress: Callable | None = None
) -> Counts:
    """Scores every `num_parts`-th tile, from tile `part` on, on the default device."""
    counter = PairCounter(plan)
    for tile in score_tiles(plan, part, num_parts, progress):
        counter.add(tile)
    return counter.counts()


def join_counts(plan: Plan, parts: Sequence[Counts]) -> AllPairs:
    """Joins the counts of all parts, every tile in one of them, to the curve.

    The sums are exact, so the curve does not depend on which part has which tile; pairs
    of equal score may be in another order.
    """
    # The tails are cut at the highest floor, then to the size of one.
    top = RunningTop(plan.tail_size, plan.dtype)
    top.floor = max(float(part.floor) for part in parts)
    for part in parts:
        above = np.flatnonzero(part.tail.scores > top.floor)
        top.add(part.tail.scores[above], part.tail.rows[above])
    tail, genuine = top.pairs(), None
    if plan.keep_genuine:
        genuine = by_descending_score(
            np.concatenate([part.kept.scores for part in parts]),
            np.concatenate([part.kept.rows for part in parts]),
        )
    histogram = ScoreHistogram(
        bin_edges(),
        np.sum([part.impostor for part in parts], axis=0),
        np.sum([part.genuine for part in parts], axis=0),
    )
    return assemble(histogram, tail, top.floor, genuine, plan.identities)


def restrict_genuine(result: AllPairs, keep: npt.ArrayLike) -> AllPairs:
    """Leaves out the genuine pairs of some rows; every impostor pair stays.

    An identity of n rows has n(n−1)/2 genuine pairs, so that a few large identities
    can outweigh all others: leaving those out shows the rest at the same thresholds.

    Args:
        result: of `all_pairs_roc`.
        keep: [N] bool; a genuine pair stays where it is True for both rows.

    Returns:
        AllPairs, of the same impostor pairs.

    Raises:
        ValueError: a mask of another shape or dtype, no genuine pair left, or a result
            without its genuine pairs.
    """
    genuine, keep = check_genuine(result), np.asarray(keep)
    if keep.shape != result.identities.shape or keep.dtype != np.bool_:
        raise ValueError(
            f"keep is {keep.dtype} of shape {keep.shape}; expected bool of shape "
            f"{result.identities.shape}, one for each row of the features"
        )
    chosen = np.flatnonzero(keep[genuine.rows].all(axis=1))
    if not chosen.size:
        raise ValueError(
            f"keep leaves none of {genuine.scores.size} genuine pairs; expected at "
            "least one: keep two rows of an identity"
        )
    genuine = ScoredPairs(genuine.scores[chosen], genuine.rows[chosen])
    counts = count_bins(bin_numbers(genuine.scores))
    histogram = result.histogram._replace(genuine=counts)
    tail, floor = result.impostor_tail, result.tail_floor
    return assemble(histogram, tail, floor, genuine, result.identities)


def check_genuine(result: AllPairs) -> ScoredPairs:
    """Returns the genuine pairs of a result; refuses one that has not kept them."""
    if result.genuine is None:
        raise ValueError(
            f"the result keeps none of its {result.roc.num_genuine} genuine pairs; "
            "expected all of them: measure again with a larger genuine_size"
        )
    return result.genuine


def assemble(
    histogram: ScoreHistogram,
    tail: ScoredPairs,
    floor: float,
    genuine: ScoredPairs | None,
    identities: np.ndarray,
) -> AllPairs:
    """Joins the curve of counts at the scores above the floor, at the edges below.

    Where `genuine` is None all are read at the edges.
    """
    start, scores = floor, np.empty(0)
    if genuine is None:
        start = np.inf
    else:
        scores = genuine.scores[genuine.scores > floor]
    points = count_accepts(tail.scores[tail.scores > start], scores)
    if start > -np.inf:
        edges = histogram.edges[:-1].copy()
        # The lowest bin is open: rounding may carry a floor of −1 below −1.
        edges[0] = min(edges[0], start)
        filled = histogram.impostor + histogram.genuine > 0
        below = np.flatnonzero(filled & (edges <= start))[::-1]
        sums = (np.cumsum(counts[::-1])[::-1] for counts in histogram[1:])
        points = tuple(
            np.concatenate([above, column[below]])
            for above, column in zip(points, (edges, *sums), strict=True)
        )
    num_impostor, num_genuine = (int(counts.sum()) for counts in histogram[1:])
    thresholds, false_accepts, true_accepts = points
    roc = Roc(thresholds, false_accepts, true_accepts, num_impostor, num_genuine)
    return AllPairs(roc, histogram, tail, floor, genuine, identities)
