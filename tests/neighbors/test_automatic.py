"""The choice between exact and approximate search follows the numbers it prints."""

import importlib.util

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax.neighbors import automatic, tiles
from gfa_jax.neighbors.automatic import (
    Rates,
    choose_search,
    measure_rates,
    usual_bar,
)
from tests.conftest import X64

# About those of two CPU cores.
RATES = Rates(7e10, 9e10)


@pytest.fixture
def faiss_is_here(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_a_small_pool_is_searched_exactly_and_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(automatic, "measure_rates", None)
    chosen = choose_search(8000, 256, k=15, threshold=0.55)
    assert chosen.search == "exact"
    assert "8,000 rows" in chosen.reason
    assert 0 < chosen.seconds < 5


def test_exact_where_it_ends_soon():
    chosen = choose_search(50_000, 512, k=16, threshold=0.55, rates=RATES)
    assert chosen.search == "exact"
    # N² D / 2 at the rate given: what 9.0 s were measured for.
    assert chosen.seconds == pytest.approx(50_000**2 * 512 / 2 / 7e10)
    assert "9.1 s" in chosen.reason
    assert "70 billion" in chosen.reason


def test_approximate_where_exact_takes_long(faiss_is_here):
    chosen = choose_search(2_000_000, 256, k=15, threshold=0.55, rates=RATES)
    assert chosen.search == "approximate"
    exact_seconds = 2_000_000**2 * 256 / 2 / 7e10
    assert chosen.seconds < exact_seconds / 2
    assert f"{exact_seconds:.2g} s" in chosen.reason
    assert f"{chosen.seconds:.2g} s" in chosen.reason


def test_exact_where_the_device_is_far_faster_than_the_host(faiss_is_here):
    fast = RATES._replace(tiles=100 * RATES.tiles)
    chosen = choose_search(2_000_000, 256, k=15, threshold=0.55, rates=fast)
    assert chosen.search == "exact"
    assert "too little less" in chosen.reason


def test_exact_where_faiss_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    chosen = choose_search(2_000_000, 256, k=15, threshold=0.55, rates=RATES)
    assert chosen.search == "exact"
    assert "not installed" in chosen.reason


def test_all_edges_cost_more_than_those_above_a_threshold(faiss_is_here):
    near, every = (
        choose_search(2_000_000, 256, k=15, threshold=t, rates=RATES)
        for t in (0.55, None)
    )
    assert near.seconds < every.seconds


def test_the_rates_are_measured_where_they_are_not_given(monkeypatch):
    asked = []

    def measure(dim, *, k, num_rows):
        asked.append((dim, k, num_rows))
        return RATES

    monkeypatch.setattr(automatic, "measure_rates", measure)
    given = choose_search(30_000, 64, k=15, threshold=None, rates=RATES)
    assert choose_search(30_000, 64, k=15, threshold=None) == given
    assert asked == [(64, 15, 30_000)]


@pytest.mark.skipif(not X64, reason="the same in both, and it takes some seconds")
def test_measured_rates_are_those_of_a_machine():
    rates = measure_rates(4, k=2, num_rows=5000)
    # Between a watch and the fastest accelerator there is.
    assert all(1e6 < rate < 1e15 for rate in rates)


def test_the_tiles_timed_bring_as_many_as_those_of_a_whole_search(rng):
    num_rows, dim, k = 8 * tiles.TILE, 64, 10
    order = rng.random((200, num_rows))
    # What enters the list of a row that starts with its first tile.
    best = -np.sort(-order[:, : tiles.TILE], axis=1)[:, :k]
    entered = 0
    for column in order[:, tiles.TILE :].T:
        enters = column > best[:, -1]
        entered += int(enters.sum())
        best[enters, -1] = column[enters]
        best[enters] = -np.sort(-best[enters], axis=1)
    share = entered / (200 * num_rows)
    rows = rng.standard_normal((2000, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    reached = np.mean(rows[:1000] @ rows[1000:].T > usual_bar(num_rows, dim, k))
    # Cosines are normal to some per cent so far out.
    assert reached == pytest.approx(share, rel=0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k is 0 with 100 rows"),
        ({"k": 100}, "k is 100 with 100 rows"),
        ({"dim": 0}, "dim is 0; expected at least 1"),
        ({"rates": Rates(0.0, 1.0)}, "rates are .* expected both above 0"),
        ({"rates": Rates(1.0, float("nan"))}, "expected both above 0"),
    ],
)
def test_bad_input_is_refused(change, message):
    options = {"num_rows": 100, "dim": 8, "k": 5, "threshold": None} | change
    with pytest.raises(ValueError, match=message):
        choose_search(options.pop("num_rows"), options.pop("dim"), **options)


def test_the_searches_that_it_names_exist():
    for name in automatic.Search.__args__:
        assert callable(getattr(gfa, f"{name}_neighbors"))
