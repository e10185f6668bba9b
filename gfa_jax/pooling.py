"""Frames or images to templates: one vector for everything known of one face.

    mean        v_s = Σ w_i f_i / Σ w_i         over the rows i of template s
    sum         v_s = Σ w_i f_i
    norm_power  v_s = Σ w_i ‖f_i‖^p f_i/‖f_i‖

and then v_s / ‖v_s‖. Embedding networks give a blurred or half-hidden face a short
vector, so a power p > 0 counts it less. Unit rows carry no such weight: pool the raw
features, before they are normalised.
"""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jax.core import Tracer

from gfa_jax import numerics
from gfa_jax.affinity import affinity_power
from gfa_jax.checks import check_integer, check_number, check_rows
from gfa_jax.types import Array, Scalar

__all__ = ["METHODS", "Method", "pool", "pool_media"]

Method = Literal["mean", "sum", "norm_power"]
METHODS: tuple[Method, ...] = get_args(Method)
_SHOWN = 5


def pool(
    features: Array,
    segments: Array,
    *,
    num_segments: int,
    method: Method = "mean",
    power: Scalar = 3.6,
    weights: Array | None = None,
    normalize: bool = True,
) -> jax.Array:
    """Pools the rows of every template into one.

        v_s = Σ_{i: segments_i = s} w_i ‖f_i‖^p f_i/‖f_i‖      for "norm_power"

    "norm_power" with p = 3.6 is our reading of the paper's "features L - norm where L
    is chosen to be 3.6 empirically" (§4.5). p = 0 averages directions (insightface,
    challenges/iccv19-lfr), and p = 1 sums the rows as they are, as the paper does for
    YouTube Faces (§4.4). "mean" is the average of the IJB-C templates (§4.2).

    May be jitted with `num_segments`, `method` and `normalize` static; differentiable
    in features, weights and power. A zero row adds nothing and has a zero gradient.
    Cost O(M·D); memory two copies of the features and [S, D]. On a GPU the last bits
    may change from run to run, but for --xla_gpu_deterministic_ops=true.

    Args:
        features: [M, D] floating rows, **not normalised** for "norm_power".
        segments: [M] integer template of each row, in [0, S), in any order.
        num_segments: number S of templates.
        method: "mean", "sum" or "norm_power".
        power: [] exponent p >= 0 of "norm_power", may be traced.
        weights: [M] floating w_i >= 0, for example detector scores; 1 by default.
        normalize: whether to scale the templates to unit length.

    Returns:
        [S, D] floating templates. One whose rows cancel out stays zero.

    Raises:
        ValueError: other shapes or dtypes, an unknown method, and where it is not
            traced: a template number outside [0, S), a weight or a power that is
            negative or not finite, or templates without a row of positive weight.

    Examples:
        >>> frames = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 2.0]])
        >>> gfa.pool(frames, np.array([0, 0, 1]), num_segments=2).round(1)
        Array([[0.6, 0.8],
               [0. , 1. ]], dtype=float32)
    """
    features = numerics.to_compute_dtype(features)
    check_arguments(features, segments, weights, num_segments, method, power)
    if weights is None:
        weights = jnp.ones(len(features), features.dtype)
    weights = jnp.asarray(weights, features.dtype)
    segments = jnp.asarray(segments)
    sums, scale = segment_sums(
        features, segments, weights, power, num_segments=num_segments, method=method
    )
    if normalize:
        return numerics.normalize(sums)
    if method == "mean":
        total = jax.ops.segment_sum(weights, segments, num_segments)
        return numerics.safe_divide(sums, total[:, None], otherwise=sums)
    return sums * scale[:, None]


