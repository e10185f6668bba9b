"""The numerical habits of the library, each kept in one place.

An error of 1e-4 in a similarity moves edges, so every product runs at the full
precision of its dtype: GPUs multiply float32 in TF32 by default, which moves a cosine
by 3e-4 and flips neighbours.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def dot(subscripts: str, *operands: jax.Array) -> jax.Array:
    """Contracts as `jnp.einsum` does, at the full precision of the dtype."""
    return jnp.einsum(subscripts, *operands, precision=lax.Precision.HIGHEST)


def to_compute_dtype(features: jax.Array | np.ndarray) -> jax.Array:
    """Widens half precision to float32; float32 and float64 stay as they are."""
    features = jnp.asarray(features)
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(
            f"features are {features.dtype}; expected a floating dtype: convert "
            "them with features.astype('float32')"
        )
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def safe_divide(
    numerator: jax.Array, denominator: jax.Array, *, otherwise: jax.Array
) -> jax.Array:
    """Divides where the denominator is positive, with a finite gradient everywhere.

    `otherwise` stands where it is not; the denominator broadcasts to the numerator.
    """
    positive = denominator > 0
    # The inner `where` keeps 0/0 out of the backward pass: the unused branch of the
    # outer one would multiply its NaN by zero, which is NaN.
    quotient = numerator / jnp.where(positive, denominator, 1)
    return jnp.where(positive, quotient, otherwise)


def normalize(features: jax.Array) -> jax.Array:
    """Scales rows [..., D] to unit length; one of zeros stays, its gradient finite."""
    norm = safe_sqrt(jnp.sum(features * features, axis=-1, keepdims=True))
    return safe_divide(features, norm, otherwise=features)


def safe_sqrt(x: jax.Array) -> jax.Array:
    """Takes the square root with a zero, not an infinite, gradient at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


# How far from 1 the length of a unit row may be: rounding to bfloat16 moves it by up
# to 2⁻⁹, and a set that was never normalised is far beyond.
_LENGTH_TOLERANCE = 1e-2


_CHECKED_ROWS = 8192


def check_unit_rows(features: jax.Array | np.ndarray) -> None:
    """Refuses rows neither zero nor of length 1 ± 0.01; a memory map is streamed."""
    for start in range(0, len(features), _CHECKED_ROWS):
        block = np.asarray(features[start : start + _CHECKED_ROWS], np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
        good = (np.abs(lengths - 1) <= _LENGTH_TOLERANCE) | (lengths == 0)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f"row {start + row} of the features has length {lengths[row]:.4g}; "
                "expected unit rows: divide each row by its length first"
            )
