"""What a search does where the device has no memory for its blocks: smaller blocks."""

import warnings

from gfa_jax.neighbors import tiles


def halve(size: int, error: RuntimeError) -> int:
    """Halves a block, a multiple of 32, for which there was no memory, and warns.

    Raises the error again where it is another one, or the block is the smallest.
    """
    if "RESOURCE_EXHAUSTED" not in str(error) or size % (2 * tiles.GROUP):
        raise error
    warnings.warn(
        f"out of memory with blocks of {size} rows; going on with {size // 2}",
        RuntimeWarning,
        stacklevel=3,
    )
    return size // 2
