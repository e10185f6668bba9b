"""What a search does where the device has no memory for its blocks: smaller blocks."""

import warnings

from gfa_jax.neighbors import tiles


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tells a device without memory from any other fault of the runtime.

    Args:
        error: a `jax.errors.JaxRuntimeError`.

    Returns:
        Whether memory is what was missing.
    """
    return "RESOURCE_EXHAUSTED" in str(error)


def halve(size: int, error: RuntimeError) -> int:
    """Halves a block for which there was no memory, and says so by a warning.

    Args:
        size: rows of the block, a multiple of 32.
        error: what the runtime raised.

    Returns:
        Half the size, a multiple of 32 again.

    Raises:
        RuntimeError: the error, where it is another fault or the block cannot be
            halved any more.
    """
    if not is_out_of_memory(error) or size % (2 * tiles.GROUP):
        raise error
    warnings.warn(
        f"out of memory with blocks of {size} rows; going on with {size // 2}",
        RuntimeWarning,
        stacklevel=3,
    )
    return size // 2
