"""Exact or approximate search, chosen by what each would take on this machine.

    exact        N² D / 2 multiply-adds, tiles merged as they come, on the device
    approximate  80 C² D to train C cells, N C D to assign the rows and N² D p / C to
                 look into p of the cells, both with products about 1.5 times as dear as
                 those of one large matrix with another, on the host

Exact search misses nothing, so approximate search has to be worth it: exact is taken
where it ends soon, or where the other would not be twice as fast. How many cells must
be looked into shows only when `approximate_neighbors` calibrates, so p is a guess, and
the estimate of approximate search good to a factor of two where the guess is.
"""

import importlib.util
import math
import statistics
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.neighbors import exact, tiles
from gfa_jax.neighbors.ivf import calibrated, cells

Search = Literal["exact", "approximate"]

# An exact search that ends within this is not worth one missed edge.
_PATIENCE_SECONDS = 30.0
# Approximate search must be this many times as fast: the guess of the cells is rough.
_ADVANTAGE = 2.0
# Cells of mean size that a row looks into: edges above a threshold are near and found
# early, all K are not. For .99 of those above 0.55 in generated pools 65 were needed at
# N = 500,000 and 169 at 2,000,000; they grow as this power of N.
_PROBES_AT = 500_000
_PROBES_ABOVE_THRESHOLD = 65
_PROBES_FOR_ALL = 600
_PROBES_GROWTH = 0.69
# Many products with single cells against few large ones, a multiply-add, with the
# choice of what is kept (measured on 2 CPU cores at N = 500,000, D = 256).
_SCAN_COST = 1.5
_CALIBRATION_ROWS = 1000
# Two slow cores, for the pools that are too small to measure anything.
_NOMINAL = 2e10
_MEASURED_TILES = 8
_MEASURED_PRODUCTS = 16
_MEASUREMENTS = 3


class Rates(NamedTuple):
    """How fast this machine multiplies float32 rows.

    Attributes:
        tiles: multiply-adds a second of the exact search, its merging included, on
            the default device.
        host: multiply-adds a second in NumPy, a product on each processor.
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
    rates = measure_rates(dim, k=k, num_rows=num_rows) if rates is None else rates
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


def estimate_exact(
    num_rows: int, dim: int, *, k: int, rates: Rates | None = None
) -> float:
    """Estimates the seconds of an exact search.

    Args:
        num_rows: N.
        dim: D.
        k: number of neighbours, the row itself counted.
        rates: see `choose_search`.

    Returns:
        Seconds, for a machine as busy as it was when the rates were measured.
    """
    rates = measure_rates(dim, k=k, num_rows=num_rows) if rates is None else rates
    return _exact_products(num_rows, dim) / rates.tiles


def measure_rates(dim: int, *, k: int, num_rows: int) -> Rates:
    """Times some tiles of the exact search, and products in NumPy.

    Args:
        dim: D, at least 1.
        k: number of neighbours, at least 1.
        num_rows: N of the search that is to be estimated: the more tiles it has, the
            less of each is merged.

    Returns:
        Rates.

    Cost: three times 36 tiles of 1024² products, compiled for D and k, and 16 in
    NumPy.
    """
    measured_rows = _MEASURED_TILES * tiles.TILE
    random = np.random.default_rng(0)
    host = random.standard_normal((measured_rows, dim), np.float32)
    host /= np.linalg.norm(host, axis=1, keepdims=True)
    rows = tiles.Rows(jnp.asarray(host), jnp.ones(measured_rows, bool), 0)
    best = tiles.no_best(max(1, k - 1), measured_rows, rows.features.dtype)
    bar = usual_bar(num_rows, dim, k)
    best = best._replace(similarity=jnp.full_like(best.similarity, bar))

    def sweep(stop: int) -> None:
        jax.block_until_ready(exact.sweep(rows, best, 0, stop, tile_size=tiles.TILE))

    sweep(0)  # no row block at all compiles it
    seconds = _least_seconds(lambda: sweep(_MEASURED_TILES))
    tile_products = tiles.TILE**2 * dim
    num_tiles = _MEASURED_TILES * (_MEASURED_TILES + 1) // 2
    left, right = host[: tiles.TILE], host[tiles.TILE :][: tiles.TILE]
    with cells.workers() as pool:

        def multiply() -> None:
            list(pool.map(lambda _: left @ right.T, range(_MEASURED_PRODUCTS)))

        host_seconds = _least_seconds(multiply)
    return Rates(
        num_tiles * tile_products / seconds,
        _MEASURED_PRODUCTS * tile_products / host_seconds,
    )


def usual_bar(num_rows: int, dim: int, k: int) -> float:
    """Finds the cosine that random products reach as often as those of a search do.

    Of rows in any order the m-th enters a list with probability k / m: after the first
    tile of B rows k ln(N / B) do, from N / B tiles. Cosines of random rows are about
    normal, with variance 1 / D.

    Args:
        num_rows: N.
        dim: D.
        k: number of neighbours.

    Returns:
        A cosine.
    """
    num_tiles = max(num_rows / tiles.TILE, 2.0)
    share = min(k * math.log(num_tiles) / (num_tiles * tiles.TILE), 0.5)
    return statistics.NormalDist().inv_cdf(1 - share) / math.sqrt(dim)


def _least_seconds(work: Callable[[], None]) -> float:
    """Times some work where it is disturbed least."""
    seconds = []
    for _ in range(_MEASUREMENTS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _exact_products(num_rows: int, dim: int) -> float:
    """Counts multiply-adds: every pair once."""
    return num_rows**2 / 2 * dim


def _approximate_products(num_rows: int, dim: int, threshold: float | None) -> float:
    """Counts multiply-adds of `approximate_neighbors`, the scan at its dearer rate."""
    num_cells = cells.num_cells(num_rows)
    probes = _PROBES_FOR_ALL if threshold is None else _PROBES_ABOVE_THRESHOLD
    probes *= (num_rows / _PROBES_AT) ** _PROBES_GROWTH
    trained = cells.ROUNDS * min(num_rows, cells.ROWS_PER_CELL * num_cells) * num_cells
    share = min(1.0, probes / num_cells)
    scanned = num_rows * num_cells + num_rows**2 * share
    return (trained + _SCAN_COST * scanned + _CALIBRATION_ROWS * num_rows) * dim
