"""Cosines in the pool's own units, and how far above chance each of them is.

Networks differ in where their cosines gather: two strangers are at .02 in one and at
.84 in another, and what all rows have in common, or a few strong directions of the
pool (gender, colour, brand), says little of an identity. With m the mean of the pool
and Σ its covariance, shrunk towards a multiple of the identity by α = min(1, D / S)
where S rows were measured (Ledoit and Wolf 2004),

    v_i = B (F_i − m) / ‖B (F_i − m)‖,   B = Σ^(−1/4),   a_ij = v_i · v_j

is the cosine after half a whitening: each principal axis is divided by the fourth
root of its variance. A common mean vector and an affine change of all cosines, such as
a constant column brings, leave a_ij as it is.

Over all rows of the pool a_ij has the mean v_i · w and the variance v_iᵀ W v_i, with w
and W the mean and the covariance of the v_j, so that no pair needs to be looked at. The
strangers of row i are all rows but itself and its group: of its K nearest, which are
known with their cosines, the share κ that closure puts above chance (shared.py) is
taken out again, each by the part κ (the null of a local false discovery rate is read
where no group is: Efron 2004). That leaves N − 1 − κK strangers, of whose a_ij μ_i is
the mean and s_i the standard deviation. In a pool of many groups it changes little; of
two groups, half of all rows are of it. What is measured of an edge is

    z_ij = min((a_ij − μ_i) / s_i, (a_ij − μ_j) / s_j)

how many standard deviations above both rows' own strangers it lies: a hub, which is
near everybody, is not near anybody by it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics
from gfa_jax.types import Array

# Variances under this share of the mean one are taken as it: a pool of D = 2, or of
# copies, has directions without any.
_LEAST_VARIANCE = 1e-6
_TINY = 1e-12
_LEAST_SPREAD = 1e-6


class PoolMetric(NamedTuple):
    """What is known of a pool from a sample of its rows, all float32."""

    mean: jax.Array  # [D] m
    metric: jax.Array  # [D, D] B²
    null_mean: jax.Array  # [D] B w
    null_covariance: jax.Array  # [D, D] B W B


class RowNull(NamedTuple):
    """What is known of single rows: over the whole pool, or of their strangers."""

    length: Array  # [n] float32 ‖B (F_i − m)‖
    mean: Array  # [n] float32 mean of a_ij, or μ_i
    spread: Array  # [n] float32 its standard deviation, or s_i > 0


def draw_sample(num_rows: int, most: int, *, seed: int = 0) -> np.ndarray:
    """Draws the rows from which a pool is measured, in order, at most so many."""
    if num_rows <= most:
        return np.arange(num_rows)
    random = np.random.default_rng(seed)
    return np.sort(random.choice(num_rows, most, replace=False))


def measure_pool(rows: Array) -> PoolMetric:
    """Measures a pool by S unit rows of it, [S, D], in float64.

    Of rows that are all alike the metric is the identity. O(S D² + D³) time.
    """
    rows = np.asarray(rows, np.float64)
    mean = rows.mean(axis=0)
    centered = rows - mean
    variances, axes = np.linalg.eigh(centered.T @ centered / len(rows))
    average = variances.mean()
    if average <= _TINY:
        half = np.eye(rows.shape[1])
    else:
        shrinkage = min(1.0, rows.shape[1] / len(rows))
        variances = (1 - shrinkage) * variances / average + shrinkage
        half = (axes * np.maximum(variances, _LEAST_VARIANCE) ** -0.25) @ axes.T
    views = centered @ half
    views /= np.maximum(np.linalg.norm(views, axis=1, keepdims=True), _TINY)
    null_mean = views.mean(axis=0)
    views -= null_mean
    covariance = views.T @ views / len(rows)
    return PoolMetric(
        *(
            jnp.asarray(part, jnp.float32)
            for part in (mean, half @ half, half @ null_mean, half @ covariance @ half)
        )
    )


@jax.jit
def measure_rows(features: Array, pool: PoolMetric) -> RowNull:
    """Evaluates mean and spread of the a_ij of rows [n, D] over the whole pool.

    A row at the mean of the pool has the length 0 and no neighbours. O(n D²) time.
    """
    centered = jnp.asarray(features, jnp.float32) - pool.mean[None]
    moved = numerics.dot("nd,de->ne", centered, pool.metric)
    length = jnp.sqrt(jnp.maximum(jnp.sum(centered * moved, axis=1), 0))
    scale = 1 / jnp.maximum(length, _TINY)
    spread = numerics.dot("nd,de->ne", centered, pool.null_covariance)
    variance = jnp.maximum(jnp.sum(centered * spread, axis=1), 0) * scale**2
    mean = numerics.dot("nd,d->n", centered, pool.null_mean) * scale
    return RowNull(length, mean, jnp.sqrt(variance) + _LEAST_SPREAD)


def measure_rows_in_blocks(
    features: Array, pool: PoolMetric, *, block_size: int
) -> RowNull:
    """Evaluates `measure_rows` of an array or a memory map, some rows at a time."""
    blocks = [
        measure_rows(np.asarray(features[start : start + block_size]), pool)
        for start in range(0, len(features), block_size)
    ]
    return RowNull(*map(np.concatenate, zip(*blocks, strict=True)))


def without_mates(
    null: RowNull, cosines: Array, *, share: float, num_rows: int, xp: Any = np
) -> RowNull:
    """Takes the row itself and its group out of the null: μ_i and s_i.

    The cosines a_ij are those of the K nearest others, [n, K], NaN in an empty slot;
    the share κ of them are of its group. `xp` is the library of the arrays; sums of N
    terms cancel, and so are float64.
    """
    near = xp.nan_to_num(xp.asarray(cosines, xp.float64))
    known = share * xp.isfinite(cosines).sum(axis=1)
    left = xp.maximum(num_rows - 1 - known, 1)
    mean, spread = (xp.asarray(part, xp.float64) for part in null[1:])
    first = (num_rows * mean - 1 - share * near.sum(axis=1)) / left
    second = num_rows * (spread**2 + mean**2) - 1 - share * (near**2).sum(axis=1)
    variance = xp.maximum(second / left - first**2, 0)
    return RowNull(
        null.length,
        first.astype(xp.float32),
        (xp.sqrt(variance) + _LEAST_SPREAD).astype(xp.float32),
    )


def pool_views(features: Array, pool: PoolMetric | None = None) -> jax.Array:
    """Evaluates v_i, rows whose plain cosines are a_ij: for clusters, or a picture.

    Takes [N, D] unit rows; gives float32 ones, zero at the mean of the pool. O(N D² +
    D³) time, two [N, D] arrays.
    """
    pool = measure_pool(features) if pool is None else pool
    values, axes = jnp.linalg.eigh(pool.metric)
    half = (axes * jnp.sqrt(jnp.maximum(values, 0))[None]) @ axes.T
    centered = jnp.asarray(features, jnp.float32) - pool.mean[None]
    return numerics.normalize(numerics.dot("nd,de->ne", centered, half))


def pool_cosines(
    feature: jax.Array,
    neighborhood: jax.Array,
    lengths: tuple[jax.Array, jax.Array],
    pool: PoolMetric,
) -> jax.Array:
    """Evaluates a_ij of a row [D] and its candidates [C, D]: [C] float32.

    `lengths` are ‖B (F_i − m)‖, [], and ‖B (F_j − m)‖, [C].
    """
    moved = numerics.dot("d,de->e", feature - pool.mean, pool.metric)
    dots = numerics.dot("e,ce->c", moved, neighborhood)
    dots -= numerics.dot("e,e->", moved, pool.mean)
    return dots / jnp.maximum(lengths[0] * lengths[1], _TINY)
