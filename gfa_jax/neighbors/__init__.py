"""Candidate neighbours: exact by tiles, approximate by FAISS, or the user's own."""

from gfa_jax.neighbors.approximate import faiss_neighbors
from gfa_jax.neighbors.calibrated import Calibration, approximate_neighbors
from gfa_jax.neighbors.candidates import place_self
from gfa_jax.neighbors.exact import check_k, exact_neighbors

__all__ = [
    "Calibration",
    "approximate_neighbors",
    "check_k",
    "exact_neighbors",
    "faiss_neighbors",
    "place_self",
]
