"""The public door: what every function refuses before it computes.

The values of concrete arguments are read once: N D multiply-adds for the lengths of
rows, a sort of each row of candidates for its repetitions. Traced ones have no values,
so under `jax.jit`, `jax.vmap` and `jax.grad` only their shapes and dtypes are checked:
to skip the reading, jit the call.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gfa_jax.types import (
    DEFAULT,
    Array,
    Neighbors,
    Options,
    Params,
    check_flag,
    check_integer,
    check_number,
)

# How far from 1 the length of a unit row may be: rounding to bfloat16 moves it by up
# to 2⁻⁹, and a set that was never normalised is far beyond.
_LENGTH_TOLERANCE = 1e-2
_BLOCK = 8192


def check_params(params: Params, *, num_steps: int | None = None) -> None:
    """Refuses parameters outside their ranges; of a traced one only the shape is known.

    Each must be a number, or where `num_steps` is given also one value for each step.
    """
    check_kind("params", params, Params)
    for name, value, low, high in (
        ("gamma", params.gamma, 0.0, 1.0),
        ("threshold", params.threshold, -1.0, 1.0),
        ("temperature", params.temperature, math.ulp(0.0), math.inf),
        ("exponent", params.exponent, 0.0, math.inf),
    ):
        shape = np.shape(value)
        if shape and (num_steps is None or shape != (num_steps,)):
            many = "" if num_steps is None else f", or {num_steps} of them, one a step"
            raise ValueError(
                f"{name} has shape {shape}; expected a number{many}: only `aggregate` "
                "on one device takes a value for each step"
            )
        check_number(name, value, low, high)


def check_k(k: int, num_rows: int) -> None:
    """Refuses a number of neighbours that a set does not have.

    Args:
        k: the row itself counted.
        num_rows: N.

    Raises:
        ValueError: k outside [1, N).
    """
    check_integer("k", k, least=1)
    if k >= num_rows:
        raise ValueError(
            f"k is {k} with {num_rows} rows; expected 1 <= k < {num_rows} (k counts "
            "the row itself where it is included)"
        )


def check_search(
    features: Any,
    *,
    k: int,
    include_self: bool = True,
    num_rows: int | None = None,
    block_size: int = _BLOCK,
) -> None:
    """Refuses what no search takes; `num_rows` is N where these are not all rows."""
    check_matrix(features)
    check_k(k, features.shape[0] if num_rows is None else num_rows)
    check_flag("include_self", include_self)
    check_rows(features, block_size=block_size)


def check_matrix(features: Any) -> None:
    """Refuses what is not [N, D] floating, by its shape and dtype."""
    shape, dtype = tuple(features.shape), features.dtype
    if len(shape) != 2:
        raise ValueError(f"features have shape {shape}; expected [N, D]")
    if 0 in shape:
        raise ValueError(
            f"features have shape {shape}; expected at least one row and column"
        )
    if not jnp.issubdtype(dtype, jnp.floating) or dtype.itemsize > 8:
        raise ValueError(
            f"features are {dtype}; expected a floating dtype: convert them with "
            "features.astype('float32')"
        )


def check_rows(features: Any, *, unit: bool = True, block_size: int = _BLOCK) -> None:
    """Refuses rows that are not finite, or neither zero nor of length 1 ± 0.01.

    Takes anything with a shape, a dtype and slices of rows, which are read in blocks.
    """
    check_matrix(features)
    if not _is_known(features):
        return
    if is_host(features):
        features = np.asarray(features) if isinstance(features, Array) else features
        starts = range(0, features.shape[0], block_size)
        parts = [_squares(features[start : start + block_size]) for start in starts]
        squares = np.concatenate(parts)
    else:
        with jax.ensure_compile_time_eval():
            squares = np.asarray(_squares_on_device(features))
    good = np.isfinite(squares)
    if unit:
        good &= np.abs(np.sqrt(squares) - 1) <= _LENGTH_TOLERANCE
        # A square of what is nearly zero is zero.
        for row in np.flatnonzero(squares == 0):
            good[row] = not np.any(np.asarray(features[row : row + 1]))
    if not good.all():
        row = int(np.argmin(good))
        length = np.linalg.norm(np.asarray(features[row : row + 1], np.float64))
        raise ValueError(
            f"row {row} of the features has length {length:.4g}; expected "
            + (
                "unit rows: divide each row by its length first"
                if unit
                else "finite numbers, whose squares add up"
            )
        )


def row_numbers(
    indices: Array,
    num_rows: int,
    *,
    name: str = "neighbors.indices",
    distinct: bool = True,
) -> Array:
    """Gives candidates [n, K] as int32, refused outside [-1, N) before the cast.

    Where `distinct`, one that a row lists again becomes an empty slot: N K² comparisons
    where it is traced, else a sort. Traced ones that int32 cannot number do so too.
    """
    if not isinstance(indices, Array):
        indices = np.asarray(indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(f"{name} are {indices.dtype}; expected integers")
    if indices.ndim != 2:
        raise ValueError(f"{name} have shape {indices.shape}; expected [N, K]")
    if not (indices.size and _is_known(indices)):
        if jnp.iinfo(indices.dtype).max > np.iinfo(np.int32).max:
            indices = jnp.where(indices < num_rows, jnp.maximum(indices, -1), -1)
        indices = indices.astype(np.int32)
        return _without_repeats(indices) if distinct and indices.size else indices
    with jax.ensure_compile_time_eval():
        if is_host(indices):
            known = np.asarray(indices)
            low, high, repeats = _describe_numbers(known, distinct=distinct, xp=np)
        else:
            found = _describe_on_device(indices, distinct=distinct)
            known, (low, high, repeats) = indices, jax.device_get(found)
    if low < -1 or high >= num_rows:
        raise ValueError(
            f"{name} span [{low}, {high}]; expected [-1, {num_rows}): -1 for an empty "
            "slot"
        )
    if repeats:
        with jax.ensure_compile_time_eval():
            return _without_repeats(known.astype(np.int32))
    return indices.astype(np.int32, copy=False)


def check_update(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None = None,
    options: Options = DEFAULT,
    per_step: bool = False,
    num_rows: int | None = None,
    block_size: int = _BLOCK,
) -> Array:
    """Refuses what no form of `aggregate` takes; gives the candidates as int32.

    Rows are cosines' where a threshold reads them; with weights, or without
    `renormalize`, they are finite. `per_step` allows [T] parameters, `num_rows` is N
    where padding follows.
    """
    check_integer("num_steps", num_steps, least=0)
    check_params(params, num_steps=num_steps if per_step else None)
    check_kind("options", options, Options)
    indices = check_neighbors(features, neighbors, num_rows=num_rows)
    if weights is not None:
        if weights.shape != indices.shape:
            raise ValueError(
                f"weights have shape {weights.shape}; expected {indices.shape}, one "
                "for each of neighbors.indices"
            )
        if not jnp.issubdtype(weights.dtype, jnp.floating):
            raise ValueError(f"weights are {weights.dtype}; expected a floating dtype")
        if _is_known(weights):
            with jax.ensure_compile_time_eval():
                bounds = weights.min(), weights.max()
            for bound in bounds:
                check_number("weights", bound, 0.0)
    is_cosine = weights is None and options.renormalize
    check_rows(features, unit=is_cosine, block_size=block_size)
    return indices


def check_neighbors(
    features: Any, neighbors: Neighbors, *, num_rows: int | None = None
) -> Array:
    """Refuses candidates that are not of these rows [N, D]; gives them as int32."""
    check_kind("neighbors", neighbors, Neighbors)
    rows, slots = tuple(features.shape), tuple(np.shape(neighbors.indices))
    if len(rows) != 2 or len(slots) != 2 or rows[0] != slots[0]:
        raise ValueError(
            f"features {rows} and neighbors.indices {slots} do not fit; expected "
            "[N, D] and [N, K]"
        )
    if 0 in slots:
        raise ValueError(
            f"neighbors.indices have shape {slots}; expected at least one row and one "
            "candidate"
        )
    return row_numbers(neighbors.indices, rows[0] if num_rows is None else num_rows)


def check_kind(name: str, value: Any, kind: type) -> None:
    """Refuses another container than the one that is meant."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} are of type {type(value).__name__}; expected "
            f"gfa_jax.{kind.__name__}"
        )


