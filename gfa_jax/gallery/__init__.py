"""A pool that grows, forgets and answers, its settings measured once."""

from gfa_jax.gallery.create import create, recluster, refresh
from gfa_jax.gallery.drift import Drift, drift
from gfa_jax.gallery.edit import insert, remove
from gfa_jax.gallery.open_set import impostor_threshold
from gfa_jax.gallery.query import Answer, query
from gfa_jax.gallery.types import Gallery

__all__ = [
    "Answer",
    "Drift",
    "Gallery",
    "create",
    "drift",
    "impostor_threshold",
    "insert",
    "query",
    "recluster",
    "refresh",
    "remove",
]
