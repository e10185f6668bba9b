"""The choice between exact and approximate search follows the numbers it prints."""

import importlib.util

import pytest

from gfa_jax.neighbors import automatic
from gfa_jax.neighbors.automatic import choose_search, measure_rate
from tests.conftest import X64

RATE = 7e10  # about that of two CPU cores


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(automatic, "measure_rate", lambda dim, *, k, num_rows: RATE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_a_small_pool_is_searched_exactly_and_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(automatic, "measure_rate", None)
    chosen = choose_search(8000, 256, k=15, threshold=0.55)
    assert chosen.search == "exact"
    assert "8,000 rows" in chosen.reason
    assert 0 < chosen.seconds < 5


def test_exact_where_it_ends_soon(measured):
    chosen = choose_search(50_000, 512, k=16, threshold=0.55)
    assert chosen.search == "exact"
    # N² D / 2 at the rate given: what 9.0 s were measured for.
    assert chosen.seconds == pytest.approx(50_000**2 * 512 / 2 / 7e10)
    assert "9.1 s" in chosen.reason
    assert "70 billion" in chosen.reason


def test_approximate_where_exact_takes_long(measured):
    near, every = (
        choose_search(2_000_000, 256, k=15, threshold=t) for t in (0.55, None)
    )
    assert near.search == "approximate"
    exact_seconds = 2_000_000**2 * 256 / 2 / RATE
    assert near.seconds < min(exact_seconds / 2, every.seconds)
    assert f"{exact_seconds:.2g} s" in near.reason
    assert f"{near.seconds:.2g} s" in near.reason


def test_few_columns_and_all_neighbours_count_what_the_lists_cost(monkeypatch):
    """Where strangers fill a list above the threshold, all K count and few cells help.

    Exact search of 200,000 × 8 took 65 s, the other 150 s before it fell back.
    """
    monkeypatch.setattr(automatic, "measure_rate", lambda dim, *, k, num_rows: 2.5e9)
    chosen = choose_search(200_000, 8, k=57, threshold=0.55)
    assert chosen.search == "exact"
    assert chosen.seconds == pytest.approx(64)
    assert "16% of all products" in chosen.reason
    # What is left is no more than an eighth here, and sorting it is what takes long.
    chosen = choose_search(140_000, 8, k=57, threshold=None)
    assert chosen.search == "exact"
    assert "would take about" in chosen.reason
    monkeypatch.setattr(automatic, "_LISTED_SECONDS", 0.0)
    assert choose_search(140_000, 8, k=57, threshold=None).search == "approximate"


@pytest.mark.parametrize(
    ("module", "name", "value", "reason"),
    [
        (importlib.util, "find_spec", lambda name: None, "not installed"),
        (automatic.jax, "default_backend", lambda: "gpu", "leave the device idle"),
        (automatic, "_ADVANTAGE", 1e9, "approximate search would take about"),
    ],
)
def test_exact_where_the_other_is_no_gain(
    measured, monkeypatch, module, name, value, reason
):
    monkeypatch.setattr(module, name, value)
    chosen = choose_search(2_000_000, 256, k=15, threshold=0.55)
    assert chosen.search == "exact"
    assert reason in chosen.reason


@pytest.mark.skipif(not X64, reason="the same in both, and it takes some seconds")
def test_a_measured_rate_is_that_of_a_machine():
    # Between a watch and the fastest accelerator there is.
    assert 1e6 < measure_rate(4, k=2, num_rows=5000) < 1e15


@pytest.mark.parametrize("k", [0, 100])
def test_bad_input_is_refused(k):
    with pytest.raises(ValueError, match=f"k is {k}"):
        choose_search(100, 8, k=k, threshold=None)
