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
from experiments import outputs
from experiments.benchmarks import timing
from experiments.comparison.methods import METHODS, Setting

_REPEATS = 5
_STATUS = pathlib.Path("/proc/self/status")


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


def measure(features: pathlib.Path, name: str, setting: Setting | None) -> Cost:
    """Runs one method in a process of its own.

    Args:
        features: a .npy file of unit rows.
        name: of `METHODS`, or "raw" for a process that only reads.
        setting: of the method.

    Returns:
        Cost.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, features, name, setting).result()


def _measure(path: pathlib.Path, name: str, setting: Setting | None) -> Cost:
    features = np.load(path, allow_pickle=False)
    if setting is None:
        return Cost(0.0, 0.0, 0.0, _peak_bytes())
    method = METHODS[name]
    k = max(setting[key] for key in ("k", "k1", "k2") if key in setting)
    found: list[gfa.Neighbors] = []

    def search() -> None:
        arrays = map(np.asarray, method.search(features, k=k))
        found[:] = [gfa.Neighbors(*arrays)]

    def run() -> None:
        method.run(features, found[0], **setting)

    first = timing.seconds(search) + timing.seconds(run)
    peak = _peak_bytes()
    return Cost(
        # What else the machine does only adds: the least is nearest to the truth.
        min(timing.seconds(search) for _ in range(_REPEATS)),
        min(timing.seconds(run) for _ in range(_REPEATS)),
        first,
        peak,
    )


def _peak_bytes() -> int:
    """Reads the peak of this program alone.

    What the system reports of a process's resources includes, on Linux, the pages of
    the parent that it was forked from.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return outputs.peak_memory()["resident_bytes"]
