"""Rows that are near nobody and lie among their like: a crowd in the making.

Images in which no face was found drift to one direction. Each finds the others among
its candidates, none of them close and all about equally far; updates that follow such
edges draw the crowd together, and new rows into it, until pairs of it are the most
similar of the whole pool. Poor images of many people do the same. Two signs together
tell such a row from a hard image of a person. With b_i the largest cosine of row i
with another row and N_i(r) its r nearest others,

    h_i = [b_i < ρ · median_{b_j > t} b_j]
    o_i = h_i · [Σ_{j ∈ N_i(r)} h_j >= σ · |N_i(r)|]

its nearest neighbour is far, measured by how near others' are, and so are those of
most rows around it. A hard image of a person fails the second sign: around it are the
person's other images, whose nearest are near, and rows of all kinds. An outlier keeps
its place, and nobody's mean has it.
"""

import jax
import jax.numpy as jnp

from gfa_jax.types import Array, Neighbors

# Of a list of 15 with the row itself; the defaults of ρ and σ were chosen with it.
DEFAULT_RANK = 14


def find_outliers(
    neighbors: Neighbors,
    *,
    threshold: Array | float,
    strength: Array | float = 0.9,
    crowd: Array | float = 0.8,
    rank: int = DEFAULT_RANK,
) -> jax.Array:
    """Finds the rows that are far from all others and surrounded by such rows.

    o_i = h_i · [Σ_{j ∈ N_i(r)} h_j >= σ |N_i(r)|],
    h_i = [b_i < ρ · median_{b_j > t} b_j]                    (this module)

    Args:
        neighbors: [N, K] candidates and their cosines, in any order. Where a row
            lists itself, that slot is passed over.
        threshold: t in [-1, 1]; rows without a neighbour above it tell nothing of how
            near neighbours are.
        strength: ρ in [0, 1], the share of the typical nearest cosine under which a
            neighbour is far; 0 finds no outlier.
        crowd: σ in [0, 1], the share of far rows around a row from which on they are
            a crowd; 0 takes every row whose nearest neighbour is far.
        rank: r >= 1, how many others are around a row; of shorter lists all.

    Returns:
        [N] bool; all False where no row has a neighbour above the threshold.

    Raises:
        ValueError: rank under 1.

    Cost: a sort of [N, K] cosines. Memory: three [N, K] arrays.
    """
    is_far = find_far(
        measure_nearest(neighbors), threshold=threshold, strength=strength
    )
    return find_crowded(neighbors, is_far, crowd=crowd, rank=rank)


def measure_nearest(neighbors: Neighbors, *, first_row: int = 0) -> jax.Array:
    """Reads off the lists how near the nearest other row is.

    Args:
        neighbors: [n, K] candidates of consecutive rows.
        first_row: number of the first of the rows among all N.

    Returns:
        [n] floating b_i; -inf for a row without neighbours.
    """
    is_other = _is_other(neighbors.indices, first_row)
    return jnp.max(jnp.where(is_other, neighbors.similarity, -jnp.inf), axis=1)


def find_far(
    nearest: Array, *, threshold: Array | float, strength: Array | float = 0.9
) -> jax.Array:
    """Compares every row's nearest cosine with the typical one, the first sign.

    Args:
        nearest: [N] floating b_i of all rows.
        threshold: see `find_outliers`.
        strength: see `find_outliers`.

    Returns:
        [N] bool h_i.
    """
    nearest = jnp.asarray(nearest)
    # NaN, the median of nothing, compares as False.
    typical = jnp.nanmedian(jnp.where(nearest > threshold, nearest, jnp.nan))
    return (nearest < strength * typical) & jnp.isfinite(nearest)


def find_crowded(
    neighbors: Neighbors,
    is_far: Array,
    *,
    crowd: Array | float = 0.8,
    rank: int = DEFAULT_RANK,
    first_row: int = 0,
) -> jax.Array:
    """Finds the far rows that have such rows around them, both signs.

    Args:
        neighbors: [n, K] candidates of consecutive rows.
        is_far: [N] bool h_i of all rows.
        crowd: see `find_outliers`.
        rank: see `find_outliers`.
        first_row: number of the first of the n rows among all N.

    Returns:
        [n] bool o_i.

    Raises:
        ValueError: rank under 1.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}; expected at least 1")
    is_far = jnp.asarray(is_far)
    indices = jnp.asarray(neighbors.indices)
    is_other = _is_other(indices, first_row)
    cosines = jnp.where(is_other, neighbors.similarity, -jnp.inf)
    order = jnp.argsort(-cosines, axis=1, stable=True)[:, :rank]
    around = jnp.take_along_axis(is_other, order, axis=1)
    far = is_far[jnp.take_along_axis(indices, order, axis=1)] & around
    is_crowd = jnp.sum(far, axis=1) >= crowd * jnp.sum(around, axis=1)
    return is_far[first_row : first_row + len(indices)] & is_crowd


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


def _is_other(indices: Array, first_row: int) -> jax.Array:
    return jnp.asarray(indices >= 0) & ~_is_self(indices, first_row)
