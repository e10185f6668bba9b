"""What a user would pick instead, on the same candidates.

A refiner takes features and neighbours as `gfa_jax.aggregate` does and gives features;
a re-ranker gives `PairScores`, which know the score of every pair.
"""

from experiments.studies.baselines.diffusion import diffusion
from experiments.studies.baselines.expansion import (
    alpha_query_expansion,
    average_query_expansion,
    database_augmentation,
)
from experiments.studies.baselines.faiss_csr import csr_aggregate, faiss_search
from experiments.studies.baselines.graph import PairScores
from experiments.studies.baselines.mean_shift import mean_shift
from experiments.studies.baselines.reciprocal import k_reciprocal

__all__ = [
    "PairScores",
    "alpha_query_expansion",
    "average_query_expansion",
    "csr_aggregate",
    "database_augmentation",
    "diffusion",
    "faiss_search",
    "k_reciprocal",
    "mean_shift",
]
