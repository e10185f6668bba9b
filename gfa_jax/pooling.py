"""Frames or images to templates: one vector for everything known of one face.

    mean        v_s = Σ w_i f_i / Σ w_i         over the rows i of template s
    sum         v_s = Σ w_i f_i
    norm_power  v_s = Σ w_i ‖f_i‖^p f_i/‖f_i‖

and then v_s / ‖v_s‖. Embedding networks give a blurred or half-hidden face a short
vector, so a power p > 0 counts it less. Unit rows carry no such weight: pool the raw
features, before they are normalised.
"""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jax.core import Tracer

from gfa_jax import numerics
from gfa_jax.affinity import affinity_power
from gfa_jax.types import Array, Scalar

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

    The paper pools the frames of iQIYI-VID by "features L - norm where L is chosen to
    be 3.6 empirically" (§4.5), and says no more: "norm_power" with p = 3.6 is our
    reading of that sentence. p = 0 averages directions, as the baseline of the
    challenge does (insightface, challenges/iccv19-lfr), and p = 1 sums the rows as
    they are, as the paper does for YouTube Faces (§4.4). "mean" is the plain average
    of the IJB-C templates (§4.2).

    Pure; may be jitted with `num_segments`, `method` and `normalize` static, and is
    differentiable in features, weights and power. A zero row adds nothing and has a
    zero gradient. Cost O(M·D); memory two copies of the features and [S, D]. On a GPU
    the order of a sum, and with it the last bits, may change from run to run, unless
    XLA is told to be deterministic (--xla_gpu_deterministic_ops=true).

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
        ValueError: other shapes or dtypes, an unknown method, and where the values
            are known (not traced): a template number outside [0, S), a weight that is
            negative or not finite, a negative power, or templates without a row of
            positive weight, which are named.
    """
    features = numerics.to_compute_dtype(features)
    _check_options(method, num_segments, power)
    _check_shapes(features, segments, weights)
    _check_templates(segments, weights, num_segments)
    if weights is None:
        weights = jnp.ones(len(features), features.dtype)
    weights = jnp.asarray(weights, features.dtype)
    segments = jnp.asarray(segments)
    sums, scale = _segment_sums(
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
        [S, D] floating templates.

    Raises:
        ValueError: other shapes or dtypes, a template number outside [0, S), or
            templates without a row, which are named.
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
    groups, group_templates = _group_media(templates, media)
    means = pool(
        features,
        groups,
        num_segments=len(group_templates),
        method="mean",
        normalize=False,
    )
    return pool(
        means,
        group_templates,
        num_segments=num_templates,
        method="sum",
        normalize=normalize,
    )


def pool_streamed(
    features: np.ndarray,
    segments: npt.ArrayLike,
    *,
    num_segments: int,
    method: Method = "mean",
    power: float = 3.6,
    weights: npt.ArrayLike | None = None,
    normalize: bool = True,
    block_size: int = 4096,
    progress: Callable | None = None,
) -> np.ndarray:
    """Pools rows that do not fit in memory: `pool`, block by block, on the host.

    The blocks are summed in float64, so the result does not depend on where they are
    cut beyond the rounding inside a block. Cost O(M·D), one pass over the rows: about
    250,000 rows of 512 float32 a second on 2 CPU cores, sorted by template and in the
    file cache. Memory: S·D float64, the [S, D] result, and about four blocks.

    Args:
        features: [M, D] floating, for example a memory map; rows in any order, but
            those of a template together are fastest.
        segments: [M] integer template of each row, in [0, S).
        num_segments: number S of templates.
        method: "mean", "sum" or "norm_power".
        power: exponent p >= 0 of "norm_power".
        weights: [M] floating w_i >= 0.
        normalize: whether to scale the templates to unit length.
        block_size: rows of a block, >= 1.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            blocks.

    Returns:
        [S, D] float32 (float64 where the features are float64 and JAX computes in
        float64).

    Raises:
        ValueError: as `pool`, or a `block_size` below 1.
    """
    segments = np.asarray(segments)
    weights = None if weights is None else np.asarray(weights)
    _check_options(method, num_segments, power)
    _check_shapes(features, segments, weights)
    _check_templates(segments, weights, num_segments)
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1")
    dtype = numerics.to_compute_dtype(features[:0]).dtype
    templates = np.zeros((num_segments, features.shape[1]), np.float64)
    starts = range(0, len(features), block_size)
    if progress is not None:
        starts = progress(starts, total=len(starts), desc="pooling")
    for start in starts:
        rows = slice(start, start + block_size)
        found, local = np.unique(segments[rows], return_inverse=True)
        block = numerics.to_compute_dtype(features[rows])
        sums, scale = _segment_sums(
            block,
            jnp.asarray(local, jnp.int32),
            jnp.ones(len(block), dtype)
            if weights is None
            else jnp.asarray(weights[rows], dtype),
            power,
            # A power of two, so that few sizes are compiled.
            num_segments=1 << (len(found) - 1).bit_length(),
            method=method,
        )
        sums = np.asarray(sums, np.float64)[: len(found)]
        templates[found] += sums * np.asarray(scale)[: len(found), None]
    if method == "mean" and not normalize:
        templates /= np.bincount(segments, weights, num_segments)[:, None]
    if normalize:
        norms = np.sqrt(np.einsum("sd,sd->s", templates, templates))
        templates /= np.where(norms > 0, norms, 1)[:, None]
    return templates.astype(dtype)


@functools.partial(jax.jit, static_argnames=("num_segments", "method"))
def _segment_sums(
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


def _group_media(
    templates: np.ndarray, media: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the (template, medium) groups: [M] group of a row, [G] its template."""
    distinct, codes = np.unique(media, return_inverse=True)
    keys = templates.astype(np.int64) * len(distinct) + codes
    groups, inverse = np.unique(keys, return_inverse=True)
    return inverse, groups // len(distinct)


def _check_options(method: str, num_segments: int, power: Scalar) -> None:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    if num_segments < 1:
        raise ValueError(f"num_segments is {num_segments}; expected at least 1")
    if not isinstance(power, Tracer) and not 0 <= float(power) < np.inf:
        raise ValueError(f"power is {float(power):g}; expected a finite value >= 0")


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


def _check_templates(segments: Array, weights: Array | None, num_segments: int) -> None:
    """Refuses row numbers, weights and empty templates, as far as they are known."""
    if isinstance(segments, Tracer):
        return
    segments = np.asarray(segments)
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
