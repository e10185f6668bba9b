"""What the machine can do at most, measured in the same run."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from gfa_jax import numerics

# Rows of a product and bytes of a copy: enough of them to hide the call itself.
_TILE = {"cpu": 2048}
_COPY_BYTES = {"cpu": 2**28}


def product_rate(dim: int) -> float:
    """Measures multiply-adds a second, times two, of float32 tiles of F Fᵀ.

    Args:
        dim: D, the length of the rows.

    Returns:
        FLOP/s, the best of five.
    """
    size = _TILE.get(jax.default_backend(), 2**15)
    rows = jnp.asarray(np.random.default_rng(0).random((size, dim), np.float32))
    tile = jax.jit(lambda x: numerics.dot("id,jd->ij", x, x))
    timing.seconds(lambda: tile(rows))
    best = min(timing.seconds(lambda: tile(rows)) for _ in range(5))
    return 2.0 * size * size * dim / best


def copy_rate() -> float:
    """Measures bytes a second, read and written, of one large copy.

    Returns:
        B/s, the best of five.
    """
    size = _COPY_BYTES.get(jax.default_backend(), 2**32)
    numbers = jnp.zeros(size // 4, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    timing.seconds(lambda: copy(numbers))
    best = min(timing.seconds(lambda: copy(numbers)) for _ in range(5))
    return 2.0 * size / best
