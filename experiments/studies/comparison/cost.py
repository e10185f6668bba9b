"""Seconds and peak memory of one method, alone in a fresh process.

The process reads the features, searches, runs the method once, notes the most bytes
that it has ever held, and repeats for the times. So no method is charged for what
another one left behind. All pay alike for the interpreter and the imports, and all but
those with a search of their own for the start of JAX.
"""

import concurrent.futures
import multiprocessing
import pathlib
from typing import NamedTuple

import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import timing
from experiments.benchmarks.memory import peak_bytes
from experiments.studies.comparison.methods import METHODS, Setting
from gfa_jax.selection import WIDTH

_REPEATS = 5


class Cost(NamedTuple):
    """What one run takes.

    Attributes:
        search: seconds of the neighbours, compiled before; the least of some runs.
        method: seconds of the method on given neighbours, in the same way.
        first: seconds of the first search and the first run, compilation included.
        peak_bytes: the most bytes that the process has held.
    """

    search: float
    method: float
    first: float
    peak_bytes: int


def measure(features: pathlib.Path, name: str, setting: Setting) -> Cost:
    """Runs one method in a process of its own.

    Args:
        features: a .npy file of unit rows.
        name: of `METHODS`; "raw" only reads.
        setting: of the method.

    Returns:
        Cost.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, features, name, setting).result()


def _measure(path: pathlib.Path, name: str, setting: Setting) -> Cost:
    features = np.load(path, allow_pickle=False)
    if name == "raw":
        return Cost(0.0, 0.0, 0.0, peak_bytes())
    method = METHODS[name]
    asked = [setting[key] for key in ("k", "k1", "k2") if key in setting]
    k = max(asked, default=min(WIDTH, len(features) - 1))
    found: list[gfa.Neighbors] = []

    def search() -> None:
        arrays = map(np.asarray, method.search(features, k=k))
        found[:] = [gfa.Neighbors(*arrays)]

    def run() -> None:
        method.run(*method.prepare(features, found[0]), **setting)

    first = timing.seconds(search) + timing.seconds(run)
    peak = peak_bytes()
    return Cost(
        # What else the machine does only adds: the least is nearest to the truth.
        min(timing.seconds(search) for _ in range(_REPEATS)),
        min(timing.seconds(run) for _ in range(_REPEATS)),
        first,
        peak,
    )
