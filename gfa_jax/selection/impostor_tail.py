"""The upper tail of impostor cosines, told apart from genuine pairs without labels.

With z the cosine in scales above the center of the impostor bulk, the counts of pairs
between z = 2 and z = 6, a cosine of .7 at most, are fitted by two densities added up,

    n(z) ≈ exp(l − r x − q x²) + exp(g + b (y + c y (1 − y))),  x = z − 2

with y = x over the length of the window:

the impostor tail, which falls at least exponentially (r > 0, q >= 0), and a smooth
background of genuine pairs and clumps, which does not fall (b >= 0, |c| <= 1). Counts
are fitted, not the numbers above a cosine: what lies above the window does not matter
at all, and what lies inside is told apart by its shape.

The cosines of impostors are close to Gaussian, to whose tail a quadratic log-density is
exact. The generalised Pareto tail (Pickands 1975), (1 + ξ r x)^(−1/ξ − 1), the limit
for ever higher windows, is still far from it here. Center and scale are those of a
Gaussian matched to the counts around their mode (central matching, Efron 2004).
"""

from typing import Literal, NamedTuple, get_args

import numpy as np

Tail = Literal["gaussian", "pareto"]
TAILS: tuple[Tail, ...] = get_args(Tail)

WINDOW = (2.0, 6.0)
# How far, relatively, the densities may be from the true ones: no number of pairs
# makes a model exact, and without this the body would outweigh the tail by far.
_MODEL_ERROR = 0.02
# The window ends here at the latest: genuine cosines, too, grow rare towards 1, and a
# background that does not fall could not follow.
_HIGHEST = 0.7
# Fewer bins than this say nothing about six coefficients.
_MIN_BINS = 16


class ImpostorTail(NamedTuple):
    """Counted cosines and the two densities fitted to them, for a plot.

    Attributes:
        edges: [B + 1] float64 bin edges, cosines from −1 to 1.
        pairs: [B] float64 pairs counted in each bin.
        impostor: [B] float64 pairs that the fitted tail puts in each bin; NaN below
            the window.
        background: [B] float64 other pairs fitted; NaN outside the window.
        center: center of the impostor bulk, a cosine.
        scale: its scale in units of cosine.
        window: the cosines between which the counts were fitted.
        misfit: mean squared residual in units of its expected error: about 1 where the
            two densities explain the counts; above 3, do not trust them.
    """

    edges: np.ndarray
    pairs: np.ndarray
    impostor: np.ndarray
    background: np.ndarray
    center: float
    scale: float
    window: tuple[float, float]
    misfit: float

    def probability(self, threshold: float) -> float:
        """Gives the share of all pairs that are impostors with a cosine above t."""
        above = np.clip((self.edges[1:] - threshold) / np.diff(self.edges), 0, 1)
        return float(np.nansum(self.impostor * above) / self.pairs.sum())

    def threshold(self, probability: float) -> float:
        """Gives the cosine with this share of impostor pairs above it, at most 1."""
        fitted = ~np.isnan(self.impostor)
        shares = np.cumsum(self.impostor[fitted][::-1])[::-1] / self.pairs.sum()
        starts = np.append(self.edges[:-1][fitted], 1.0)
        return float(np.interp(-probability, -np.append(shares, 0.0), starts))


