"""Features of any library in, the same kind out; what is computed are unit rows."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from gfa_jax.datasets import check_features

# A row this near to unit length is taken as it is; one further away is scaled.
_UNIT_TOLERANCE = 1e-5


def take(features: Any) -> tuple[np.ndarray, Callable[[jax.Array], Any]]:
    """Reads an array [N, D] of any library, with DLPack or `__array__`, as NumPy.

    A view where that can be; integers are converted to float32. Beside it stands what
    turns a result into an array of the same library, on the same device, with the same
    index. Raises ValueError for what no NumPy array can be made of.
    """
    if isinstance(features, Tracer):
        raise ValueError(
            "features are traced: refine reads their values; under jit, grad or vmap "
            "use aggregate"
        )
    if isinstance(features, str | os.PathLike):
        raise ValueError(
            f"features are the path {str(features)!r}; expected rows: "
            "gfa_jax.datasets.read_features reads them"
        )
    if hasattr(features, "tocoo"):
        raise ValueError("features are a sparse matrix; expected rows: .toarray()")
    given = features.detach().cpu() if hasattr(features, "detach") else features
    try:
        try:
            rows = np.asarray(given)
        except TypeError:  # NumPy knows no bfloat16 of torch
            rows = np.asarray(jnp.from_dlpack(given))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"features: expected numbers [N, D]: {reason}") from error
    if rows.dtype.kind in "iu":
        rows = rows.astype(np.float32)
    library: Any = sys.modules.get(type(features).__module__.partition(".")[0])

    def give_back(result: jax.Array) -> Any:
        if isinstance(features, jax.Array):
            return result
        array = np.array(result)  # one that may be written to
        if hasattr(features, "iloc"):
            return type(features)(array, features.index, features.columns)
        if hasattr(features, "detach"):
            return library.asarray(array, device=features.device)
        if hasattr(features, "__dlpack__"):
            return library.asarray(array)
        return array

    return rows, give_back


def check_unit(features: np.ndarray) -> np.ndarray:
    """Checks rows as `check_features` does, and scales them: [N, D] float32."""
    return unit_rows(features, check_features(features))


def is_scaled(norms: np.ndarray) -> bool:
    """Tells whether rows of these lengths have to be scaled to unit length."""
    return bool(np.abs(norms - 1).max() > _UNIT_TOLERANCE)


def unit_rows(
    stored: np.ndarray, norms: np.ndarray, *, scaled: bool | None = None
) -> np.ndarray:
    """Converts stored rows [n, D] of lengths [n] to float32 rows of unit length.

    By default they are scaled where any of them needs it. The stored rows themselves
    where they are that already.
    """
    if not (is_scaled(norms) if scaled is None else scaled):
        return np.asarray(stored, np.float32)
    unit = np.empty(stored.shape, np.float32)
    for start in range(0, len(stored), 8192):
        rows = slice(start, start + 8192)
        unit[rows] = stored[rows].astype(np.float64) / norms[rows, None]
    return unit


def place_rows(stored: np.ndarray, *, name: str) -> tuple[jax.Array, np.ndarray]:
    """Checks stored rows and gives them as unit rows on the device, and their norms.

    [N, D] float32 and [N] float64, as `unit_rows` and `check_features` do but for the
    rounding of a float32 quotient. A block is on its way while the next one is read;
    no second copy of the rows is made, here or there.
    """
    rows = jnp.zeros(stored.shape, jnp.float32)

    def place(block: np.ndarray, start: int) -> None:
        nonlocal rows
        # Where the values are as they are used, they go straight from the file.
        rows = _place(rows, jnp.asarray(block, jnp.float32), start)

    norms = check_features(stored, name=name, each=place)
    return _scale(rows, norms.astype(np.float32)) if is_scaled(norms) else rows, norms


@functools.partial(jax.jit, donate_argnums=0)
def _place(rows: jax.Array, block: jax.Array, start: int) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(rows, block, start, axis=0)


@functools.partial(jax.jit, donate_argnums=0)
def _scale(rows: jax.Array, norms: jax.Array) -> jax.Array:
    return rows / norms[:, None]
