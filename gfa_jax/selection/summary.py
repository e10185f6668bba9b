"""What was seen of a pool: in numbers for a report and a plot, and in words."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gfa_jax.types import Array

LEAST_WEIGHT = 0.5  # of the candidates of a row, whose own is 1
_COSINE_BINS = 400
_Z_ENDS = np.linspace(-2, 14, 81)


class Evidence(NamedTuple):
    """What was seen of a pool, for a report and a plot."""

    # Cosine of the features at which the posterior of an edge passes one half; NaN
    # where no cosine tells most such edges from the others.
    half_cosine: float
    edges_per_row: float  # mean number of candidates with a posterior >= one half
    weight_per_row: float  # mean of Σ_j w_ij without the row itself: how far rows move
    center: float  # z₀, at which the posterior of an edge is one half
    spread: float  # mean of s_i, the spread of the cosines of strangers
    sizes: tuple[int, ...]  # the K that were compared
    closure: np.ndarray  # κ, mean closure beyond chance at each of them
    z: np.ndarray  # [B + 1] ends of bins of z_ij
    candidates: np.ndarray  # [B] candidates a row in each
    strangers: np.ndarray  # [B] strangers a row that the null expects in each
    text: str  # one sentence for each setting
    distrust: str  # what speaks against the result; empty where nothing does


def count(
    similarity: Array,
    is_edge: Array,
    weights: Array,
    z: Array,
    *,
    center: float,
    xp: Any = np,
) -> tuple[Array, ...]:
    """Counts the edges [n, W] of some rows, in the library of arrays `xp`.

    Gives [n, 2] float64 the trusted edges and all weight of each row; and of bins, each
    [1, B], the trusted candidates by their cosine, the other ones, and all by z_ij.
    """
    trusted = is_edge & (z >= center)
    sums = [x.sum(axis=1).astype(xp.float64) for x in (trusted, weights)]

    def bins(values, counted, ends):
        """Counts as `np.histogram` does, whose last bin is closed."""
        place = xp.searchsorted(ends, values, side="right") - 1
        last = len(ends) - 1
        place = xp.where(values == ends[-1], last - 1, place)
        place = xp.where(counted & (place >= 0) & (place < last), place, last).ravel()
        if xp is np:
            return np.bincount(place, minlength=last + 1)[None, :last]
        return jnp.bincount(place, length=last + 1)[None, :last]

    ends = xp.linspace(-1, 1, _COSINE_BINS + 1)
    return (
        xp.stack(sums, axis=1),
        bins(similarity, trusted, ends),
        bins(similarity, is_edge & ~trusted, ends),
        bins(z, is_edge, xp.asarray(_Z_ENDS)),
    )


def describe(
    counts: Sequence[np.ndarray],
    closure: np.ndarray,
    ks: tuple[int, ...],
    *,
    center,
    spread,
) -> Evidence:
    """Sums up what `count` gives, each part joined over all processes."""
    edges_per_row, weight_per_row = counts[0].mean(axis=0, dtype=np.float64)
    yes, no, candidates = (part.sum(axis=0) for part in counts[1:])
    # The cosine that parts the trusted candidates from the others with least error.
    wrong = np.cumsum(np.r_[0, yes]) + np.cumsum(np.r_[0, no[::-1]])[::-1]
    cut, half = np.argmin(wrong), math.nan
    if yes[cut:].sum() > yes[:cut].sum():
        half = float(np.linspace(-1, 1, _COSINE_BINS + 1)[cut])
    num_rows = len(counts[0])
    normal = [0.5 * (1 + math.erf(end / math.sqrt(2))) for end in _Z_ENDS]
    return Evidence(
        half,
        float(edges_per_row),
        float(weight_per_row),
        center,
        spread,
        ks,
        closure,
        _Z_ENDS,
        candidates / num_rows,
        np.diff(normal) * (num_rows - 1),
        "",
        "",
    )


def explain(
    seen: Evidence, k: int, num_steps: int, num_dropped: int, num_rows: int
) -> dict[str, str]:
    """Says in words what was found."""
    text = [
        f"K = {k}: the neighbourhoods are most closed at this size "
        f"({max(seen.closure.max(), 0):.2f} of the way from chance to closed).",
        f"T = {num_steps}, gamma = 1: weights say how far a row moves, "
        f"{seen.weight_per_row:.2g} on average beside 1 for itself.",
    ]
    if math.isnan(seen.half_cosine):
        text.append("No cosine of the features tells likely edges from unlikely ones.")
    else:
        text.append(
            f"The posterior of an edge passes one half at a cosine of about "
            f"{seen.half_cosine:.2f}; {seen.edges_per_row:.2g} candidates a row do."
        )
    if num_dropped:
        text.append(f"{num_dropped} outliers are dropped.")
    distrust = []
    if seen.weight_per_row < LEAST_WEIGHT:
        distrust.append(
            "hardly any edge stands out from chance: the features are left nearly as "
            "they are"
        )
    elif seen.weight_per_row < 1:
        distrust.append("edges weigh less than the rows themselves: little to follow")
    if num_dropped > 0.2 * num_rows:
        distrust.append(f"{num_dropped / num_rows:.0%} of the rows are dropped")
    return {"text": " ".join(text), "distrust": "; ".join(distrust)}
