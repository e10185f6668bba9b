"""Rows that are dropped from a graph: no edge leads to them or from them."""

import jax
import jax.numpy as jnp

from gfa_jax.types import Array, Neighbors


def isolate(
    neighbors: Neighbors, is_outlier: Array, *, first_row: int = 0
) -> Neighbors:
    """Empties the lists of some rows, and their slots in all other lists.

    Args:
        neighbors: [n, K] candidates, of all rows or of consecutive ones.
        is_outlier: [N] bool, the rows that stay where they are.
        first_row: number of the first of the n rows among all N.

    Returns:
        Neighbors [n, K] in which no edge leads to or from such a row; a slot in which
        a row lists itself stays.

    Cost and memory: O(n K + N).
    """
    is_outlier = jnp.asarray(is_outlier)
    indices = jnp.asarray(neighbors.indices)
    own = is_outlier[first_row : first_row + len(indices)]
    cut = (own[:, None] | is_outlier[indices]) & ~_is_self(indices, first_row)
    return Neighbors(
        jnp.where(cut, -1, indices), jnp.where(cut, -jnp.inf, neighbors.similarity)
    )


def _is_self(indices: Array, first_row: int) -> jax.Array:
    return indices == first_row + jnp.arange(len(indices))[:, None]
