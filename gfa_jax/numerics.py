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
    if not isinstance(features, jax.Array):
        features = np.asarray(features)
    dtype = features.dtype
    if not jnp.issubdtype(dtype, jnp.floating) or dtype.itemsize > 8:
        raise ValueError(
            f"features are {dtype}; expected a floating dtype: convert "
            "them with features.astype('float32')"
        )
    if not dtype.isnative:
        features = features.astype(dtype.newbyteorder("="))
    features = jnp.asarray(features)
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
