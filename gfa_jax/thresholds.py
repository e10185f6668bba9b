"""Settings without labels: t from the impostor tail, K, T and gamma from the graph.

Random pairs of a large pool are nearly all impostors. Their cosines are counted, the
upper tail is fitted and carried on (impostor_tail.py), and t is put where a row expects
few impostor edges:

    (N − 1) · P(impostor, A > t) = false edges a row

With t known, the candidates say how many of them survive, and an aggregation says how
fast its rows come to rest; K, T and gamma follow.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfa_jax import numerics
from gfa_jax.affinity import Weighting
from gfa_jax.aggregation import Graph, aggregate
from gfa_jax.impostor_tail import TAILS, WINDOW, ImpostorTail, Tail, fit_tail
from gfa_jax.metrics.histogram import bin_edges, count_bins
from gfa_jax.metrics.scored_pairs import check_features
from gfa_jax.metrics.tiles import score_tiles
from gfa_jax.types import Array, Neighbors, Params

_NUM_BINS = 2**11
# The bootstrap draws groups of rows: pairs that share a row are not independent.
_NUM_GROUPS = 16
# A draw also draws its window from these ranges, so that the interval carries what the
# choice of the window is worth.
_WINDOW_STARTS, _WINDOW_STOPS = (1.75, 2.25), (5.0, 7.0)
_INTERVAL = (0.05, 0.95)
_MIN_ROWS = 64
_TRUSTED_MISFIT = 3.0

_AT_REST = 0.1
_GAMMAS = (1.0, 0.5, 0.25)
# A pair that swaps places for ever moves by the same in every step.
_FALLS = 0.99
# A row at rest still moves by the rounding of its normalisation.
_ROUNDING = 1e-6


class ThresholdSuggestion(NamedTuple):
    """What `suggest_threshold` returns.

    Attributes:
        threshold: cosine t.
        interval: ends of the 90 % bootstrap interval of t. It covers the sample and the
            window, not what the shape of the tail may be in error.
        false_edges_per_row: impostor edges that a row expects at t, before the search
            keeps only K of them.
        edges_per_row: candidates that exceed t, a row, the row itself not counted.
        tail: the counts and the fit, for a plot.
    """

    threshold: float
    interval: tuple[float, float]
    false_edges_per_row: float
    edges_per_row: float
    tail: ImpostorTail


class Suggestion(NamedTuple):
    """What `suggest` returns.

    Attributes:
        params: gamma and threshold; temperature and exponent are the defaults.
        k: K, the row itself counted where the candidates list it.
        num_steps: T.
        text: why, a sentence or two for each.
        threshold: how t was found.
    """

    params: Params
    k: int
    num_steps: int
    text: str
    threshold: ThresholdSuggestion


def suggest_threshold(
    features: Array,
    neighbors: Neighbors,
    *,
    false_edges_per_row: float = 0.05,
    tail: Tail = "gaussian",
    sample_size: int = 8192,
    num_resamples: int = 50,
    seed: int = 0,
    progress: Callable | None = None,
) -> ThresholdSuggestion:
    """Chooses t so that a row expects few impostor edges; sees no label.

    (N − 1) · P(impostor, A > t) = false_edges_per_row

    Args:
        features: [N, D] floating unit rows, N >= 64.
        neighbors: [N, K] candidates; their cosines tell how many edges t leaves.
        false_edges_per_row: target, > 0.
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

    Cost: S² D / 2 multiply-adds for S sampled rows, about 20 ms a draw. Memory: the
    sample, tiles of (S/16)² scores, 256 histograms of 2048 bins.
    """
    features = check_features(features)
    _check(features, neighbors, false_edges_per_row, tail, sample_size, num_resamples)
    random = np.random.default_rng(seed)
    counts = _count_groups(features, random, sample_size, progress)
    probability = false_edges_per_row / (len(features) - 1)

    def fit(times: np.ndarray, window: tuple[float, float]) -> ImpostorTail:
        pairs = np.einsum("g,h,ghb->b", times, times, counts)
        return fit_tail(pairs, bin_edges(_NUM_BINS), tail=tail, window=window)

    once = np.ones(_NUM_GROUPS)
    fitted = fit(once, WINDOW)
    threshold = fitted.threshold(probability)
    draws = range(num_resamples)
    if progress is not None:
        draws = progress(draws, total=num_resamples, desc="resamples")
    resampled = [threshold]
    for _ in draws:
        times = random.multinomial(_NUM_GROUPS, once / _NUM_GROUPS)
        window = random.uniform(*_WINDOW_STARTS), random.uniform(*_WINDOW_STOPS)
        resampled.append(fit(times, window).threshold(probability))
    low, high = np.quantile(resampled, _INTERVAL)
    return ThresholdSuggestion(
        threshold,
        (float(low), float(high)),
        (len(features) - 1) * fitted.probability(threshold),
        float(_edges_at(neighbors, threshold).sum(axis=1).mean()),
        fitted,
    )


def suggest(
    features: Array,
    neighbors: Neighbors,
    *,
    false_edges_per_row: float = 0.05,
    max_steps: int = 10,
    weighting: Weighting = "affinity",
    graph: Graph = "fixed",
    include_self: bool = True,
    seed: int = 0,
    progress: Callable | None = None,
) -> Suggestion:
    """Chooses t, K, gamma and T without labels, and says why.

    t: as `suggest_threshold`. K: the elbow of the edges above t, counted over the
    candidates by rank (farthest from the chord, Satopää et al. 2011). gamma: the
    largest of 1, 1/2 and 1/4 at which every step moves the rows less than the one
    before. T: the first step that moves them less than a tenth of what the first did.

    Args:
        features: [N, D] floating unit rows, N >= 64.
        neighbors: [N, K] candidates, more of them than K is expected to be: 30 to 60.
        false_edges_per_row: see `suggest_threshold`.
        max_steps: the largest T.
        weighting: see `aggregate`.
        graph: see `aggregate`.
        include_self: see `aggregate`.
        seed: see `suggest_threshold`.
        progress: see `suggest_threshold`.

    Returns:
        Suggestion.

    Raises:
        ValueError: as `suggest_threshold`; no candidate above t (the cosine is named
            that leaves edges); max_steps under 1.

    Cost: that of `suggest_threshold` and of `max_steps` updates, three times at most.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; expected 1 or more")
    found = suggest_threshold(
        features,
        neighbors,
        false_edges_per_row=false_edges_per_row,
        seed=seed,
        progress=progress,
    )
    k = _choose_k(neighbors, found.threshold)
    nearest = Neighbors(*(np.asarray(column)[:, :k] for column in neighbors))
    for gamma in _GAMMAS:
        residual = np.asarray(
            aggregate(
                features,
                nearest,
                Params(gamma, found.threshold),
                num_steps=max_steps,
                weighting=weighting,
                graph=graph,
                include_self=include_self,
            ).residual
        )
        if _falls(residual):
            break
    at_rest = residual <= _AT_REST * residual[0]
    num_steps = int(np.argmax(at_rest)) + 1 if at_rest.any() else max_steps
    text = " ".join(
        (
            _why_threshold(found),
            f"K = {k}: any further candidate of a row exceeds t less often than the "
            "average one of those searched.",
            _why_gamma(gamma, residual),
            f"T = {num_steps}: it moves the rows by {residual[num_steps - 1]:.2g},"
            f" the first one by {residual[0]:.2g}.",
        )
    )
    return Suggestion(Params(gamma, found.threshold), k, num_steps, text, found)


