"""Counts of the cosines of a sample's pairs, in groups that a bootstrap can draw.

Pairs that share a row are not independent, so the bootstrap draws groups of rows, not
pairs: with n_g the times that group g was drawn, the counts of a draw are

    Σ_{g <= h} n_g n_h counts_gh
"""

from collections.abc import Callable

import numpy as np

from gfa_jax import numerics
from gfa_jax.metrics.histogram import bin_edges, count_bins
from gfa_jax.metrics.tiles import score_tiles

NUM_GROUPS = 16
_NUM_BINS = 2**11


def draw_rows(num_rows: int, *, sample_size: int, seed: int) -> np.ndarray:
    """Draws the rows whose pairs are counted.

    Args:
        num_rows: N.
        sample_size: S; all rows where there are no more.
        seed: the same seed gives the same rows.

    Returns:
        [min(S, N)] integer rows in their order, so that a file is read in one pass.
    """
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:sample_size])


def count_groups(
    features: np.ndarray,
    *,
    seed: int,
    sample_size: int,
    progress: Callable | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the cosines between every two groups of sampled rows.

    Args:
        features: [N, D] floating unit rows.
        seed: of `draw_rows` and of the groups.
        sample_size: rows drawn, S; all rows where there are no more.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        [G, G, B] int64 counts, zero below the diagonal; [B + 1] edges of the bins.

    Raises:
        ValueError: rows not of unit length.

    Cost: S² D / 2 multiply-adds. Memory: the sample, tiles of (S/16)² scores.
    """
    rows = features[draw_rows(len(features), sample_size=sample_size, seed=seed)]
    numerics.check_unit_rows(rows)
    size = -(-len(rows) // NUM_GROUPS)
    counts = np.zeros((NUM_GROUPS, NUM_GROUPS, _NUM_BINS), np.int64)
    for tile in score_tiles(
        rows,
        np.random.default_rng((seed, 1)).permutation(len(rows)),
        block_size=size,
        num_bins=_NUM_BINS,
        progress=progress,
    ):
        bins = np.asarray(tile.bins).reshape(tile.height, tile.width)
        if tile.is_diagonal:
            bins = bins[np.triu_indices(tile.height, 1)]
        counts[tile.first // size, tile.second // size] += count_bins(
            bins.reshape(-1), num_bins=_NUM_BINS
        )
    return counts, bin_edges(_NUM_BINS)
