"""Learns the parameters of an aggregation, and of a pooling, by gradients."""

from gfa_jax.tuning.frames import Frames, PooledParams
from gfa_jax.tuning.loop import TuneResult, tune
from gfa_jax.tuning.optimizers import scaled_adam
from gfa_jax.tuning.results import History
from gfa_jax.tuning.validation import Validation

__all__ = [
    "Frames",
    "History",
    "PooledParams",
    "TuneResult",
    "Validation",
    "scaled_adam",
    "tune",
]
