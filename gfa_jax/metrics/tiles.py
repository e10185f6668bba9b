"""Scores of all pairs of rows in square tiles, S_IJ = F_I F_Jᵀ with I <= J.

The scores and histogram bins of a tile are computed on the device in one program, so
that the host has only to count.
"""

import collections
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from gfa_jax import numerics
from gfa_jax.metrics.histogram import bin_numbers
from gfa_jax.types import track

# Row blocks that one column block meets before the next is fetched: fetching a block
# costs a tenth of a product, and a group shares it.
_GROUP = 8
# Tiles asked of the device before one is handed on: with one the device runs dry
# whenever the caller takes longer than a product.
_AHEAD = 2


class Plan(NamedTuple):
    """Checked arguments of `all_pairs_roc`, and what follows from them."""

    features: np.ndarray  # [N, D] floating, on the host
    identities: np.ndarray  # [N] int64 number of each row's label, -1 if unknown
    order: np.ndarray  # [n] int32 rows of known identity, by ascending identity
    keep_genuine: bool  # whether they are few enough
    block_size: int
    tail_size: int
    dtype: np.dtype  # of the scores: float64 only where JAX has it


class Tile(NamedTuple):
    """The scores of one block of rows with another, which is not an earlier one."""

    first: int  # place of the first row of the row block
    second: int  # place of the first row of the column block, >= first
    width: int  # rows of the column block
    scores: jax.Array  # [height * width] floating, row-major
    bins: jax.Array  # [height * width] uint16 bin numbers of the scores

    @property
    def height(self) -> int:
        """Rows of the row block."""
        return self.scores.size // self.width


def score_tiles(
    plan: Plan, part: int, num_parts: int, progress: Callable | None
) -> Iterator[Tile]:
    """Yields every `num_parts`-th tile on and above the diagonal, from `part` on.

    A tile is handed on only when the next ones have been asked of the device, which
    then multiplies while the caller counts. A place is one in the order of the plan;
    the last block may have fewer rows.
    """
    starts = range(0, len(plan.order), plan.block_size)
    corners = [
        (first, second)
        for number in range(0, len(starts), _GROUP)
        for second in starts[number:]
        for first in starts[number : number + _GROUP]
        if first <= second
    ][part::num_parts]

    @functools.lru_cache(maxsize=_GROUP + 2)
    def block(start: int) -> jax.Array:
        rows = plan.order[start : start + plan.block_size]
        return jax.device_put(plan.features[rows])

    pending: collections.deque[Tile] = collections.deque()
    for first, second in track(progress, corners, desc="all pairs"):
        columns = block(second)
        scores, bins = _score(block(first), columns)
        pending.append(Tile(first, second, len(columns), scores, bins))
        if len(pending) > _AHEAD:
            yield pending.popleft()
    yield from pending


@jax.jit
def _score(rows: jax.Array, columns: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, columns = map(numerics.to_compute_dtype, (rows, columns))
    scores = numerics.dot("id,jd->ij", rows, columns).reshape(-1)
    return scores, bin_numbers(scores)
