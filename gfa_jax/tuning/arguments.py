"""What `tune` is given: read, put on the device, refused where it cannot be used."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics
from gfa_jax.tuning.frames import (
    AnyParams,
    Frames,
    PooledParams,
    pool_frames,
    update_params,
)
from gfa_jax.tuning.options import Objective
from gfa_jax.types import Array, Neighbors, check_params

_LEAST = {
    "max_iterations": 0,
    "batch_size": 2,
    "validate_every": 1,
    "patience": 1,
    "min_gain": 0,
    "final_temperature_ratio": 0,
}


def read_features(
    features: Array | Frames, neighbors: Neighbors, start: AnyParams
) -> tuple[jax.Array | Frames, int, Any]:
    """Puts the pool, or its frames, on the device: with N and the dtype of a row."""
    if isinstance(features, Frames) and isinstance(start, PooledParams):
        frames = Frames(
            numerics.to_compute_dtype(features.features),
            jnp.asarray(features.segments, jnp.int32),
        )
        num_rows = len(neighbors.indices)
        pool_frames(frames, num_rows=num_rows, power=start.power)  # refuses bad ones
        return frames, num_rows, frames.features.dtype
    if isinstance(features, Frames) or isinstance(start, PooledParams):
        kind = "frames" if isinstance(features, Frames) else "rows"
        raise ValueError(
            f"init_params are {type(start).__name__} and features are {kind}; expected "
            "PooledParams with Frames, and Params with rows"
        )
    features = numerics.to_compute_dtype(features)
    return features, len(features), features.dtype


def read_starts(
    given: AnyParams | Sequence[AnyParams], objective: Objective
) -> list[AnyParams]:
    """Checks the starts; takes them off the device."""
    starts = [given] if isinstance(given, AnyParams) else list(given)
    if not starts:
        raise ValueError("init_params is empty; expected at least one start")
    if len({type(start) for start in starts}) > 1:
        raise ValueError("init_params mixes Params and PooledParams; expected one kind")
    if len({tuple(map(np.shape, start)) for start in starts}) > 1:
        raise ValueError("init_params differ in shape; expected each [] or [T] in all")
    for start in starts:
        check_params(update_params(start), num_steps=objective.num_steps)
    return [to_floats(start) for start in starts]


def to_floats(params: AnyParams) -> AnyParams:
    """Takes parameters off the device: floats, and float64 [T]."""
    arrays = [np.asarray(param, float) for param in params]
    values: Any = (a if a.ndim else float(a) for a in arrays)
    return type(params)(*values)


def check_edges(neighbors: Neighbors, starts: list[AnyParams], num_rows: int) -> None:
    """Refuses thresholds that leave nothing to learn from."""
    indices, similarity = (np.asarray(column) for column in neighbors)
    if indices.ndim != 2 or len(indices) != num_rows:
        raise ValueError(
            f"neighbors.indices have shape {indices.shape}; expected [{num_rows}, K]"
        )
    if similarity.shape != indices.shape:
        raise ValueError(
            f"neighbors.similarity has shape {similarity.shape}; expected "
            f"{indices.shape}, that of the indices"
        )
    is_other = (indices >= 0) & (indices != np.arange(num_rows)[:, None])
    others = similarity[is_other]
    if not others.size:
        raise ValueError(
            "no row has a candidate besides itself; search with a larger k"
        )
    lowest = min(float(np.min(start.threshold)) for start in starts)
    if not (others > lowest).any():
        raise ValueError(
            f"no candidate exceeds the threshold {lowest:g}, so that "
            f"nothing can be learnt; the largest is {others.max():.3f}, half of them "
            f"exceed {np.median(others):.3f}: start there"
        )


def check_options(**options: float) -> None:
    """Refuses numbers of steps, pairs and validations that are too small."""
    for name, value in options.items():
        if not value >= _LEAST[name]:
            raise ValueError(f"{name} is {value}; expected {_LEAST[name]} or more")
    if options["batch_size"] % 2:
        raise ValueError(
            f"batch_size is {options['batch_size']}; expected an even number"
        )
    ratio = options["final_temperature_ratio"]
    if not 0 < ratio <= 1:
        raise ValueError(
            f"final_temperature_ratio is {ratio}; expected a factor in (0, 1]"
        )
