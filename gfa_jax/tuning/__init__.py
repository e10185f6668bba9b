"""Learns the parameters of an aggregation, and of a pooling, by gradients."""

from gfa_jax.tuning.frames import Frames, PooledParams
from gfa_jax.tuning.loop import History, TuneResult, Validation, tune
from gfa_jax.tuning.objective import Objective, scaled_adam

__all__ = [
    "Frames",
    "History",
    "Objective",
    "PooledParams",
    "TuneResult",
    "Validation",
    "scaled_adam",
    "tune",
]
