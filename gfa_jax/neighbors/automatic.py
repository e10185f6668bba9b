"""Exact or approximate search, chosen by what each would take on this machine.

    exact        N² D / 2 multiply-adds, tiles merged as they come, on the device
    approximate  80 C² D to train C cells, N C D to assign the rows and N² D p / C to
                 probe p of the cells, all with products about 1.5 times as dear as
                 those of one large matrix with another, and where all K count
                 N K (1 + ln(2 N p / (C K))) to list, on the host

Exact search misses nothing, so it is taken where it ends soon, where approximate search
would not be twice as fast or would leave so many products that it turns to it, and on
an accelerator, which approximate search leaves idle. How many cells must be probed
shows only when `approximate_neighbors` calibrates, so p is a guess, and the estimate of
approximate search good to a factor of two.
"""

import importlib.util
import math
import statistics
import time
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.checks import check_k
from gfa_jax.neighbors import exact, tiles
from gfa_jax.neighbors.ivf import calibrated, cells, recall

Search = Literal["exact", "approximate"]

# An exact search that ends within this is not worth one missed edge.
_PATIENCE_SECONDS = 30.0
_ADVANTAGE = 2.0
# Cells that a row probes, in a pool of so many rows; they grow as this power of N.
# Edges above a threshold are near and found early, all K are not.
_PROBES_AT = 500_000
_PROBES_ABOVE_THRESHOLD = 65
_PROBES_FOR_ALL = 600
_PROBES_GROWTH = 0.69
# A multiply-add of many small products, against one of few large ones.
_SCAN_COST = 1.5
# To sort one that enters a list, on two slow cores.
_LISTED_SECONDS = 5e-7
# Two slow cores, for the pools that are too small to measure anything.
_NOMINAL = 2e10
_MEASURED_TILES = 8
_MEASUREMENTS = 3


class SearchChoice(NamedTuple):
    """What `choose_search` chose, why in one line, and the seconds it will take."""

    search: Search
    reason: str
    seconds: float


def choose_search(
    num_rows: int, dim: int, *, k: int, threshold: float | None
) -> SearchChoice:
    """Chooses exact or approximate search, and estimates its time.

    Args:
        num_rows: N.
        dim: D, at least 1.
        k: number of neighbours in [1, N), the row itself counted.
        threshold: cosine that an edge must exceed to count, as for
            `approximate_neighbors`; None where all K edges count.

    Returns:
        SearchChoice: which, why, and the seconds that it is expected to take.

    Raises:
        ValueError: k outside [1, N).

    Cost: where N is large enough for a choice, about a second to time an exact search.
    """
    check_k(k, num_rows)
    products = num_rows**2 / 2 * dim
    if num_rows < calibrated.FEWEST_ROWS:
        why = f"{num_rows:,} rows are searched before an index is built"
        return SearchChoice("exact", why, products / _NOMINAL)
    rate = measure_rate(dim, k=k, num_rows=num_rows)
    seconds = products / rate
    took = (
        f"exact search of {num_rows:,} × {dim} takes about {seconds:.2g} s at "
        f"{rate / 1e9:.3g} billion multiply-adds a second"
    )
    if threshold is not None and typical_kth_best(num_rows, dim, k) > threshold:
        threshold = None  # so few columns that strangers alone fill a list above it
    products, share = _approximate_products(num_rows, dim, threshold)
    fast = products / rate
    if threshold is None:
        probed = max(2 * num_rows * share / k, 1.0)
        fast += num_rows * k * (1 + math.log(probed)) * _LISTED_SECONDS
    if seconds <= _PATIENCE_SECONDS:
        why = f"{took} and misses nothing"
    elif importlib.util.find_spec("faiss") is None:
        why = f"{took}; FAISS, which approximate search needs, is not installed"
    elif jax.default_backend() != "cpu":
        why = f"{took}; approximate search would leave the device idle"
    elif share > calibrated.LARGEST_SHARE:
        why = f"{took}; approximate search would be left {share:.0%} of all products"
    elif fast * _ADVANTAGE > seconds:
        why = f"{took}; approximate search would take about {fast:.2g} s"
    else:
        why = f"{took}, approximate search about {fast:.2g} s, its recall measured"
        return SearchChoice("approximate", why, fast)
    return SearchChoice("exact", why, seconds)


def estimate_exact(num_rows: int, dim: int, *, k: int) -> float:
    """Estimates the seconds of an exact search; see `choose_search`."""
    return num_rows**2 / 2 * dim / measure_rate(dim, k=k, num_rows=num_rows)


def measure_rate(dim: int, *, k: int, num_rows: int) -> float:
    """Times three times 36 tiles of an exact search of N rows on the default device.

    Gives multiply-adds a second, merging included: the more tiles a search has, the
    less of each is merged.
    """
    measured_rows = _MEASURED_TILES * tiles.TILE
    random = np.random.default_rng(0)
    host = random.standard_normal((measured_rows, dim), np.float32)
    host /= np.linalg.norm(host, axis=1, keepdims=True)
    rows = tiles.Rows(jnp.asarray(host), jnp.ones(measured_rows, bool), 0)
    best = tiles.empty_topk(max(1, k - 1), measured_rows, rows.features.dtype)
    usual = typical_kth_best(num_rows, dim, k)
    best = best._replace(similarity=jnp.full_like(best.similarity, usual))
    seconds = []
    for stop in (0, *[_MEASURED_TILES] * _MEASUREMENTS):  # no block at all compiles it
        start = time.perf_counter()
        swept = exact.sweep(rows, best, 0, stop, tile_size=tiles.TILE)
        jax.block_until_ready(swept)
        seconds.append(time.perf_counter() - start)
    num_tiles = _MEASURED_TILES * (_MEASURED_TILES + 1) // 2
    return num_tiles * tiles.TILE**2 * dim / min(seconds[1:])


def typical_kth_best(num_rows: int, dim: int, k: int) -> float:
    """Finds the cosine that random products exceed as often as those of a search.

    Of rows in any order the m-th enters a list with probability k / m: after the first
    tile of B rows k ln(N / B) do, from N / B tiles. Cosines of random rows are about
    normal, with variance 1 / D.
    """
    num_tiles = max(num_rows / tiles.TILE, 2.0)
    share = min(k * math.log(num_tiles) / (num_tiles * tiles.TILE), 0.5)
    return statistics.NormalDist().inv_cdf(1 - share) / math.sqrt(dim)


def _approximate_products(
    num_rows: int, dim: int, threshold: float | None
) -> tuple[float, float]:
    """Counts multiply-adds of `approximate_neighbors`, the scan at its dearer rate.

    Gives the share of all products that the scan is, too.
    """
    num_cells = cells.num_cells(num_rows)
    probes = _PROBES_FOR_ALL if threshold is None else _PROBES_ABOVE_THRESHOLD
    probes *= (num_rows / _PROBES_AT) ** _PROBES_GROWTH
    trained = cells.ROUNDS * min(num_rows, cells.ROWS_PER_CELL * num_cells) * num_cells
    share = min(1.0, probes / num_cells)
    scanned = num_rows * num_cells + num_rows**2 * share
    sampled = recall.SAMPLE_ROWS * num_rows
    return (trained + _SCAN_COST * scanned + sampled) * dim, share
