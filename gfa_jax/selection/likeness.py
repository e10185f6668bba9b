"""t without labels: the larger of what bounds strangers and what asks for likeness.

The first bounds the strangers. Random pairs of a large pool are nearly all impostors;
their cosines are counted, the upper tail is fitted and carried on (impostor_tail.py),
and above t_1 a row expects few impostor edges:

    (N − 1) · P(impostor, A > t_1) = false edges a row

That tail is the one of people who look like nobody. Look-alikes, few among all pairs
and many among neighbours, are heavier than it shows, so the second asks for likeness.
Where i and j show the directions p and q through noise, A_ij ≈ s_i s_j p · q; nearest
neighbours nearly always show the same one, so that their cosines b tell what the noise
leaves of 1 (the correction for attenuation, Spearman 1904). With c the center of the
impostors' cosines, p and q agree by more than ρ above

    t_2 = c + ρ (median_{b_i > t_1} b_i − c)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfa_jax.metrics.scored_pairs import check_features
from gfa_jax.selection.impostor_pairs import NUM_GROUPS, count_groups
from gfa_jax.selection.impostor_tail import TAILS, WINDOW, ImpostorTail, Tail, fit_tail
from gfa_jax.selection.outliers import measure_nearest
from gfa_jax.types import Array, Neighbors

SAMPLE_SIZE = 8192
# Chosen on CFP, LFW and three seeds of the generator, from .6, .65 and .7: the lower
# gains most where outliers are isolated, the upper is safe where they are not.
DEFAULT_LIKENESS = 2 / 3

# A draw also draws its window and ρ from these ranges, so that the interval carries
# what their choice is worth.
_WINDOW_STARTS, _WINDOW_STOPS = (1.75, 2.25), (5.0, 7.0)
_LIKENESS_RANGE = 0.05
_INTERVAL = (0.05, 0.95)
_MIN_ROWS = 64


class ThresholdSuggestion(NamedTuple):
    """What `suggest_threshold` returns.

    Attributes:
        threshold: cosine t, the larger of the next two.
        interval: ends of the 90 % bootstrap interval of t. It covers the sample, the
            window and the likeness, not what the shape of the tail may be in error.
        false_edges_per_row: impostor edges that a row expects at t by the tail, before
            the search keeps only K of them.
        edges_per_row: candidates that exceed t, a row, the row itself not counted.
        tail: the counts and the fit, for a plot.
        tail_threshold: cosine t_1, above which a row expects the false edges asked.
        likeness_threshold: cosine t_2, above which two rows are alike enough; NaN
            where no row has a neighbour above t_1.
        typical_nearest: median of the nearest cosines above t_1; NaN as well.
    """

    threshold: float
    interval: tuple[float, float]
    false_edges_per_row: float
    edges_per_row: float
    tail: ImpostorTail
    tail_threshold: float
    likeness_threshold: float
    typical_nearest: float


def suggest_threshold(
    features: Array,
    neighbors: Neighbors,
    *,
    false_edges_per_row: float = 0.05,
    likeness: float = DEFAULT_LIKENESS,
    tail: Tail = "gaussian",
    sample_size: int = SAMPLE_SIZE,
    num_resamples: int = 50,
    seed: int = 0,
    progress: Callable | None = None,
) -> ThresholdSuggestion:
    """Chooses t so that edges join few impostors and few look-alikes; sees no label.

    t = max(t_1, t_2),  (N − 1) · P(impostor, A > t_1) = false_edges_per_row,
    t_2 = c + ρ (median_{b_i > t_1} b_i − c)                        (this module)

    Args:
        features: [N, D] floating unit rows, N >= 64; or rows drawn from them at
            random, such as those of `impostor_pairs.draw_rows`.
        neighbors: [N, K] candidates, whose cosines are read.
        false_edges_per_row: target, > 0.
        likeness: ρ in [0, 1], the share of a typical nearest cosine that an edge must
            exceed; 0 leaves t to the tail.
        tail: see `fit_tail`; "pareto" gives a lower t.
        sample_size: rows drawn, all of whose pairs are counted; all rows where there
            are no more.
        num_resamples: bootstrap draws for the interval; 0 makes it (t, t).
        seed: of the sample and the draws; the same seed gives the same bits.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        ThresholdSuggestion.

    Raises:
        ValueError: fewer than 64 rows, rows not of unit length, neighbors that do not
            fit, an option out of its range, or cosines without room for a tail.

    A row of a pool whose nearest neighbours are copies, such as frames of one video,
    tells nothing of likeness: there t_2 is on the high side, and t gains less.

    Cost: S² D / 2 multiply-adds for S sampled rows, a sort of N K cosines, about 20 ms
    a draw. Memory: the sample, tiles of (S/16)² scores, 256 histograms of 2048 bins,
    three [N, K] arrays.
    """
    features = check_features(features)
    num_rows = _check_neighbors(neighbors, len(features))
    _check(len(features), num_rows, false_edges_per_row, tail, sample_size)
    if num_resamples < 0:
        raise ValueError(f"num_resamples is {num_resamples}; expected 0 or more")
    if not 0 <= likeness <= 1:
        raise ValueError(f"likeness is {likeness}; expected a share in [0, 1]")
    counts, edges = count_groups(
        features, seed=seed, sample_size=sample_size, progress=progress
    )
    probability = false_edges_per_row / (num_rows - 1)
    nearest = np.sort(np.asarray(measure_nearest(neighbors), np.float64))

    def fit(times: np.ndarray, window: tuple[float, float]) -> ImpostorTail:
        pairs = np.einsum("g,h,ghb->b", times, times, counts)
        return fit_tail(pairs, edges, tail=tail, window=window)

    def typical(fitted: ImpostorTail, level: float) -> float:
        first = np.searchsorted(nearest, fitted.threshold(probability), side="right")
        above = nearest[first:]
        return float(np.quantile(above, level)) if len(above) else np.nan

    once = np.ones(NUM_GROUPS)
    fitted = fit(once, WINDOW)
    by_tail = fitted.threshold(probability)
    mate = typical(fitted, 0.5)
    by_likeness = fitted.center + likeness * (mate - fitted.center)
    threshold = float(np.fmax(by_tail, by_likeness))
    draws = range(num_resamples)
    if progress is not None:
        draws = progress(draws, total=num_resamples, desc="resamples")
    random, resampled = np.random.default_rng((seed, 2)), [threshold]
    for _ in draws:
        times = random.multinomial(NUM_GROUPS, once / NUM_GROUPS)
        window = random.uniform(*_WINDOW_STARTS), random.uniform(*_WINDOW_STOPS)
        drawn = fit(times, window)
        share = likeness * (1 + random.uniform(-_LIKENESS_RANGE, _LIKENESS_RANGE))
        # The median of n rows drawn again is one of their quantiles, at a level as
        # random as this; rows are each other's nearest, so half as many count.
        half = 1 + len(nearest) / 4
        alike = typical(drawn, random.beta(half, half)) - drawn.center
        resampled.append(
            np.fmax(drawn.threshold(probability), drawn.center + share * alike)
        )
    low, high = np.quantile(resampled, _INTERVAL)
    return ThresholdSuggestion(
        threshold,
        (float(low), float(high)),
        (num_rows - 1) * fitted.probability(threshold),
        float(edges_at(neighbors, threshold).sum(axis=1).mean()),
        fitted,
        by_tail,
        by_likeness,
        mate,
    )


def bound_impostors(
    features: Array,
    *,
    false_edges_per_row: float = 0.05,
    tail: Tail = "gaussian",
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    progress: Callable | None = None,
) -> float:
    """Finds t_1 of the module, the least threshold that `suggest_threshold` takes.

    (N − 1) · P(impostor, A > t_1) = false_edges_per_row

    It needs no neighbours, so a search can be told which edges will matter.

    Args:
        features: [N, D] floating unit rows, N >= 64.
        false_edges_per_row: see `suggest_threshold`.
        tail: see `suggest_threshold`.
        sample_size: see `suggest_threshold`.
        seed: see `suggest_threshold`.
        progress: see `suggest_threshold`.

    Returns:
        Cosine t_1.

    Raises:
        ValueError: as `suggest_threshold`.

    Cost: S² D / 2 multiply-adds for S sampled rows.
    """
    features = check_features(features)
    num_rows = len(features)
    _check(num_rows, num_rows, false_edges_per_row, tail, sample_size)
    counts, edges = count_groups(
        features, seed=seed, sample_size=sample_size, progress=progress
    )
    fitted = fit_tail(counts.sum(axis=(0, 1)), edges, tail=tail, window=WINDOW)
    return fitted.threshold(false_edges_per_row / (num_rows - 1))


def edges_at(neighbors: Neighbors, threshold: float) -> np.ndarray:
    """Says which candidates exceed t, [N, K] bool; the row itself is no edge."""
    return (np.asarray(neighbors.similarity) > threshold) & is_other(neighbors)


def is_other(neighbors: Neighbors) -> np.ndarray:
    """Says which slots list another row, [N, K] bool."""
    indices = np.asarray(neighbors.indices)
    return (indices >= 0) & (indices != np.arange(len(indices))[:, None])


def _check_neighbors(neighbors: Neighbors, least: int) -> int:
    """Checks candidates of at least so many rows, and returns of how many."""
    shapes = np.shape(neighbors.indices), np.shape(neighbors.similarity)
    if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[0][0] < least:
        raise ValueError(
            f"neighbors have shapes {shapes[0]} and {shapes[1]}; expected both "
            f"[{least}, K], or [N, K] for a sample of {least} rows"
        )
    return shapes[0][0]


def _check(
    num_sampled: int,
    num_rows: int,
    false_edges_per_row: float,
    tail: str,
    sample_size: int,
) -> None:
    if num_sampled < _MIN_ROWS:
        raise ValueError(
            f"got {num_sampled} rows; expected {_MIN_ROWS} or more, whose pairs show "
            "a tail: choose the threshold by hand"
        )
    if not 0 < false_edges_per_row < num_rows - 1:
        raise ValueError(
            f"false_edges_per_row is {false_edges_per_row}; expected a number above 0 "
            f"and under {num_rows - 1}"
        )
    if tail not in TAILS:
        raise ValueError(f"tail is {tail!r}; expected one of {', '.join(TAILS)}")
    if sample_size < _MIN_ROWS:
        raise ValueError(f"sample_size is {sample_size}; expected {_MIN_ROWS} or more")