def _is_known(array: Any) -> bool:
    """Tells whether this process has the values."""
    if isinstance(array, Tracer | jax.ShapeDtypeStruct):
        return False
    return not isinstance(array, jax.Array) or array.is_fully_addressable


def is_host(array: Any) -> bool:
    """Tells whether NumPy reads the values where they are."""
    if not isinstance(array, jax.Array):
        return True
    return all(device.platform == "cpu" for device in array.devices())


def _squares(rows: Any) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float32)
    return np.einsum("nd,nd->n", rows, rows)


@jax.jit
def _squares_on_device(rows: jax.Array) -> jax.Array:
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    return jnp.sum(rows * rows, axis=1)


def _describe_numbers(indices: Array, *, distinct: bool, xp: Any = jnp) -> tuple:
    """Finds the least, the largest, and whether a row lists one of the valid twice."""
    repeats = False
    if distinct:
        ordered = xp.sort(indices.astype(np.int32), axis=1)
        repeats = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        repeats = repeats.any()
    return indices.min(), indices.max(), repeats


_describe_on_device = jax.jit(_describe_numbers, static_argnames="distinct")


@jax.jit
def _without_repeats(indices: Array) -> jax.Array:
    """Empties the slots of candidates that stand further left in their row too."""
    place = jnp.arange(indices.shape[1])
    is_same = indices[:, :, None] == indices[:, None, :]
    repeats = jnp.any(is_same & (place[None] < place[:, None])[None], axis=2)
    return jnp.where(repeats, -1, indices)
