"""Pools whose rows are pooled from frames, and parameters that say how.

    F_s = v_s / ‖v_s‖,   v_s = Σ_{i: segments_i = s} ‖f_i‖^p f_i / ‖f_i‖

is "norm_power" of pooling.py. Where the rows of an aggregation are templates or videos,
`tune` learns p with the other parameters.
"""

from typing import NamedTuple

import jax

from gfa_jax.pooling import pool
from gfa_jax.types import Array, Params, Scalar


class Frames(NamedTuple):
    """What the rows of a pool are pooled from."""

    features: Array  # [M, D] floating rows, **not normalised**
    segments: Array  # [M] integer row of the pool, in [0, N), each at least once


class PooledParams(NamedTuple):
    """`Params`, and `power`, [] p >= 0: how much more a long vector counts."""

    gamma: Scalar
    threshold: Scalar
    temperature: Scalar = 0.05
    exponent: Scalar = 3.0
    power: Scalar = 1.0


AnyParams = Params | PooledParams


def pool_frames(frames: Frames, *, num_rows: int, power: Scalar) -> jax.Array:
    """Evaluates the unit rows F_s of the module: [num_rows, D]."""
    return pool(
        frames.features,
        frames.segments,
        num_segments=num_rows,
        method="norm_power",
        power=power,
    )


def update_params(params: AnyParams) -> Params:
    """Returns the parameters of the update, without that of the pooling."""
    return Params(*params[: len(Params._fields)])