def fit_tail(
    pairs: np.ndarray,
    edges: np.ndarray,
    *,
    tail: Tail = "gaussian",
    window: tuple[float, float] = WINDOW,
) -> ImpostorTail:
    """Fits the two densities of the module by least squares of square roots of counts.

    Args:
        pairs: [B] pairs counted in each bin, >= 0.
        edges: [B + 1] equally spaced cosines.
        tail: "gaussian" for the log-quadratic tail, "pareto" for the generalised
            Pareto one.
        window: where to fit, in scales above the center.

    Returns:
        ImpostorTail.

    Raises:
        ValueError: a bulk so narrow, or so near 1, that hardly a bin is left above it.
    """
    from scipy import optimize

    pairs = np.asarray(pairs, np.float64)
    center, scale = match_bulk(pairs, edges)
    window = window[0], min(window[1], (_HIGHEST - center) / scale)
    z = ((edges[1:] + edges[:-1]) / 2 - center) / scale
    inside, above = (z >= window[0]) & (z < window[1]), z >= window[0]
    counted, x = pairs[inside], z[inside] - window[0]
    if len(x) < _MIN_BINS:
        raise ValueError(
            f"the cosines gather about {center:.3f} with a scale of {scale:.2g}, and "
            f"{len(x)} of {len(pairs)} bins are left for their tail; expected "
            f"{_MIN_BINS} or more: choose the threshold by hand"
        )
    # The root of a count errs by one half, whatever the count.
    error = 0.5 * np.sqrt(1 + _MODEL_ERROR**2 * counted)
    guess, spread, bounds = _beliefs(pairs, z, counted, window, tail)

    def residual(coefficients: np.ndarray) -> np.ndarray:
        expected = _tail(x, coefficients, tail) + _rest(x, coefficients, window)
        root = np.sqrt(counted + 0.375) - np.sqrt(expected + 0.375)
        return np.concatenate([root / error, (coefficients - guess) / spread])

    found = optimize.least_squares(residual, guess, bounds=bounds)
    impostor, background = np.full((2, len(pairs)), np.nan)
    impostor[above] = _tail(z[above] - window[0], found.x, tail)
    background[inside] = _rest(x, found.x, window)
    return ImpostorTail(
        edges,
        pairs,
        impostor,
        background,
        center,
        scale,
        (center + window[0] * scale, center + window[1] * scale),
        float(np.mean(np.square(found.fun[: len(x)]))),
    )


def match_bulk(pairs: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """Matches a Gaussian to the counts around their mode: its center and scale.

    Args:
        pairs: [B] counts.
        edges: [B + 1] equally spaced cosines.

    Returns:
        Center and scale, in units of cosine.
    """
    middle, bin_width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    # The lower half holds hardly a genuine pair.
    cumulative = np.cumsum(pairs) / pairs.sum()
    lower, median = np.interp((0.159, 0.5), cumulative, edges[1:])
    width = max(median - lower, 2 * bin_width)
    kernel = np.ones(max(1, round(width / 5 / bin_width)))
    mode = middle[np.argmax(np.convolve(pairs, kernel, mode="same"))]
    bulk = (np.abs(middle - mode) < width) & (pairs > 0)
    if np.count_nonzero(bulk) > 3:
        # A logarithm of a count errs by one over its root.
        bend, slope, _ = np.polyfit(
            middle[bulk], np.log(pairs[bulk]), 2, w=np.sqrt(pairs[bulk])
        )
        if bend < 0 and abs(-slope / (2 * bend) - mode) < width:
            return float(-slope / (2 * bend)), float(np.sqrt(-0.5 / bend))
    return float(mode), float(width)


def _beliefs(
    pairs: np.ndarray,
    z: np.ndarray,
    counted: np.ndarray,
    window: tuple[float, float],
    tail: Tail,
) -> tuple[np.ndarray, np.ndarray, tuple[list[float], list[float]]]:
    """Says what l, r, q (or ξ), g, b, c are before the counts: guess, spread, bounds.

    The bulk's own Gaussian goes on into the tail, roughly. Thousands of pairs outweigh
    this belief; a few hundred need it.
    """
    start, _ = window
    peak = np.log(pairs[np.abs(z) < 0.5].mean())
    late = np.log(counted[-len(counted) // 5 :].mean() / 2 + 1e-3)
    shape, least, most = (0.45, 0.0, 3.0) if tail == "gaussian" else (-0.1, -0.4, 0.3)
    guess = np.array([peak - start**2 / 2, start, shape, late, 0.5, 0.0])
    spread = np.array([0.5, 1.0, 0.5, np.inf, 2.0, 1.0])
    low = [-np.inf, 0.3, least, -30.0, 0.0, -1.0]
    high = [np.inf, 20.0, most, np.log(pairs.max()) + 1, 20.0, 1.0]
    return guess, spread, (low, high)


def _tail(x: np.ndarray, coefficients: np.ndarray, tail: Tail) -> np.ndarray:
    level, rate, shape = coefficients[:3]
    if tail == "gaussian":
        return np.exp(level - rate * x - shape * x**2)
    if abs(shape) < 1e-6:
        return np.exp(level - rate * x)
    # A negative shape ends the tail where the base reaches 0.
    base = np.maximum(1 + shape * rate * x, 1e-12)
    return np.exp(level) * base ** (-1 / shape - 1)


def _rest(
    x: np.ndarray, coefficients: np.ndarray, window: tuple[float, float]
) -> np.ndarray:
    level, slope, bend = coefficients[3:]
    y = x / (window[1] - window[0])
    return np.exp(level + slope * (y + bend * y * (1 - y)))
