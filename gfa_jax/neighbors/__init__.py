"""Candidate neighbours: exact by tiles, approximate by FAISS, or the user's own."""

from gfa_jax.neighbors.approximate import faiss_neighbors
from gfa_jax.neighbors.automatic import (
    Rates,
    SearchChoice,
    choose_search,
    measure_rates,
)
from gfa_jax.neighbors.calibrated import Calibration, approximate_neighbors
from gfa_jax.neighbors.candidates import place_self
from gfa_jax.neighbors.exact import check_k, exact_neighbors
from gfa_jax.neighbors.streamed import exact_neighbors_streamed
from gfa_jax.neighbors.streamed_approximate import approximate_neighbors_streamed

__all__ = [
    "Calibration",
    "Rates",
    "SearchChoice",
    "approximate_neighbors",
    "approximate_neighbors_streamed",
    "check_k",
    "choose_search",
    "exact_neighbors",
    "exact_neighbors_streamed",
    "faiss_neighbors",
    "measure_rates",
    "place_self",
]
