"""Approximate neighbours through an inverted file, calibrated to a recall."""

from gfa_jax.neighbors.ivf.calibrated import Calibration, approximate_neighbors

__all__ = ["Calibration", "approximate_neighbors"]
