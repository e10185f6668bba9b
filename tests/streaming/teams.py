"""Processes of a team as threads, each with the same function."""

import concurrent.futures
import pathlib
import threading
from collections.abc import Callable

from gfa_jax.streaming.workspace import Team, Workspace


def run(folder: pathlib.Path, size: int, function: Callable) -> list:
    """Calls a function with the workspace of each of `size` processes."""
    barrier = threading.Barrier(size)

    def wait() -> None:
        barrier.wait(60)

    def call(number: int):
        try:
            team = Team(number, size, wait)
            return function(Workspace(folder, "0" * 64, team))
        except BaseException:
            barrier.abort()
            raise

    with concurrent.futures.ThreadPoolExecutor(size) as threads:
        return list(threads.map(call, range(size)))
