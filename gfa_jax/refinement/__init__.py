"""A pool refined in one call, from arrays of any library, and as an estimator."""

from gfa_jax.refinement.pool import Refinement, refine
from gfa_jax.refinement.settings import Request, Settings

__all__ = ["Refinement", "Request", "Settings", "refine"]
