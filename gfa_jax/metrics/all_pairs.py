"""The ROC over all N(N−1)/2 pairs of N labelled rows, streamed through tiles.

The pairs i < j are scored tile by tile and no N × N array exists. What is kept:

    tail        the largest impostor scores with their rows, every one above a floor
    genuine     all genuine scores with their rows, up to a stated number
    histogram   counts of both kinds in fine bins of [−1, 1]

Above the floor the curve has a point at every distinct score, as `roc_curve` of a list
of all pairs would. Below it the curve has a point at every bin edge, and by
construction of the bins those counts are exact too: only points between are missing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax import numerics
from gfa_jax.datasets.labels import as_labels
from gfa_jax.metrics.all_pairs_result import AllPairs, join_points
from gfa_jax.metrics.histogram import (
    ScoreHistogram,
    bin_edges,
    check_num_bins,
)
from gfa_jax.metrics.pair_counter import PairCounter, counts_on_device
from gfa_jax.metrics.roc import Roc
from gfa_jax.metrics.scored_pairs import (
    RunningTop,
    ScoredPairs,
    by_descending_score,
    check_features,
)
from gfa_jax.metrics.tiles import score_tiles


class Counts(NamedTuple):
    """What some of the tiles amount to; the parts of all tiles add up."""

    impostor: np.ndarray  # [B] int64 impostor scores in each bin
    genuine: np.ndarray  # [B] int64 genuine scores in each bin
    tail: ScoredPairs  # the largest impostor pairs, every one above the floor
    floor: np.ndarray  # [] the largest impostor score not in the tail; -inf: none
    kept: ScoredPairs  # every genuine pair; none where they are not kept


def all_pairs_roc(
    features: Any,
    labels: npt.ArrayLike,
    *,
    block_size: int | None = None,
    tail_size: int = 2**20,
    genuine_size: int = 2**24,
    num_bins: int = 2**16,
    progress: Callable | None = None,
) -> AllPairs:
    """Measures the ROC over all unordered pairs of rows, scored by their dot product.

    FA(t) = #{i < j : y_i ≠ y_j, f_i · f_j >= t},  TA(t) = #{i < j : y_i = y_j, …}

    Every point of the curve is exact, and above `tail_floor` none is missing. Below it
    (from an FPR of about `tail_size` / impostor pairs on), and everywhere with more
    genuine pairs than `genuine_size`, there is one at each bin edge. Then a
    conservative TPR is too low by at most the share of the genuine pairs in one bin,
    2 / `num_bins`, and the area under the curve is off by at most
    Σ_b impostor_b genuine_b / (2 · impostor pairs · genuine pairs).

    Args:
        features: [N, D] floating unit rows (a row of zeros scores 0 with every row);
            a NumPy array, a memory map or a JAX array. Never normalised here.
        labels: [N] integers or strings, equal for rows of one identity. A distractor
            needs a label of its own.
        block_size: rows of a tile. By default 1024 on a CPU, as fast as 2048 in less
            memory, and 8192 on an accelerator, where a tile takes longer than the
            host takes to ask for it (not measured).
        tail_size: the most impostor pairs to keep.
        genuine_size: the most genuine pairs to keep.
        num_bins: bins of the histogram, a power of two in [2, 65536].
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            tiles.

    Returns:
        AllPairs; the same bits for the same arguments on the same device.

    Raises:
        ValueError: rows not of unit length or not finite, labels that do not fit,
            no genuine or no impostor pair, an option out of its range.

    Cost: N² D / 2 multiply-adds on the device, and one histogram increment a pair: on
    a CPU by one core, faster where numba is installed otherwise on
    the device (both in `counting`). Memory beyond the features: four tiles at 6
    bytes a score (10 in float64), ten blocks of rows, about 40 bytes a pair kept, 60
    bytes a point of the curve.
    """
    plan = plan_pairs(features, labels, block_size, tail_size, genuine_size, num_bins)
    return join_counts(plan, [count_tiles(plan, progress=progress)])


class Plan(NamedTuple):
    """Checked arguments of `all_pairs_roc`, and what follows from them."""

    features: np.ndarray  # [N, D] floating, on the host
    identities: np.ndarray  # [N] int64 number of each row's label
    order: np.ndarray  # [N] int32 rows by ascending identity
    num_impostor: int
    num_genuine: int
    keep_genuine: bool  # whether they are few enough
    block_size: int
    tail_size: int
    num_bins: int


def plan_pairs(
    features: Any,
    labels: npt.ArrayLike,
    block_size: int | None = None,
    tail_size: int = 2**20,
    genuine_size: int = 2**24,
    num_bins: int = 2**16,
) -> Plan:
    """Checks the arguments of `all_pairs_roc`, which explains them."""
    if block_size is None:
        block_size = 8192 if counts_on_device() else 1024
    features, labels = check_features(features), as_labels(labels)
    _check_sizes(block_size=block_size, tail_size=tail_size, genuine_size=genuine_size)
    check_num_bins(num_bins)
    identities = _number_identities(labels, len(features))
    num_impostor, num_genuine = _count_pairs(identities)
    numerics.check_unit_rows(features)
    return Plan(
        features,
        identities,
        np.argsort(identities, kind="stable").astype(np.int32),
        num_impostor,
        num_genuine,
        num_genuine <= genuine_size,
        block_size,
        tail_size,
        num_bins,
    )


def count_tiles(
    plan: Plan, *, part: int = 0, num_parts: int = 1, progress: Callable | None = None
) -> Counts:
    """Scores every `num_parts`-th tile, from tile `part` on, on the default device."""

    def share(corners, *, total, desc):
        own = corners[part::num_parts]
        return own if progress is None else progress(own, total=len(own), desc=desc)

    counter = PairCounter(
        plan.order,
        plan.identities[plan.order],
        dtype=_score_dtype(plan.features),
        num_bins=plan.num_bins,
        tail_size=plan.tail_size,
        keep_genuine=plan.keep_genuine,
    )
    for tile in score_tiles(
        plan.features,
        plan.order,
        block_size=plan.block_size,
        num_bins=plan.num_bins,
        progress=share,
    ):
        counter.add(tile)
    histogram, tail = counter.histogram(), counter.impostor_tail.pairs()
    kept = ScoredPairs(tail.scores[:0], tail.rows[:0])
    # A part without a tile on the diagonal may have seen no genuine pair.
    if plan.keep_genuine and histogram.genuine.any():
        kept = counter.genuine_pairs() or kept
    floor = np.asarray(counter.impostor_tail.floor, np.float64)
    return Counts(histogram.impostor, histogram.genuine, tail, floor, kept)


def join_counts(plan: Plan, parts: Sequence[Counts]) -> AllPairs:
    """Joins the counts of all parts, every tile in one of them, to the curve.

    The sums are exact, so the curve does not depend on which part has which tile; pairs
    of equal score may be in another order.
    """
    tail, floor = _join_tails(plan, parts)
    genuine = None
    if plan.keep_genuine:
        genuine = by_descending_score(
            np.concatenate([part.kept.scores for part in parts]),
            np.concatenate([part.kept.rows for part in parts]),
        )
    histogram = ScoreHistogram(
        bin_edges(plan.num_bins),
        np.sum([part.impostor for part in parts], axis=0),
        np.sum([part.genuine for part in parts], axis=0),
    )
    counts = join_points(tail, floor, genuine, histogram)
    roc = Roc(*counts, plan.num_impostor, plan.num_genuine)
    return AllPairs(roc, histogram, tail, floor, genuine, plan.identities)


def _join_tails(plan: Plan, parts: Sequence[Counts]) -> tuple[ScoredPairs, float]:
    """Cuts the tails at the highest floor, then to the size of one."""
    top = RunningTop(plan.tail_size, _score_dtype(plan.features))
    top.floor = max(float(part.floor) for part in parts)
    for part in parts:
        above = np.flatnonzero(part.tail.scores > top.floor)
        top.add(part.tail.scores[above], part.tail.rows[above])
    tail = top.pairs()
    return tail, top.floor


def _score_dtype(features: np.ndarray) -> np.dtype:
    """Returns the dtype that a tile's scores have: float64 only where JAX has it."""
    wide = jnp.promote_types(features.dtype, jnp.float32)
    return np.dtype(jax.dtypes.canonicalize_dtype(wide))


def _number_identities(labels: np.ndarray, num_rows: int) -> np.ndarray:
    if labels.shape != (num_rows,):
        raise ValueError(
            f"labels have shape {labels.shape}; expected ({num_rows},), one for each "
            "row of the features"
        )
    if labels.dtype.kind not in "iuUS":
        raise ValueError(f"labels are {labels.dtype}; expected integers or strings")
    return np.unique(labels, return_inverse=True)[1]


def _count_pairs(identities: np.ndarray) -> tuple[int, int]:
    """Counts the impostor and the genuine pairs."""
    sizes = np.bincount(identities)
    num_genuine = int(np.sum(sizes * (sizes - 1) // 2))
    num_impostor = len(identities) * (len(identities) - 1) // 2 - num_genuine
    if not num_genuine or not num_impostor:
        raise ValueError(
            f"{len(identities)} rows of {sizes.size} identities make {num_genuine} "
            f"genuine and {num_impostor} impostor pairs; expected at least one of "
            "each: give two identities, one of them with two rows"
        )
    return num_impostor, num_genuine


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; expected at least 1")
