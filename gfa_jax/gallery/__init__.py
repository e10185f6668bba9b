"""A pool that grows, forgets and answers, its settings measured once."""

from gfa_jax.gallery.create import create
from gfa_jax.gallery.types import Gallery

__all__ = ["Gallery", "create"]
