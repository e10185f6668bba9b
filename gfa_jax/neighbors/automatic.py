"""Exact or approximate search, chosen by what each would take on this machine.

    exact        N² D / 2 multiply-adds, tiles merged as they come, on the device
    approximate  (80 C + N) C D to train C cells and to assign the rows, N² D p / C to
                 look into p of the cells, a product about 1.5 times as dear as that of
                 one large matrix with another, on the host

Exact search misses nothing, so approximate search has to be worth it: exact is taken
where it ends soon, or where the other would not be twice as fast. How many cells must
be looked into shows only when `approximate_neighbors` calibrates, so p is a guess, and
the estimate of approximate search good to a factor of two where the guess is.
"""

import importlib.util
import time
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.neighbors import calibrated, cells, exact, tiles

Search = Literal["exact", "approximate"]

# An exact search that ends within this is not worth one missed edge.
_PATIENCE_SECONDS = 30.0
# Approximate search must be this many times as fast: the guess of the cells is rough.
_ADVANTAGE = 2.0
# Cells of mean size that a row looks into: edges above a threshold are near and found
# early, all K are not. 65 were needed for 0.99 of those above 0.55 in a generated pool
# of 500,000 rows.
_PROBES_ABOVE_THRESHOLD = 65
_PROBES_FOR_ALL = 600
# Many products with single cells against few large ones, a multiply-add, with the
# choice of what is kept (measured on 2 CPU cores at N = 500,000, D = 256).
_SCAN_COST = 1.5
_CALIBRATION_ROWS = 1000
# Two slow cores, for the pools that are too small to measure anything.
_NOMINAL = 2e10
_MEASURED_TILES = 8


class Rates(NamedTuple):
    """How fast this machine multiplies float32 rows.

    Attributes:
        tiles: multiply-adds a second of the exact search, its merging included, on
            the default device.
        host: multiply-adds a second of a product in NumPy, on which FAISS runs.
    """

    tiles: float
    host: float


class SearchChoice(NamedTuple):
    """What `choose_search` chose.

    Attributes:
        search: "exact" or "approximate".
        reason: why, in one line for a person.
        seconds: estimate for the search that was chosen.
    """

    search: Search
    reason: str
    seconds: float


def choose_search(
    num_rows: int,
    dim: int,
    *,
    k: int,
    threshold: float | None,
    rates: Rates | None = None,
) -> SearchChoice:
    """Chooses exact or approximate search, and estimates its time.

    Args:
        num_rows: N.
        dim: D.
        k: number of neighbours in [1, N), the row itself counted.
        threshold: cosine that an edge must exceed to count, as for
            `approximate_neighbors`; None where all K edges count.
        rates: of the machine; measured by default, in about a second, where N is
            large enough for a choice.

    Returns:
        SearchChoice; its estimate holds while the machine is as busy as it was when the
        rates were measured.

    Raises:
        ValueError: k outside [1, N), D below 1, or a rate that is not positive.
    """
    exact.check_k(k, num_rows)
    if dim < 1:
        raise ValueError(f"dim is {dim}; expected at least 1")
    if rates is not None and not all(rate > 0 for rate in rates):
        raise ValueError(f"rates are {tuple(rates)}; expected both above 0")
    if num_rows < calibrated.FEWEST_ROWS:
        tile_rate = _NOMINAL if rates is None else rates.tiles
        seconds = _exact_products(num_rows, dim) / tile_rate
        return SearchChoice(
            "exact", f"{num_rows:,} rows are searched before an index is built", seconds
        )
    rates = measure_rates(dim, k=k) if rates is None else rates
    seconds = _exact_products(num_rows, dim) / rates.tiles
    speed = f"{rates.tiles / 1e9:.3g} billion multiply-adds a second"
    took = (
        f"exact search of {num_rows:,} × {dim} takes about {seconds:.2g} s at {speed}"
    )
    if seconds <= _PATIENCE_SECONDS:
        return SearchChoice("exact", f"{took} and misses nothing", seconds)
    if importlib.util.find_spec("faiss") is None:
        missing = "FAISS, which approximate search needs, is not installed"
        return SearchChoice("exact", f"{took}; {missing}", seconds)
    fast = _approximate_products(num_rows, dim, threshold) / rates.host
    if fast * _ADVANTAGE > seconds:
        why = f"approximate search would take about {fast:.2g} s, too little less"
        return SearchChoice("exact", f"{took}; {why}", seconds)
    why = f"approximate search about {fast:.2g} s, its recall measured"
    return SearchChoice("approximate", f"{took}, {why}", fast)


def measure_rates(dim: int, *, k: int) -> Rates:
    """Times some tiles of the exact search, and a product in NumPy.

    Args:
        dim: D, at least 1.
        k: number of neighbours, at least 1.

    Returns:
        Rates.

    Cost: 36 tiles of 1024² products, compiled for D and k, and two in NumPy.
    """
    num_rows = _MEASURED_TILES * tiles.TILE
    random = np.random.default_rng(0)
    host = random.standard_normal((num_rows, dim), np.float32)
    host /= np.linalg.norm(host, axis=1, keepdims=True)
    rows = tiles.Rows(jnp.asarray(host), jnp.ones(num_rows, bool), 0)
    best = tiles.no_best(max(1, k - 1), num_rows, rows.features.dtype)
    half = _MEASURED_TILES // 2
    # No row block at all compiles it; the first half fills the lists, which are full
    # nearly all the time of a long search.
    for start, stop in ((0, 0), (0, half)):
        best = exact.sweep(rows, best, start, stop, tile_size=tiles.TILE)
    jax.block_until_ready(best)
    start = time.perf_counter()
    jax.block_until_ready(
        exact.sweep(rows, best, half, _MEASURED_TILES, tile_size=tiles.TILE)
    )
    seconds = time.perf_counter() - start
    tile_products = tiles.TILE**2 * dim
    left, right = host[: tiles.TILE], host[tiles.TILE :][: tiles.TILE]
    np.matmul(left, right.T)
    start = time.perf_counter()
    np.matmul(left, right.T)
    host_seconds = time.perf_counter() - start
    return Rates(
        half * (half + 1) / 2 * tile_products / seconds, tile_products / host_seconds
    )


def _exact_products(num_rows: int, dim: int) -> float:
    """Counts multiply-adds: every pair once."""
    return num_rows**2 / 2 * dim


def _approximate_products(num_rows: int, dim: int, threshold: float | None) -> float:
    """Counts multiply-adds of `approximate_neighbors`, the scan at its dearer rate."""
    num_cells = cells.num_cells(num_rows)
    probes = _PROBES_FOR_ALL if threshold is None else _PROBES_ABOVE_THRESHOLD
    trained = cells.ROUNDS * min(num_rows, cells.ROWS_PER_CELL * num_cells)
    share = min(1.0, probes / num_cells)
    sample = _CALIBRATION_ROWS * num_rows
    searched = num_rows**2 * share * _SCAN_COST
    return ((trained + num_rows) * num_cells + searched + sample) * dim
