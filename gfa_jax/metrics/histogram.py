"""Histograms of cosines over bins that a threshold can trust.

The bins are 2^16 equal parts of [−1, 1]. A bin number is

    bin(s) = ⌊s · 2^15⌋ + 2^15

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
NUM_BINS = 2**16
_NUM_DRAWN = 2**8

# Numbers counted at once: np.bincount widens its input to int64, and a copy of this
# size stays in cache (1.3 against 2.4 ns a number for whole tiles of 2048²).
_CHUNK = 2**18


class ScoreHistogram(NamedTuple):
    """Counts of cosines, impostor and genuine apart, in B equal bins."""

    edges: np.ndarray  # [B + 1] float64 from −1 to 1; the end bins are open outwards
    impostor: np.ndarray  # [B] int64 impostor pairs in each bin
    genuine: np.ndarray  # [B] int64 genuine pairs in each bin


def score_histogram(scores: npt.ArrayLike, same: npt.ArrayLike) -> ScoreHistogram:
    """Counts a list of cosines in 256 bins.

    Args:
        scores: [M] cosines.
        same: [M] bool (or 0 and 1), True for a genuine pair.

    Returns:
        ScoreHistogram, impostor and genuine pairs apart.

    Raises:
        ValueError: as `roc_curve`.
    """
    scores, same = check_pairs(scores, same)
    # Half precision cannot hold bin numbers of more than eleven bits.
    bins = bin_numbers(scores.astype(np.float64))
    return coarsen(
        ScoreHistogram(bin_edges(), count_bins(bins[~same]), count_bins(bins[same]))
    )


def coarsen(histogram: ScoreHistogram) -> ScoreHistogram:
    """Sums neighbouring bins up to 256 bins, which is enough to draw."""
    edges, impostor, genuine = histogram
    return ScoreHistogram(
        edges[:: impostor.size // _NUM_DRAWN],
        impostor.reshape(_NUM_DRAWN, -1).sum(axis=1),
        genuine.reshape(_NUM_DRAWN, -1).sum(axis=1),
    )


def bin_edges() -> np.ndarray:
    """Returns the [NUM_BINS + 1] float64 edges, each one exact."""
    return np.arange(-(NUM_BINS // 2), NUM_BINS // 2 + 1) / (NUM_BINS // 2)


def bin_numbers(scores: Any) -> Any:
    """Numbers the bin of every score [...], NumPy or JAX, as uint16; -inf is in 0."""
    xp = scores.__array_namespace__()
    half = NUM_BINS // 2
    return xp.clip(xp.floor(scores * half) + half, 0, NUM_BINS - 1).astype(xp.uint16)


def count_bins(bins: np.ndarray) -> np.ndarray:
    """Counts how often each bin number occurs in bins [M], as [NUM_BINS] int64."""
    counts = np.zeros(NUM_BINS, np.int64)
    for start in range(0, bins.size, _CHUNK):
        counts += np.bincount(bins[start : start + _CHUNK], minlength=NUM_BINS)
    return counts
