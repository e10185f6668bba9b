"""The fixed point of the update, and its gradient without its steps."""

from gfa_jax.fixed_point.iteration import FORMS, FixedPoint, Form, solve

__all__ = ["FORMS", "FixedPoint", "Form", "solve"]
