"""Times what a gallery of generated rows does, beside a rerun in the same run.

    python -m experiments.benchmarks.gallery --size=100000 --dim=256

A rerun refines and clusters all rows anew. Seconds of the wall clock, and those of all
cores, which other work beside does not lengthen as much, are medians after one call
that compiles, but for the rerun and what takes seconds, which are called once.
The recall of a query is the share of the 56 rows nearest to each probe by cosines in
float64 that are among its candidates: by the exact search, and where FAISS is installed
by its indexes as well.
"""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax import gallery as core
from gfa_jax.neighbors.faiss import build_index, import_faiss
from gfa_jax.programs import cli, evaluation, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("size", 10_000, "Rows N of the gallery.", lower_bound=100)
flags.DEFINE_integer("dim", 256, "Columns D.", lower_bound=2)
flags.DEFINE_integer("repeats", 20, "Calls of what is quick.", lower_bound=1)

_PROBES = 256
_SECONDS = "seconds", "core seconds"
_WIDTH = 56  # candidates of a probe
_INDEXES = (
    ("IVF", "IVF{lists},Flat", "nprobe=16"),
    ("HNSW", "HNSW32", "efSearch=128"),
)


def main() -> None:
    """Measures, and prints a line for each thing that a gallery does."""
    cli.keep_compiled_programs()
    lines, rerun = [["", "rows", "recall", *_SECONDS, "rerun / it", "by core"]], None
    for name, count, seconds, *recall in _measure():
        rerun = seconds if rerun is None else rerun
        lines.append([name, f"{count:,}", "".join(f"{x:.4f}" for x in recall)])
        lines[-1] += [f"{x:.3g}" for x in seconds]
        lines[-1] += [f"{x:,.1f}" for x in rerun / seconds]
    print(evaluation.align(lines))


def _measure() -> Iterator[tuple[Any, ...]]:
    """Yields what was done, rows, seconds and a query's recall; a rerun first."""
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
    seconds = _median(ask, [probes] * repeats)
    yield "query", _PROBES, seconds, _recall(pool, probes, held)
    with contextlib.suppress(ImportError):
        faiss = import_faiss()
        for name, factory, effort in _INDEXES:
            factory = factory.format(lists=int(size**0.5))
            index = build_index(faiss, pool, factory, effort)
            search = functools.partial(_search, index)
            ask = functools.partial(core.query, held, search=search)
            seconds = _median(ask, [probes] * repeats)
            name = f"query, {name} {effort}"
            yield name, _PROBES, seconds, _recall(pool, probes, held, search=search)
    seconds, grown = _once(core.insert, held, rows[[size]], [size])
    yield "insert, copied", 1, seconds
    times, end = [], size + 1 + repeats
    for start in range(size + 1, end):
        seconds, grown = _once(add, grown, start, start + 1)
        times.append(seconds)
    yield "insert", 1, np.median(times, axis=0)
    grown = add(grown, end, end + batch)  # compiles
    seconds, _ = _once(add, grown, end + batch, end + 2 * batch)
    yield "insert", batch, seconds
    yield "remove", 1, _once(core.remove, held, [0])[0]


def _search(index: Any, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    return index.search(probes, k)[::-1]


def _recall(
    pool: np.ndarray, probes: np.ndarray, held: core.Gallery, **options: Any
) -> float:
    """Measures the share of the nearest rows that are candidates of the probes."""
    k = min(_WIDTH, len(pool))
    cosines = probes.astype(np.float64) @ pool.T.astype(np.float64)
    wanted = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    found = core.query(held, probes, k=k, **options).ids
    hits = [np.isin(*each).mean() for each in zip(wanted, found, strict=True)]
    return float(np.mean(hits))


def _once(call: Callable, *arguments: Any, **options: Any) -> tuple[np.ndarray, Any]:
    clocks = time.perf_counter, time.process_time
    starts = [clock() for clock in clocks]
    result = call(*arguments, **options)
    return np.array([clock() for clock in clocks]) - starts, result


def _median(call: Callable, inputs: Sequence[Any]) -> np.ndarray:
    call(inputs[0])
    return np.median([_once(call, each)[0] for each in inputs], axis=0)


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
