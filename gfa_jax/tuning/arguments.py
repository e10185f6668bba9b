"""What `tune` is given: read, put on the device, refused where it cannot be used."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax import numerics
from gfa_jax.checks import (
    check_kind,
    check_neighbors,
    check_params,
    check_rows,
    row_numbers,
)
from gfa_jax.tuning.frames import (
    AnyParams,
    Frames,
    PooledParams,
    pool_frames,
    update_params,
)
from gfa_jax.types import Array, Neighbors, check_integer, check_number

_LEAST = {"max_iterations": 0, "batch_size": 2, "validate_every": 1, "seed": 0}


def read_pool(
    features: Array | Frames, neighbors: Neighbors, start: AnyParams
) -> tuple[jax.Array | Frames, Array]:
    """Puts the pool, or its frames, on the device; gives the candidates as int32."""
    check_kind("neighbors", neighbors, Neighbors)
    if isinstance(features, Frames) and isinstance(start, PooledParams):
        indices = row_numbers(neighbors.indices, len(neighbors.indices))
        # Refuses frames that do not fit, before the cast.
        pool_frames(features, num_rows=len(indices), power=start.power)
        rows = numerics.to_compute_dtype(features.features)
        return Frames(rows, jnp.asarray(features.segments, jnp.int32)), indices
    if isinstance(features, Frames) or isinstance(start, PooledParams):
        kind = "frames" if isinstance(features, Frames) else "rows"
        raise ValueError(
            f"init_params are {type(start).__name__} and features are {kind}; expected "
            "PooledParams with Frames, and Params with rows"
        )
    indices = check_neighbors(features, neighbors)
    check_rows(features)
    return numerics.to_compute_dtype(features), indices


def read_starts(
    given: AnyParams | Sequence[AnyParams], *, num_steps: int
) -> list[AnyParams]:
    """Checks the starts; takes them off the device."""
    starts = [given] if isinstance(given, AnyParams) else list(given)
    for start in starts:
        if not isinstance(start, AnyParams):
            raise ValueError(
                f"init_params are of type {type(start).__name__}; expected Params or "
                "PooledParams"
            )
    if not starts:
        raise ValueError("init_params is empty; expected at least one start")
    if len({type(start) for start in starts}) > 1:
        raise ValueError("init_params mixes Params and PooledParams; expected one kind")
    if len({tuple(map(np.shape, start)) for start in starts}) > 1:
        raise ValueError("init_params differ in shape; expected each [] or [T] in all")
    for start in starts:
        check_params(update_params(start), num_steps=num_steps)
    return [to_floats(start) for start in starts]


def to_floats(params: AnyParams) -> AnyParams:
    """Takes parameters off the device: floats, and float64 [T]."""
    arrays = [np.asarray(param, float) for param in params]
    values: Any = (a if a.ndim else float(a) for a in arrays)
    return type(params)(*values)


def check_edges(
    indices: Array, similarity: npt.ArrayLike, starts: list[AnyParams]
) -> None:
    """Refuses thresholds that leave no edge of these candidates."""
    indices, similarity = np.asarray(indices), np.asarray(similarity)
    if similarity.shape != indices.shape:
        raise ValueError(
            f"neighbors.similarity has shape {similarity.shape}; expected "
            f"{indices.shape}, that of the indices"
        )
    is_other = (indices >= 0) & (indices != np.arange(len(indices))[:, None])
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
    """Refuses numbers of steps and of pairs, a gain or a ratio that have no meaning."""
    for name, least in _LEAST.items():
        check_integer(name, options[name], least=least)
    check_number("min_gain", options["min_gain"], 0.0)
    if options["batch_size"] % 2:
        raise ValueError(
            f"batch_size is {options['batch_size']}; expected an even number"
        )
    ratio = options["final_temperature_ratio"]
    check_number("final_temperature_ratio", ratio, math.ulp(0.0), 1.0)


def read_pairs(
    pairs: npt.ArrayLike, same: npt.ArrayLike, num_rows: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct genuine pairs [G, 2] and the distinct impostor pairs [M, 2].

    Refuses pairs of another shape or dtype, of rows outside [0, N), of a row with
    itself, of both kinds, or of one kind only; `name` says what they are for.
    """
    rows, same = check_pairs(pairs, num_rows, name), np.asarray(same)
    if same.shape != (len(rows),) or same.dtype != np.bool_:
        raise ValueError(
            f"same of the {name} pairs is {same.dtype} of shape {same.shape}; expected "
            f"bool [{len(rows)}]"
        )
    itself = rows[:, 0] == rows[:, 1]
    if itself.any():
        first = int(np.argmax(itself))
        raise ValueError(
            f"{np.count_nonzero(itself)} {name} pairs join a row with itself, the "
            f"first is pair {first} with row {rows[first, 0]}; leave them out: their "
            "cosine is always 1"
        )
    unique, first, group = np.unique(
        np.sort(rows, axis=1), axis=0, return_index=True, return_inverse=True
    )
    contradicts = same != same[first][group.reshape(-1)]
    if contradicts.any():
        i, j = rows[int(np.argmax(contradicts))]
        raise ValueError(
            f"rows {i} and {j} are a genuine and an impostor {name} pair at once; "
            "expected one kind"
        )
    same = same[first]
    if not 0 < np.count_nonzero(same) < len(same):
        raise ValueError(
            f"got {np.count_nonzero(same)} genuine and {np.count_nonzero(~same)} "
            f"impostor {name} pairs; expected at least one of each"
        )
    return unique[same], unique[~same]


def check_pairs(pairs: npt.ArrayLike, num_rows: int, name: str) -> np.ndarray:
    """Refuses what is no list [M, 2] of pairs of the N rows; returns it."""
    rows = np.asarray(pairs)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name} pairs are {rows.dtype} of shape {rows.shape}; expected integers "
            "[M, 2]"
        )
    if rows.size and not 0 <= rows.min() <= rows.max() < num_rows:
        raise ValueError(
            f"{name} pairs hold rows from {rows.min()} to {rows.max()}; expected 0 to "
            f"{num_rows - 1}"
        )
    return rows


def check_disjoint(
    training: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    identities: npt.ArrayLike | None,
    num_rows: int,
) -> None:
    """Refuses rows, and known identities [N], that are on both sides."""
    first, second = (np.unique(np.concatenate(kinds)) for kinds in (training, held_out))
    what = "rows"
    if identities is not None:
        identities = np.asarray(identities)
        if identities.shape != (num_rows,):
            raise ValueError(
                f"identities have shape {identities.shape}; expected ({num_rows},)"
            )
        what = "identities"
        first, second = identities[first], identities[second]
    shared = np.intersect1d(first, second)
    if shared.size:
        raise ValueError(
            f"{shared.size} {what} are in both the training and the validation pairs, "
            f"{shared[0]} among them; expected none: split the pairs by identity"
        )
