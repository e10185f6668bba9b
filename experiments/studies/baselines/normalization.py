"""Score normalisation: a pair is judged by what is usual for its two rows.

Both forms are s'_ij = (a_i + a_j) F_i · F_j − b_i − b_j:

    AS-norm   s' = ½ ((s − μ_i) / σ_i + (s − μ_j) / σ_j)      a = 1 / 2σ,  b = μ / 2σ
    CSLS      s' = 2 s − r_i − r_j                            a = 1,       b = r

μ_i and σ_i are mean and standard deviation of the n cosines of row i behind its K
nearest, the cohort, and r_i is the mean of its K nearest. All pairs are scored tile by
tile; an order is all that counts, so the scores are divided by a bound of theirs.

Sources: Matejka et al., Analysis of Score Normalization in Multilingual Speaker
Recognition, Interspeech 2017 (symmetric, adaptive); Conneau et al., Word Translation
Without Parallel Data, ICLR 2018 (there r_i is over the other language).
"""

from typing import NamedTuple

import jax
import numpy as np

import gfa_jax as gfa
from gfa_jax import metrics
from gfa_jax.metrics.all_pairs import join_counts, plan_pairs
from gfa_jax.metrics.counting import PairCounter
from gfa_jax.metrics.histogram import bin_numbers
from gfa_jax.metrics.tiles import score_tiles

_LEAST_SPREAD = 0.1  # of σ, as a share of the median: a row may have copies only


class NormalizedScores(NamedTuple):
    """Scores s'_ij = (a_i + a_j) F_i · F_j − b_i − b_j, in [−1, 1]."""

    features: np.ndarray  # [N, D] floating unit rows
    scale: np.ndarray  # [N] a > 0
    offset: np.ndarray  # [N] b

    def __call__(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Scores pairs of rows, [M] and [M] row numbers, as [M] floats."""
        products = metrics.pair_scores(self.features, np.stack([rows, columns], axis=1))
        scale = self.scale[rows] + self.scale[columns]
        return scale * products - self.offset[rows] - self.offset[columns]

    def measure(self, labels: np.ndarray, *, tail_size: int) -> metrics.AllPairs:
        """Measures all pairs as `all_pairs_roc` does, in the memory that it takes."""
        plan = plan_pairs(self.features, labels, tail_size=tail_size)
        counter = PairCounter(plan)
        scale, offset = (each.astype(plan.dtype) for each in self[1:])
        for tile in score_tiles(plan, 0, 1, None):
            rows = plan.order[tile.first : tile.first + tile.height]
            columns = plan.order[tile.second : tile.second + tile.width]
            sides = (scale[rows], scale[columns], offset[rows], offset[columns])
            scores, bins = _normalize(tile.scores, *sides)
            counter.add(tile._replace(scores=scores, bins=bins))
        return join_counts(plan, [counter.counts()])


def as_norm(
    features: np.ndarray, neighbors: gfa.Neighbors, *, k: int, cohort: int
) -> NormalizedScores:
    """Normalises scores by the cohort of either row.

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, C] candidates by descending cosine, the row itself first.
        k: rank up to which rows may match, the row itself counted, < C.
        cohort: rows behind it, n >= 2; of fewer candidates all.

    Cost: O(N n); scoring all pairs adds three operations a pair to their product.
    """
    behind = np.asarray(neighbors.similarity)[:, k : k + cohort]
    spread = behind.std(axis=1)
    spread = np.maximum(spread, _LEAST_SPREAD * np.median(spread))
    return _bounded(features, 0.5 / spread, 0.5 * behind.mean(axis=1) / spread)


def csls(features: np.ndarray, neighbors: gfa.Neighbors, *, k: int) -> NormalizedScores:
    """Takes off what each row has in common with its K nearest, itself counted."""
    near = np.asarray(neighbors.similarity)[:, 1:k]
    return _bounded(features, np.ones(len(near), near.dtype), near.mean(axis=1))


def _bounded(
    features: np.ndarray, scale: np.ndarray, offset: np.ndarray
) -> NormalizedScores:
    bound = 2 * (scale.max() + np.abs(offset).max())
    return NormalizedScores(features, scale / bound, offset / bound)


@jax.jit
def _normalize(scores, row_scale, column_scale, row_offset, column_offset):
    table = scores.reshape(row_scale.size, column_scale.size)
    table = (row_scale[:, None] + column_scale[None]) * table
    flat = (table - row_offset[:, None] - column_offset[None]).reshape(-1)
    return flat, bin_numbers(flat)
