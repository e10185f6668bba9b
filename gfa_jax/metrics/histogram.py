"""Histograms of cosines over bins that a threshold can trust.

The bins are 2^b equal parts of [−1, 1]. A bin number is

    bin(s) = ⌊s · 2^(b−1)⌋ + 2^(b−1)

The product with a power of two and the floor are both exact in binary floating
point, so bin(s) >= k holds precisely where s >= edge_k: counts that are summed from
the top are exact counts at the bin edges (a subnormal score counts as 0 on devices
that flush those). The two end bins are open, since rounding carries a cosine a little
beyond ±1.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.metrics.roc import check_pairs

# Bin numbers travel as uint16: half the traffic of int32, and XLA's CPU backend
# writes them as fast as it multiplies, which it does not for int32.
MAX_BINS = 2**16

# Numbers counted at once: np.bincount widens its input to int64, and a copy of this
# size stays in cache (1.3 against 2.4 ns a number for whole tiles of 2048²).
_CHUNK = 2**18


class ScoreHistogram(NamedTuple):
    """Counts of cosines, impostor and genuine apart.

    Attributes:
        edges: [B + 1] float64 from −1 to 1; the end bins are open outwards.
        impostor: [B] int64 number of impostor pairs in each bin.
        genuine: [B] int64 number of genuine pairs in each bin.
    """

    edges: np.ndarray
    impostor: np.ndarray
    genuine: np.ndarray


def score_histogram(
    scores: npt.ArrayLike, same: npt.ArrayLike, *, num_bins: int = 2**8
) -> ScoreHistogram:
    """Counts the scores of a list of pairs in equal bins of [−1, 1].

    Args:
        scores: [M] finite cosines.
        same: [M] bool (or 0 and 1), True for a genuine pair.
        num_bins: a power of two in [2, 65536].

    Returns:
        ScoreHistogram of `num_bins` bins.

    Raises:
        ValueError: as `roc_curve`, and a number of bins that is no power of two.
    """
    check_num_bins(num_bins)
    scores, same = check_pairs(scores, same)
    # Half precision cannot hold bin numbers of more than eleven bits.
    bins = bin_numbers(scores.astype(np.float64), num_bins=num_bins)
    return ScoreHistogram(
        bin_edges(num_bins),
        count_bins(bins[~same], num_bins=num_bins),
        count_bins(bins[same], num_bins=num_bins),
    )


def coarsen(histogram: ScoreHistogram, *, num_bins: int) -> ScoreHistogram:
    """Sums neighbouring bins, to draw a fine histogram.

    Args:
        histogram: B bins.
        num_bins: a power of two in [2, B].

    Returns:
        ScoreHistogram of `num_bins` bins with the same totals.

    Raises:
        ValueError: a number of bins that does not divide the present one.
    """
    check_num_bins(num_bins)
    present = histogram.impostor.size
    if num_bins > present:
        raise ValueError(
            f"num_bins is {num_bins}; expected at most the present {present}"
        )
    return ScoreHistogram(
        bin_edges(num_bins),
        histogram.impostor.reshape(num_bins, -1).sum(axis=1),
        histogram.genuine.reshape(num_bins, -1).sum(axis=1),
    )


def bin_edges(num_bins: int) -> np.ndarray:
    """Returns the [num_bins + 1] float64 edges, each one exact."""
    return np.arange(-(num_bins // 2), num_bins // 2 + 1) / (num_bins // 2)


def bin_numbers(scores: Any, *, num_bins: int) -> Any:
    """Numbers the bin of every score [...], NumPy or JAX, as uint16; -inf is in 0."""
    xp = scores.__array_namespace__()
    half = num_bins // 2
    return xp.clip(xp.floor(scores * half) + half, 0, num_bins - 1).astype(xp.uint16)


def count_bins(bins: np.ndarray, *, num_bins: int) -> np.ndarray:
    """Counts how often each bin number occurs in bins [M], as [num_bins] int64."""
    counts = np.zeros(num_bins, np.int64)
    for start in range(0, bins.size, _CHUNK):
        counts += np.bincount(bins[start : start + _CHUNK], minlength=num_bins)
    return counts


def check_num_bins(num_bins: int) -> None:
    """Raises ValueError unless `num_bins` is a power of two in [2, 65536]."""
    if not 2 <= num_bins <= MAX_BINS or num_bins & (num_bins - 1):
        raise ValueError(
            f"num_bins is {num_bins}; expected a power of two from 2 to {MAX_BINS}"
        )
