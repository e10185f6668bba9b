"""Settings without labels: t from impostors and mates, K, T and gamma from the graph.

t is found in likeness.py. With t known, the candidates say how many of them survive,
and an aggregation says how fast its rows come to rest; K, T and gamma follow.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gfa_jax.affinity import Weighting
from gfa_jax.aggregation import Graph, aggregate
from gfa_jax.selection.likeness import (
    DEFAULT_LIKENESS,
    SAMPLE_SIZE,
    ThresholdSuggestion,
    bound_impostors,
    edges_at,
    is_other,
    suggest_threshold,
)
from gfa_jax.types import Array, Neighbors, Params

__all__ = [
    "DEFAULT_LIKENESS",
    "MOST_STEPS",
    "SAMPLE_SIZE",
    "SUGGESTING_WIDTH",
    "Suggestion",
    "ThresholdSuggestion",
    "bound_impostors",
    "suggest",
    "suggest_threshold",
]

MOST_STEPS = 6
# Candidates to suggest K from; more of them gain where people have many rows.
SUGGESTING_WIDTH = 50

_TRUSTED_MISFIT = 3.0
_EDGES_KEPT = 0.99
_AT_REST = 0.1
_GAMMAS = (1.0, 0.5, 0.25)
# A pair that swaps places for ever moves by the same in every step.
_FALLS = 0.99
# A row at rest still moves by the rounding of its normalisation.
_ROUNDING = 1e-6


class Suggestion(NamedTuple):
    """What `suggest` returns.

    Attributes:
        params: gamma and threshold; temperature and exponent are the defaults.
        k: K, the row itself counted where the candidates list it.
        num_steps: T.
        text: why, a sentence or two for each.
        threshold: how t was found.
        column_edges: [K searched] edges above t in each column of the candidates, the
            row itself not counted: K of them hold nearly all.
        residual: [max_steps] of `Aggregation`: its decay gives gamma and T.
    """

    params: Params
    k: int
    num_steps: int
    text: str
    threshold: ThresholdSuggestion
    column_edges: np.ndarray
    residual: np.ndarray


def suggest(
    features: Array,
    neighbors: Neighbors,
    *,
    false_edges_per_row: float = 0.05,
    likeness: float = DEFAULT_LIKENESS,
    max_steps: int = MOST_STEPS,
    weighting: Weighting = "affinity",
    graph: Graph = "fixed",
    include_self: bool = True,
    updates: Callable[[int, Params], Array] | None = None,
    seed: int = 0,
    progress: Callable | None = None,
) -> Suggestion:
    """Chooses t, K, gamma and T without labels, and says why.

    t: as `suggest_threshold`. K: the nearest candidates that hold 99 % of the edges
    above t: where t keeps impostors out, more mates make a steadier mean, and K only
    bounds the cost. gamma: the largest of 1, 1/2 and 1/4 at which every step moves the
    rows less than the one before. T: the first step that moves them less than a tenth
    of what the first did.

    Args:
        features: [N, D] floating unit rows, N >= 64.
        neighbors: [N, K] candidates, as many as the search can afford:
            `SUGGESTING_WIDTH`, for one.
        false_edges_per_row: see `suggest_threshold`.
        likeness: see `suggest_threshold`.
        max_steps: the largest T.
        weighting: see `aggregate`.
        graph: see `aggregate`.
        include_self: see `aggregate`.
        updates: makes `max_steps` updates with the first K columns of the candidates
            and some parameters, `updates(k, params)`, and returns their residual: for
            features that are not all here. `aggregate` by default.
        seed: see `suggest_threshold`.
        progress: see `suggest_threshold`.

    Returns:
        Suggestion.

    Raises:
        ValueError: as `suggest_threshold`; no candidate above t (the cosine is named
            that leaves edges); max_steps under 1; some of the rows without `updates`.

    Isolate the outliers (`find_outliers`, `isolate`) at the t suggested: it is set by
    people, and the crowd that junk makes can reach above it.

    Cost: that of `suggest_threshold` and of `max_steps` updates, three times at most.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; expected 1 or more")
    if updates is None:
        if len(features) != len(neighbors.indices):
            raise ValueError(
                f"got {len(features)} of {len(neighbors.indices)} rows, which no "
                "aggregation here can move; pass `updates` that moves them all"
            )
        updates = functools.partial(
            _residual,
            features,
            neighbors,
            num_steps=max_steps,
            weighting=weighting,
            graph=graph,
            include_self=include_self,
        )
    found = suggest_threshold(
        features,
        neighbors,
        false_edges_per_row=false_edges_per_row,
        likeness=likeness,
        seed=seed,
        progress=progress,
    )
    edges = edges_at(neighbors, found.threshold).sum(axis=0)
    k = _choose_k(neighbors, edges, found.threshold)
    for gamma in _GAMMAS:
        residual = np.asarray(updates(k, Params(gamma, found.threshold)))
        if _falls(residual):
            break
    at_rest = residual <= _AT_REST * residual[0]
    num_steps = int(np.argmax(at_rest)) + 1 if at_rest.any() else max_steps
    text = " ".join(
        (
            _why_threshold(found),
            f"K = {k} of the {len(edges)} candidates searched hold {_EDGES_KEPT:.0%} "
            "of the edges above t.",
            _why_gamma(gamma, residual),
            f"T = {num_steps}: it moves the rows by {residual[num_steps - 1]:.2g},"
            f" the first one by {residual[0]:.2g}.",
        )
    )
    return Suggestion(
        Params(gamma, found.threshold), k, num_steps, text, found, edges, residual
    )


def _residual(
    features: Array, neighbors: Neighbors, k: int, params: Params, **options: Any
) -> Array:
    """Makes updates with the first K columns of the candidates."""
    nearest = Neighbors(*(np.asarray(column)[:, :k] for column in neighbors))
    return aggregate(features, nearest, params, **options).residual


def _why_threshold(found: ThresholdSuggestion) -> str:
    low, high = found.interval
    text = (
        f"t = {found.threshold:.3f} ({low:.3f} to {high:.3f}), the larger of "
        f"{found.tail_threshold:.3f}, above which a row expects few impostors by the "
        f"tail of random pairs, and {found.likeness_threshold:.3f}, a share of the "
        f"typical cosine of nearest neighbours, {found.typical_nearest:.3f}; a row "
        f"finds {found.edges_per_row:.2g} candidates above it."
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


def _choose_k(neighbors: Neighbors, edges: np.ndarray, threshold: float) -> int:
    """Finds the first columns that hold nearly all of the edges."""
    if not edges.any():
        others = np.asarray(neighbors.similarity)[is_other(neighbors)]
        raise ValueError(
            f"no candidate exceeds the suggested threshold {threshold:.3f}, the "
            f"largest is {others.max(initial=-1):.3f}: the pool has no neighbours to "
            "aggregate; a larger false_edges_per_row lowers the threshold"
        )
    return int(np.argmax(np.cumsum(edges) >= _EDGES_KEPT * edges.sum())) + 1
