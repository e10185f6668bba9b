"""Rows that are near nobody, and the crowd that they would make.

Images in which no face was found drift to one direction. Each finds the others among
its candidates, none of them close and all about equally far; updates that follow such
edges draw the crowd together, and new rows into it, until pairs of it are the most
similar of the whole pool. Two signs together tell such a row from a hard image of a
person. With b_i the largest cosine of row i with another row and A_i(r) the r-th
largest,

    o_i = [b_i < ρ · median_{b_j > t} b_j] · [A_i(r) > κ · b_i]

its nearest neighbour is far, measured by how near others' are, and it does not stand
out among the neighbours (the ratio test of Lowe, "Distinctive image features from
scale-invariant keypoints", IJCV 2004, section 7.1, over r neighbours). A poor image
of a person fails the second sign: its few mates stand out from strangers. A person
of many images fails the first. An outlier keeps its place, and nobody's mean has it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfa_jax.types import Array, Neighbors

# Of a list of 15 with the row itself; the defaults of ρ and κ were chosen with it.
DEFAULT_RANK = 14


class Nearness(NamedTuple):
    """How near a row's neighbours are.

    Attributes:
        nearest: [n] floating b_i; -inf for a row without neighbours.
        ranked: [n] floating A_i(r), or the last there is.
    """

    nearest: Array
    ranked: Array


def find_outliers(
    neighbors: Neighbors,
    *,
    threshold: Array | float,
    strength: Array | float = 0.8,
    contrast: Array | float = 0.8,
    rank: int = DEFAULT_RANK,
) -> jax.Array:
    """Finds the rows whose nearest neighbour is far and does not stand out.

    o_i = [b_i < ρ · median_{b_j > t} b_j] · [A_i(r) > κ · b_i]       (this module)

    Args:
        neighbors: [N, K] candidates and their cosines, in any order. Where a row
            lists itself, that slot is passed over.
        threshold: t in [-1, 1]; rows without a neighbour above it tell nothing of how
            near neighbours are.
        strength: ρ in [0, 1], the share of the typical nearest cosine under which a
            neighbour is far; 0 finds no outlier.
        contrast: κ in [0, 1], the share of the nearest cosine over which the r-th
            does not differ from it.
        rank: r >= 2. Of lists with fewer neighbours the last is taken, and more rows
            seem outliers: search at least r + 1, the row itself counted.

    Returns:
        [N] bool; all False where no row has a neighbour above the threshold.

    Raises:
        ValueError: rank under 2.

    Cost: a sort of [N, K] cosines. Memory: three [N, K] arrays.
    """
    nearness = measure_nearness(neighbors, rank=rank)
    return judge_nearness(
        nearness, threshold=threshold, strength=strength, contrast=contrast
    )


def measure_nearness(
    neighbors: Neighbors, *, rank: int = DEFAULT_RANK, first_row: int = 0
) -> Nearness:
    """Reads b_i and A_i(r) off the lists, the first half of `find_outliers`.

    Args:
        neighbors: [n, K] candidates of consecutive rows.
        rank: see `find_outliers`.
        first_row: number of the first of the rows among all N.

    Returns:
        Nearness of the n rows.

    Raises:
        ValueError: rank under 2.
    """
    if rank < 2:
        raise ValueError(f"rank is {rank}; expected at least 2")
    is_other = (neighbors.indices >= 0) & ~_is_self(neighbors.indices, first_row)
    cosines = jnp.where(is_other, neighbors.similarity, -jnp.inf)
    descending = -jnp.sort(-cosines, axis=1)
    last = jnp.clip(jnp.sum(is_other, axis=1), 1, rank) - 1
    ranked = jnp.take_along_axis(descending, last[:, None], axis=1)[:, 0]
    return Nearness(descending[:, 0], ranked)


def judge_nearness(
    nearness: Nearness,
    *,
    threshold: Array | float,
    strength: Array | float = 0.8,
    contrast: Array | float = 0.8,
) -> jax.Array:
    """Compares every row with the typical one, the second half of `find_outliers`.

    Args:
        nearness: of all N rows.
        threshold: see `find_outliers`.
        strength: see `find_outliers`.
        contrast: see `find_outliers`.

    Returns:
        [N] bool.
    """
    nearest = jnp.asarray(nearness.nearest)
    # NaN, the median of nothing, compares as False.
    typical = jnp.nanmedian(jnp.where(nearest > threshold, nearest, jnp.nan))
    stands_out = nearness.ranked <= contrast * nearest
    return (nearest < strength * typical) & ~stands_out & jnp.isfinite(nearest)


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
