"""Times what a gallery of generated rows does, beside a rerun in the same run.

    python -m experiments.benchmarks.gallery --size=100000 --dim=256

A rerun refines and clusters all rows anew. Seconds are medians of the wall clock after
one call that compiles, but for the rerun and what takes seconds, which are called once.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import timing
from gfa_jax import datasets
from gfa_jax import gallery as core
from gfa_jax.programs import cli, evaluation, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("size", 10_000, "Rows N of the gallery.", lower_bound=100)
flags.DEFINE_integer("dim", 256, "Columns D.", lower_bound=2)
flags.DEFINE_integer("repeats", 20, "Calls of what is quick.", lower_bound=1)

_PROBES = 256


def main() -> None:
    """Measures, and prints a line for each thing that a gallery does."""
    cli.keep_compiled_programs()
    lines, rerun = [["", "rows", "seconds", "times as fast as a rerun"]], None
    for name, count, seconds in _measure():
        rerun = rerun or seconds
        lines.append([name, f"{count:,}", f"{seconds:.3g}", f"{rerun / seconds:,.1f}"])
    print(evaluation.align(lines))


def _measure() -> Iterator[tuple[str, int, float]]:
    """Yields what was done, with how many rows, and its seconds; a rerun first."""
    size, repeats = FLAGS.size, FLAGS.repeats
    batch = size // 100
    total = size + repeats + 1 + 2 * batch + _PROBES
    made = datasets.synthetic_features(num_rows=total, dim=FLAGS.dim)
    order = np.random.default_rng(0).permutation(total)
    rows, pool = made.features[order], made.features[order[:size]]
    probes = rows[-_PROBES:]

    def add(held: core.Gallery, start: int, stop: int) -> core.Gallery:
        ids = np.arange(start, stop)
        return core.insert(held, rows[start:stop], ids, donate=True)

    gfa.refine(pool[: size // 10], cluster=True)  # compiles what no size asks anew
    yield "rerun", size, _once(gfa.refine, pool, cluster=True)[0]
    seconds, held = _once(core.create, pool)
    yield "create", size, seconds
    ask = functools.partial(core.query, held)
    yield "query", 1, _median(ask, [probes[n : n + 1] for n in range(repeats)])
    yield "query", _PROBES, _median(ask, [probes] * repeats)
    seconds, grown = _once(core.insert, held, rows[[size]], [size])
    yield "insert, copied", 1, seconds
    times, end = [], size + 1 + repeats
    for start in range(size + 1, end):
        seconds, grown = _once(add, grown, start, start + 1)
        times.append(seconds)
    yield "insert", 1, timing.median(times)
    grown = add(grown, end, end + batch)  # compiles
    seconds, _ = _once(add, grown, end + batch, end + 2 * batch)
    yield "insert", batch, seconds
    yield "remove", 1, _once(core.remove, held, [0])[0]


def _once(call: Callable, *arguments: Any, **options: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call(*arguments, **options)
    return time.perf_counter() - start, result


def _median(call: Callable, inputs: Sequence[Any]) -> float:
    call(inputs[0])
    return timing.median([_once(call, each)[0] for each in inputs])


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
