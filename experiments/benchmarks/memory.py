"""The most bytes that a process holds, measured in one that does nothing else.

Every measurement is a process of its own, forked from a server that has only imported
what all of them need: none is charged for what another one left behind, and all pay
alike for the interpreter and the imports.
"""

import concurrent.futures
import multiprocessing
import pathlib
from collections.abc import Callable
from typing import Any

from gfa_jax.programs import outputs

_STATUS = pathlib.Path("/proc/self/status")
_SERVED = ["experiments.benchmarks.stages"]


def measure(function: Callable[..., None], *arguments: Any) -> dict[str, int]:
    """Calls a function of a module's top level in a process of its own.

    Gives the most bytes held: "resident_bytes", and "device_bytes" where the device
    counts them.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context(
        "forkserver" if "forkserver" in methods else "spawn"
    )
    if "forkserver" in methods:
        context.set_forkserver_preload(_SERVED)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_call, function, arguments).result()


def peak_bytes() -> int:
    """Reads the most bytes that this program has held.

    What the system reports of a process's resources includes, on Linux, the pages of
    the parent that it was forked from.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return outputs.peak_memory()["resident_bytes"]


def _call(function: Callable[..., None], arguments: tuple) -> dict[str, int]:
    function(*arguments)
    return outputs.peak_memory() | {"resident_bytes": peak_bytes()}
