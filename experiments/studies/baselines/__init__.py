"""What a user would pick instead, on the same candidates.

A refiner takes features and neighbours as `gfa_jax.aggregate` does and gives features;
others give `PairScores` or `NormalizedScores`, which know the score of every pair.
"""

from experiments.studies.baselines.diffusion import diffusion
from experiments.studies.baselines.expansion import (
    alpha_query_expansion,
    average_query_expansion,
    database_augmentation,
)
from experiments.studies.baselines.graph import PairScores
from experiments.studies.baselines.mean_shift import mean_shift
from experiments.studies.baselines.normalization import NormalizedScores, as_norm, csls
from experiments.studies.baselines.reciprocal import camera_jaccard, k_reciprocal
from experiments.studies.baselines.weighting import (
    half_whitened_expansion,
    propagation,
    recognizable_expansion,
    super_global,
)

__all__ = [
    "NormalizedScores",
    "PairScores",
    "alpha_query_expansion",
    "as_norm",
    "average_query_expansion",
    "camera_jaccard",
    "csls",
    "database_augmentation",
    "diffusion",
    "half_whitened_expansion",
    "k_reciprocal",
    "mean_shift",
    "propagation",
    "recognizable_expansion",
    "super_global",
]
