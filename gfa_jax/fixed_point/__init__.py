"""The fixed point of the update, and its gradient without its steps."""

from gfa_jax.fixed_point.iteration import FixedPoint, solve

__all__ = ["FixedPoint", "solve"]