def pool_media(
    features: Array,
    templates: npt.ArrayLike,
    media: npt.ArrayLike,
    *,
    num_templates: int,
    flipped: Array | None = None,
    scores: Array | None = None,
    normalize: bool = True,
) -> jax.Array:
    """Pools images to templates with every video counted as one image.

        v_s = Σ_{m ∈ s} mean_{i ∈ m} score_i (f_i + f'_i)

    insightface's pooling for IJB (recognition/_evaluation_/ijb/ijb_11.py, its default
    options), where f' is the feature of the mirrored image. Differentiable in
    features, flipped and scores. Cost and memory as `pool`.

    Args:
        features: [M, D] floating rows, not normalised.
        templates: [M] integer template of each row, in [0, S); not traced.
        media: [M] integers: rows of a template with the same number are frames of one
            video. Not traced.
        num_templates: number S of templates.
        flipped: [M, D] floating features f' of the mirrored images.
        scores: [M] floating detector scores.
        normalize: whether to scale the templates to unit length.

    Returns:
        [S, D] floating templates, as of `pool`.

    Raises:
        ValueError: what `pool` refuses; `flipped` of another shape.
    """
    features = numerics.to_compute_dtype(features)
    templates, media = np.asarray(templates), np.asarray(media)
    _check_shapes(features, templates, scores)
    _check_shapes(features, media, None)
    if flipped is not None:
        if flipped.shape != features.shape:
            raise ValueError(
                f"flipped has shape {flipped.shape}; expected {features.shape}, one "
                "row for each of the features"
            )
        features = features + numerics.to_compute_dtype(flipped)
    if scores is not None:
        features = features * jnp.asarray(scores, features.dtype)[:, None]
    # One number for each medium of each template.
    distinct, codes = np.unique(media, return_inverse=True)
    keys = templates.astype(np.int64) * len(distinct) + codes
    keys, groups = np.unique(keys, return_inverse=True)
    means = pool(features, groups, num_segments=len(keys), normalize=False)
    return pool(
        means,
        keys // len(distinct),
        num_segments=num_templates,
        method="sum",
        normalize=normalize,
    )


@functools.partial(jax.jit, static_argnames=("num_segments", "method"))
def segment_sums(
    features: jax.Array,
    segments: jax.Array,
    weights: jax.Array,
    power: Scalar,
    *,
    num_segments: int,
    method: Method,
) -> tuple[jax.Array, jax.Array]:
    """Returns sums [S, D] and scale [S] > 0 with v_s = scale_s · sums_s.

    The sums of "norm_power" are relative to the largest norm m_s of the template,
    scale_s = m_s^p, so that no power of a norm overflows before it is normalised away.
    """
    scale = jnp.ones(num_segments, features.dtype)
    if method == "norm_power":
        norms = numerics.safe_sqrt(jnp.sum(features * features, axis=1))
        largest = jax.ops.segment_max(norms, segments, num_segments)
        # v does not depend on m, so neither may its gradient.
        largest = lax.stop_gradient(jnp.maximum(largest, 0))
        ratio = numerics.safe_divide(norms, largest[segments], otherwise=norms)
        weights = weights * affinity_power(ratio, power)
        features = numerics.normalize(features)
        scale = affinity_power(largest, power)
    sums = jax.ops.segment_sum(weights[:, None] * features, segments, num_segments)
    return sums, scale


def check_arguments(
    features: Array,
    segments: Array,
    weights: Array | None,
    num_segments: int,
    method: str,
    power: Scalar,
) -> None:
    """Refuses what `pool` does, as far as it is known."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    check_integer("num_segments", num_segments, least=1)
    check_number("power", power, 0.0)
    check_rows(features, unit=False)
    _check_shapes(features, segments, weights)
    if not isinstance(segments, Tracer):
        _check_templates(np.asarray(segments), weights, num_segments)


def _check_shapes(features: Array, segments: Array, weights: Array | None) -> None:
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(
            f"features have shape {features.shape}; expected [M, D] with M >= 1"
        )
    if segments.shape != (len(features),) or segments.dtype.kind not in "iu":
        raise ValueError(
            f"segments have shape {segments.shape} and dtype {segments.dtype}; "
            f"expected integers [{len(features)}], the template of every row"
        )
    if weights is not None and weights.shape != (len(features),):
        raise ValueError(
            f"weights have shape {weights.shape}; expected [{len(features)}], one for "
            "every row"
        )


def _check_templates(
    segments: np.ndarray, weights: Array | None, num_segments: int
) -> None:
    lowest, highest = int(segments.min()), int(segments.max())
    if lowest < 0 or highest >= num_segments:
        raise ValueError(
            f"segments run from {lowest} to {highest}; expected 0 to "
            f"{num_segments - 1}, the templates"
        )
    if weights is not None and not isinstance(weights, Tracer):
        weights = np.asarray(weights)
        bad = ~((weights >= 0) & (weights < np.inf))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"weights: row {row} has {weights[row]}; expected a finite value >= 0"
            )
        segments = segments[weights > 0]
    empty = np.flatnonzero(np.bincount(segments, minlength=num_segments) == 0)
    if empty.size:
        shown = ", ".join(str(template) for template in empty[:_SHOWN])
        more = ", …" if empty.size > _SHOWN else ""
        raise ValueError(
            f"segments: {empty.size} of {num_segments} templates have no row of "
            f"positive weight: templates {shown}{more} (counted from 0); drop them and "
            "number the others anew"
        )
