"""Candidate neighbours: exact by tiles, approximate by FAISS, or the user's own."""

from gfa_jax.checks import check_k
from gfa_jax.neighbors.automatic import SearchChoice, choose_search
from gfa_jax.neighbors.candidates import place_self
from gfa_jax.neighbors.exact import exact_neighbors
from gfa_jax.neighbors.faiss import faiss_neighbors, faiss_search
from gfa_jax.neighbors.ivf.calibrated import Calibration, approximate_neighbors

__all__ = [
    "Calibration",
    "SearchChoice",
    "approximate_neighbors",
    "check_k",
    "choose_search",
    "exact_neighbors",
    "faiss_neighbors",
    "faiss_search",
    "place_self",
]
