"""S_ij = F_i · F_j on the candidates.

The one part of the clustering that touches the features. It runs on the device in
blocks of rows; what leaves is [N, K], on the host, where graphs are walked.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax import lax

from gfa_jax.affinity import affinity
from gfa_jax.blocks import gather_rows, map_rows
from gfa_jax.types import track

# Rows of a part, which is one call of the device.
_PART = 2**16


def score_candidates(
    features: jax.Array,
    indices: jax.Array,
    *,
    progress: Callable | None = None,
) -> np.ndarray:
    """Evaluates the cosine of every row with each of its candidates (Eq. 5).

    Rows are [N, D] of unit length or zero, candidates [N, K], -1 for an empty slot,
    whose cosine means nothing. The result is on the host.

    Cost: N K D multiply-adds. Memory: the result and one [block, K, D] block.
    """
    num_rows = len(indices)
    part = min(_PART, num_rows)
    similarity = np.empty(indices.shape, features.dtype)
    starts = range(0, num_rows, part)
    for start in track(progress, starts, desc="similarities"):
        # The last part begins earlier, so that one program serves them all.
        start = min(start, num_rows - part)
        similarity[start : start + part] = _score_part(
            features, indices, start, size=part
        )
    return similarity


@functools.partial(jax.jit, static_argnames="size")
def _score_part(features, indices, start, *, size):
    """Scores the candidates of the rows start <= i < start + size."""

    def score_row(offset, candidates):
        return affinity(features[start + offset], gather_rows(features, candidates))

    row_bytes = indices.shape[1] * features.shape[1] * features.dtype.itemsize
    return map_rows(
        score_row,
        (lax.dynamic_slice_in_dim(indices, start, size),),
        row_bytes=row_bytes,
    )