def _why_threshold(found: ThresholdSuggestion) -> str:
    low, high = found.interval
    text = (
        f"t = {found.threshold:.3f} ({low:.3f} to {high:.3f}): a row then expects "
        f"{found.false_edges_per_row:.2g} impostors above it by the tail of random "
        f"pairs, among {found.edges_per_row:.2g} candidates found there."
    )
    if found.tail.misfit > _TRUSTED_MISFIT:
        text += (
            " Do not trust it: the counts are not those of a tail and a background "
            f"(misfit {found.tail.misfit:.1f}), as where far more than a fifth of all "
            "pairs are genuine."
        )
    return text


def _why_gamma(gamma: float, residual: np.ndarray) -> str:
    if np.any(np.diff(residual) > 0):
        return (
            f"gamma = {gamma:g}: the rows swing at every step tried; the least of them."
        )
    return (
        f"gamma = {gamma:g}: the largest step tried at which every update moves the "
        "rows less than the one before."
    )


def _falls(residual: np.ndarray) -> bool:
    falling = np.maximum(_FALLS * residual[:-1], _ROUNDING)
    return bool(np.all(residual[1:] <= falling))


def _choose_k(neighbors: Neighbors, threshold: float) -> int:
    """Finds the elbow of the edges kept by the first columns: farthest from the chord.

    Past it a column adds fewer edges than the average column does.
    """
    edges = _edges_at(neighbors, threshold).sum(axis=0)
    if not edges.any():
        others = np.asarray(neighbors.similarity)[_is_other(neighbors)]
        raise ValueError(
            f"no candidate exceeds the suggested threshold {threshold:.3f}, the "
            f"largest is {others.max(initial=-1):.3f}: the pool has no neighbours to "
            "aggregate; a larger false_edges_per_row lowers the threshold"
        )
    kept = np.cumsum(edges) / edges.sum()
    chord = np.arange(1, len(edges) + 1) / len(edges)
    return int(np.argmax(kept - chord)) + 1


