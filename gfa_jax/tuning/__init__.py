"""Learns gamma, threshold, temperature and exponent from pairs, by gradients."""

from gfa_jax.tuning.loop import TuneResult, tune
from gfa_jax.tuning.optimizers import scaled_adam
from gfa_jax.tuning.results import History
from gfa_jax.tuning.validation import Validation

__all__ = ["History", "TuneResult", "Validation", "scaled_adam", "tune"]
