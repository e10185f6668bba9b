"""The methods that are compared, and the settings that each may try.

Each parameter is an axis, a function of [0, 1) and of what the pool allows; how the
cube is searched stands in `search`, for all methods alike.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import gfa_jax as gfa
from experiments.studies import baselines
from experiments.studies.forms import drop_rows, refine_by_default
from gfa_jax.selection.expansion import expand

Setting = dict[str, Any]
Output = np.ndarray | baselines.PairScores | baselines.NormalizedScores


class Range(NamedTuple):
    """What the pool allows."""

    max_k: int  # the most neighbours, the row itself counted
    low: float  # lowest cosine worth a threshold
    high: float  # highest cosine worth a threshold


Axis = Callable[[float, Range], Any]

_WIDE = 300


class Method(NamedTuple):
    """One row of the table."""

    axes: Mapping[str, Axis]  # the parameters, each from [0, 1) to a value
    # Features [N, D], neighbors [N, >= k] and the setting to refined features or
    # scores.
    run: Callable[..., Output]
    # Orders settings, the gentlest lowest, for the rule of `choice`.
    strength: Callable[[Setting], tuple]
    # Features and neighbours to those that `run` takes, without a setting.
    prepare: Callable[..., tuple[np.ndarray, gfa.Neighbors]] = lambda *given: given
    takes_origin: bool = False  # whether `run` asks for the `cameras` of the rows


def range_of(neighbors: gfa.Neighbors) -> Range:
    """Reads the range of thresholds off the cosines of the candidates, label-free.

    From the median cosine of the last candidates, where the impostors are, to the
    cosine that 5 % of the rows have with their nearest.

    Args:
        neighbors: [N, K >= 2] candidates, the row itself first.

    Returns:
        Range.
    """
    similarity = np.asarray(neighbors.similarity)
    low = float(np.median(similarity[:, -1]))
    # Rounding carries the cosine of copies a little beyond 1.
    high = min(float(np.quantile(similarity[:, 1], 0.95)), 1.0)
    return Range(similarity.shape[1], low, high)


def _uniform(low: float, high: float) -> Axis:
    return lambda u, limits: low + u * (high - low)


def _logarithmic(low: float, high: float) -> Axis:
    return lambda u, limits: low * (high / low) ** u


def _choice(*values: Any) -> Axis:
    return lambda u, limits: values[int(u * len(values))]


def _neighbors(low: int, high: int | None = None) -> Axis:
    """Whole numbers, as many between 3 and 6 as between 6 and 12."""

    def axis(u: float, limits: Range) -> int:
        most = limits.max_k if high is None else min(high, limits.max_k)
        return int(low * ((most + 1) / low) ** u)

    return axis


def _threshold(u: float, limits: Range) -> float:
    """Leans to the low end: few pools want a t above most of their nearest pairs."""
    return limits.low + u**1.5 * (limits.high - limits.low)


def _aggregate(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k: int,
    gamma: float,
    threshold: float,
    num_steps: int,
    exponent: float = 3.0,
    temperature: float = 0.05,
    options: gfa.Options | None = None,
    **changes: Any,
) -> np.ndarray:
    """Calls `aggregate`; wider candidates are masked: no k and no T compiles anew."""
    indices = np.asarray(neighbors.indices)
    indices = np.where(np.arange(indices.shape[1]) < k, indices, -1)
    result = gfa.aggregate(
        features,
        neighbors._replace(indices=indices),
        gfa.Params(gamma, threshold, temperature, exponent),
        num_steps=num_steps,
        options=options or gfa.Options(**changes),
    )
    return np.asarray(jax.block_until_ready(result.features))


def _widen(
    features: np.ndarray, neighbors: gfa.Neighbors
) -> tuple[np.ndarray, gfa.Neighbors]:
    """Searches a cohort, or neighbours of every camera, that the others do not need."""
    found = gfa.exact_neighbors(features, k=min(_WIDE, len(features) - 1))
    return features, gfa.Neighbors(*map(np.asarray, found))


def _refine_and_widen(
    features: np.ndarray, neighbors: gfa.Neighbors
) -> tuple[np.ndarray, gfa.Neighbors]:
    return _widen(refine_by_default(features, neighbors), neighbors)


def _expansion_of_10(features: np.ndarray, neighbors: gfa.Neighbors) -> np.ndarray:
    """Calls the expansion that `refine` reports beside its result."""
    return np.asarray(jax.block_until_ready(expand(features, neighbors)))


def _drop(
    features: np.ndarray, neighbors: gfa.Neighbors
) -> tuple[np.ndarray, gfa.Neighbors]:
    return features, drop_rows(features, neighbors)


def _most_moved(s: Setting) -> tuple:
    return (s["gamma"] * s["num_steps"], -s["threshold"], s["k"])


_K = _neighbors(3)
_PAPER: Mapping[str, Axis] = {
    "k": _K,
    "threshold": _threshold,
    "gamma": _choice(0.5, 1.0),
    "num_steps": _choice(1, 2, 3, 4),
}
_AFFINITY: Mapping[str, Axis] = {
    **_PAPER,
    "exponent": _uniform(0.0, 5.0),
    "temperature": _logarithmic(0.01, 0.1),
}

_AS_NORM: Any = (
    {"k": _neighbors(2, 100), "cohort": _neighbors(10, 250)},
    baselines.as_norm,
    lambda s: (s["k"], s["cohort"]),
)
_CSLS: Any = ({"k": _neighbors(2, 100)}, baselines.csls, lambda s: (s["k"],))

METHODS: Mapping[str, Method] = {
    "raw": Method({}, lambda features, neighbors: features, lambda _: ()),
    "average query expansion": Method(
        {"k": _neighbors(2)},
        baselines.average_query_expansion,
        lambda s: (s["k"],),
    ),
    "alpha query expansion": Method(
        {"k": _K, "alpha": _uniform(0.0, 8.0)},
        baselines.alpha_query_expansion,
        lambda s: (-s["alpha"], s["k"]),
    ),
    "query expansion of 10": Method({}, _expansion_of_10, lambda _: ()),
    "half-whitened expansion": Method(
        {"k": _K, "alpha": _uniform(0.0, 8.0), "whitened": _choice(False, True)},
        baselines.half_whitened_expansion,
        lambda s: (s["whitened"], -s["alpha"], s["k"]),
    ),
    "recognizable expansion": Method(
        {"k": _K, "alpha": _uniform(0.0, 8.0), "threshold": _threshold},
        baselines.recognizable_expansion,
        lambda s: (-s["alpha"], s["k"], -s["threshold"]),
    ),
    "database augmentation": Method(
        {"k": _neighbors(2)},
        baselines.database_augmentation,
        lambda s: (s["k"],),
    ),
    "SuperGlobal": Method(
        {"k": _K, "beta": _logarithmic(0.05, 2.0)},
        baselines.super_global,
        lambda s: (s["beta"], s["k"]),
    ),
    "GCR": Method(
        {"k": _K, "beta": _logarithmic(0.05, 1.0), "num_steps": _choice(1, 2, 3)},
        baselines.propagation,
        lambda s: (s["num_steps"], s["beta"], s["k"]),
    ),
    "k-reciprocal": Method(
        {
            "k1": _neighbors(3, 25),
            "k2": _neighbors(1, 6),
            "cosine_share": _logarithmic(0.05, 0.95),
            "normalize": _choice(True, False),
        },
        baselines.k_reciprocal,
        lambda s: (-s["cosine_share"], s["k1"], s["k2"]),
    ),
    "camera-aware Jaccard": Method(
        {
            "k_own": _neighbors(2, 15),
            "k_other": _neighbors(3, 25),
            "k2": _neighbors(1, 6),
            "cosine_share": _logarithmic(0.05, 0.95),
        },
        baselines.camera_jaccard,
        lambda s: (-s["cosine_share"], s["k_other"], s["k_own"], s["k2"]),
        prepare=_widen,
        takes_origin=True,
    ),
    "diffusion": Method(
        {
            "k": _neighbors(3, 25),
            "alpha": _uniform(0.2, 0.9),
            "exponent": _uniform(1.0, 6.0),
            "cosine_share": _logarithmic(0.01, 0.95),
            "normalize": _choice(True, False),
        },
        baselines.diffusion,
        lambda s: (-s["cosine_share"], s["alpha"], s["k"]),
    ),
    "mean shift": Method(
        {"k": _K, "threshold": _threshold, "num_steps": _choice(1, 2, 3, 4)},
        baselines.mean_shift,
        lambda s: (s["num_steps"], -s["threshold"], s["k"]),
    ),
    "AS-norm": Method(*_AS_NORM, prepare=_widen),
    "CSLS": Method(*_CSLS, prepare=_widen),
    "paper": Method(
        _PAPER, functools.partial(_aggregate, options=gfa.PAPER), _most_moved
    ),
    "affinity with T = 1": Method(
        {name: axis for name, axis in _AFFINITY.items() if name != "num_steps"},
        functools.partial(_aggregate, mask="soft", num_steps=1),
        lambda s: _most_moved(s | {"num_steps": 1}),
        prepare=_drop,
    ),
    # With a soft mask, and the rows dropped that the default drops.
    "affinity": Method(
        _AFFINITY,
        functools.partial(_aggregate, mask="soft"),
        _most_moved,
        prepare=_drop,
    ),
    "default": Method({}, refine_by_default, lambda _: ()),
    "default + AS-norm": Method(*_AS_NORM, prepare=_refine_and_widen),
    "default + CSLS": Method(*_CSLS, prepare=_refine_and_widen),
}
