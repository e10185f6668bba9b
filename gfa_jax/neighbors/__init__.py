"""Candidate neighbours: exact by tiles, approximate by FAISS, or the user's own."""

from gfa_jax.neighbors.automatic import (
    Rates,
    SearchChoice,
    choose_search,
    measure_rates,
)
from gfa_jax.neighbors.candidates import place_self
from gfa_jax.neighbors.exact import check_k, exact_neighbors
from gfa_jax.neighbors.faiss import faiss_neighbors
from gfa_jax.neighbors.ivf.calibrated import Calibration, approximate_neighbors

__all__ = [
    "Calibration",
    "Rates",
    "SearchChoice",
    "approximate_neighbors",
    "check_k",
    "choose_search",
    "exact_neighbors",
    "faiss_neighbors",
    "measure_rates",
    "place_self",
]
