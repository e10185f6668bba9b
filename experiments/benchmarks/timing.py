"""Paired timings: ours and the peer in turn, so that a drift hits both alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np


class Paired(NamedTuple):
    """Seconds of two programs run in turn."""

    ours: list[float]  # seconds of each run
    # Seconds of each run of the other; the n-th follows the n-th of ours.
    peer: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast as the peer, pair by pair."""
        return [b / a for a, b in zip(self.ours, self.peer, strict=True)]


def seconds(function: Callable[[], Any]) -> float:
    """Times one call, its device work included."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def paired(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    repeats: int,
    share: float = 1.0,
    patience: float = float("inf"),
) -> tuple[Paired, Any, Any]:
    """Runs both once to warm up, then in turn; gives what they returned, too.

    The peer's seconds are divided by the share of its work that it does; after
    `patience` seconds no further pair is started.
    """
    results = [jax.block_until_ready(warm_up()) for warm_up in (ours, peer)]
    times = Paired([], [])
    start = time.perf_counter()
    while len(times.ours) < repeats:
        times.ours.append(seconds(ours))
        times.peer.append(seconds(peer) / share)
        if time.perf_counter() - start > patience:
            break
    return times, *results


def median(values: list[float]) -> float:
    """Takes the middle value."""
    return float(statistics.median(values))


def growth(sizes: list[int], times: list[float]) -> float:
    """Fits the exponent b of seconds = a · size^b; nan for a single size."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