def _edges_at(neighbors: Neighbors, threshold: float) -> np.ndarray:
    """Says which candidates exceed t, [N, K] bool; the row itself is no edge."""
    return (np.asarray(neighbors.similarity) > threshold) & _is_other(neighbors)


def _is_other(neighbors: Neighbors) -> np.ndarray:
    indices = np.asarray(neighbors.indices)
    return (indices >= 0) & (indices != np.arange(len(indices))[:, None])


def _count_groups(
    features: np.ndarray,
    random: np.random.Generator,
    sample_size: int,
    progress: Callable | None,
) -> np.ndarray:
    """Counts the cosines between every two groups of sampled rows.

    Returns:
        [G, G, B] int64, zero below the diagonal.
    """
    # Sorted, so that a memory map is read in one pass.
    rows = features[np.sort(random.permutation(len(features))[:sample_size])]
    numerics.check_unit_rows(rows)
    size = -(-len(rows) // _NUM_GROUPS)
    counts = np.zeros((_NUM_GROUPS, _NUM_GROUPS, _NUM_BINS), np.int64)
    for tile in score_tiles(
        rows,
        random.permutation(len(rows)),
        block_size=size,
        num_bins=_NUM_BINS,
        progress=progress,
    ):
        bins = np.asarray(tile.bins).reshape(tile.height, tile.width)
        if tile.is_diagonal:
            bins = bins[np.triu_indices(tile.height, 1)]
        counts[tile.first // size, tile.second // size] += count_bins(
            bins.reshape(-1), num_bins=_NUM_BINS
        )
    return counts


def _check(
    features: np.ndarray,
    neighbors: Neighbors,
    false_edges_per_row: float,
    tail: str,
    sample_size: int,
    num_resamples: int,
) -> None:
    if len(features) < _MIN_ROWS:
        raise ValueError(
            f"got {len(features)} rows; expected {_MIN_ROWS} or more, whose pairs show "
            "a tail: choose the threshold by hand"
        )
    shapes = np.shape(neighbors.indices), np.shape(neighbors.similarity)
    if len(shapes[0]) != 2 or shapes[0][0] != len(features) or shapes[0] != shapes[1]:
        raise ValueError(
            f"neighbors have shapes {shapes[0]} and {shapes[1]}; expected both "
            f"[{len(features)}, K]"
        )
    if not 0 < false_edges_per_row < len(features) - 1:
        raise ValueError(
            f"false_edges_per_row is {false_edges_per_row}; expected a number above 0 "
            f"and under {len(features) - 1}"
        )
    if tail not in TAILS:
        raise ValueError(f"tail is {tail!r}; expected one of {', '.join(TAILS)}")
    if sample_size < _MIN_ROWS:
        raise ValueError(f"sample_size is {sample_size}; expected {_MIN_ROWS} or more")
    if num_resamples < 0:
        raise ValueError(f"num_resamples is {num_resamples}; expected 0 or more")
