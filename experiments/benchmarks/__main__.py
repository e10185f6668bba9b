"""Times every stage at growing sizes beside its peers, in one run.

    python -m experiments.benchmarks --sizes=12500,50000 --dim=512

Ours and the peer run in turn; the table gives the median seconds, how many times as
fast as the peer (median, least and most of the pairs), the fraction of the measured
ceiling, and the exponent by which the time grows. A peer that is not installed is
named and left out; `pip install '.[bench]'` brings them all.
"""

import functools
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, outputs
from experiments.benchmarks import ceilings, peers, timing
from gfa_jax import datasets, metrics

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", ["5000", "20000"], "Rows N, growing by factors of four.")
flags.DEFINE_integer("dim", 256, "Columns D.", lower_bound=2)
flags.DEFINE_integer("k", 16, "Neighbours, the row itself counted.", lower_bound=2)
flags.DEFINE_integer("repeats", 5, "Timed runs of each, after one.", lower_bound=1)
flags.DEFINE_list(
    "stages", ["neighbors", "update", "gradient", "all_pairs"], "Stages to time."
)
flags.DEFINE_string("output_dir", "outputs/benchmarks", "Folder of the results.")

_THRESHOLD, _GAMMA = 0.55, 0.5
_OUTPUTS = ("benchmarks.md", "benchmarks.png", "report.json")


class Row(NamedTuple):
    """One line of the table."""

    stage: str
    peer: str
    size: int
    times: timing.Paired
    ceiling: float  # fraction of the measured ceiling that ours reaches


def main() -> None:
    """Runs the stages and prints the table."""
    cli.keep_compiled_programs()
    sizes = _sizes()
    stages = {"neighbors": _neighbors, "update": _update, "gradient": _gradient}
    stages["all_pairs"] = _all_pairs
    if not set(FLAGS.stages) <= set(stages):
        raise ValueError(
            f"--stages={','.join(FLAGS.stages)}: expected some of {', '.join(stages)}"
        )
    folder = outputs.prepare_folder(FLAGS.output_dir)
    limits = {"product": ceilings.product_rate(FLAGS.dim), "copy": ceilings.copy_rate()}
    rows = []
    for size in sizes:
        sample = datasets.synthetic_features(num_rows=size, dim=FLAGS.dim)
        for name in FLAGS.stages:
            rows.extend(stages[name](sample.features, sample.labels, limits))
    table = _table(rows, limits)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "benchmarks.md", table)
        _plot(rows).savefig(hidden / "benchmarks.png", dpi=150)
        report = {
            "environment": outputs.environment(),
            "limits": limits,
            "rows": [row._asdict() | {"times": row.times._asdict()} for row in rows],
        }
        datasets.write_json(hidden / "report.json", report)
    print(table, end="")


def _sizes() -> list[int]:
    sizes = [int(size) for size in FLAGS.sizes if size.isdecimal()]
    if len(sizes) != len(FLAGS.sizes) or min(sizes, default=0) <= FLAGS.k:
        raise ValueError(
            f"--sizes={','.join(FLAGS.sizes)}: expected numbers above k={FLAGS.k}"
        )
    return sizes


def _neighbors(features, labels, limits) -> Iterator[Row]:
    size, dim = features.shape
    on_device = jnp.asarray(features)
    ours = functools.partial(gfa.exact_neighbors, on_device, k=FLAGS.k)
    if not _installed("faiss"):
        return
    times = _paired(ours, lambda: peers.faiss_flat(features, FLAGS.k))
    # The symmetric half of the products is all that the task needs.
    rate = size * size * dim / timing.median(times.ours)
    yield Row("neighbors", "FAISS flat", size, times, rate / limits["product"])


def _update(features, labels, limits) -> Iterator[Row]:
    size, dim = features.shape
    neighbors = gfa.exact_neighbors(features, k=FLAGS.k)
    indices = np.asarray(neighbors.indices)
    on_device = jnp.asarray(features)
    ours = functools.partial(
        gfa.aggregate,
        on_device,
        neighbors,
        gfa.Params(_GAMMA, _THRESHOLD),
        num_steps=1,
        **gfa.PAPER,
    )
    options = {"gamma": _GAMMA, "threshold": _THRESHOLD}
    others: dict[str, Callable[[], Any]] = {
        "scipy": lambda: peers.scipy_update(features, indices, **options)
    }
    if _installed("torch"):
        others["torch"] = lambda: peers.torch_update(features, indices, **options)
    if _installed("numba"):
        fused = peers.numba_update()
        others["numba"] = lambda: fused(
            features, indices, np.float32(_GAMMA), np.float32(_THRESHOLD)
        )
    # Each row reads its K neighbours and itself, and writes one row.
    moved_bytes = size * dim * 4 * (FLAGS.k + 2)
    for name, peer in others.items():
        np.testing.assert_allclose(ours().features, peer(), rtol=0, atol=1e-3)
        times = _paired(ours, peer)
        rate = moved_bytes / timing.median(times.ours)
        yield Row("update", name, size, times, rate / limits["copy"])


def _gradient(features, labels, limits) -> Iterator[Row]:
    """Compares the gradient through five soft updates with the updates alone."""
    neighbors = gfa.exact_neighbors(features, k=FLAGS.k)

    def loss(features, params):
        result = gfa.aggregate(
            features, neighbors, params, num_steps=5, mask="soft", graph="rescore"
        )
        return jnp.sum(jnp.square(result.features - 1))

    arguments = jnp.asarray(features), gfa.Params(_GAMMA, _THRESHOLD)
    forward, backward = jax.jit(loss), jax.jit(jax.grad(loss, argnums=(0, 1)))
    times = _paired(lambda: backward(*arguments), lambda: forward(*arguments))
    moved_bytes = 5 * features.nbytes * (FLAGS.k + 2)
    rate = moved_bytes / timing.median(times.ours)
    yield Row("gradient", "forward alone", len(features), times, rate / limits["copy"])


def _all_pairs(features, labels, limits) -> Iterator[Row]:
    from gfa_jax.metrics.tiles import score_tiles

    size, dim = features.shape

    def bare():
        order = np.argsort(labels, kind="stable").astype(np.int32)
        for tile in score_tiles(
            features, order, block_size=1024, num_bins=2**16, progress=None
        ):
            jax.block_until_ready(tile.scores)

    times = _paired(lambda: metrics.all_pairs_roc(features, labels).roc, bare)
    rate = size * size * dim / timing.median(times.ours)
    yield Row("all pairs", "bare products", size, times, rate / limits["product"])


def _paired(ours: Callable[[], Any], peer: Callable[[], Any]) -> timing.Paired:
    return timing.paired(ours, peer, repeats=FLAGS.repeats)


def _installed(name: str) -> bool:
    if importlib.util.find_spec(name) is None:
        print(f"{name} is not installed: left out", file=sys.stderr)
        return False
    return True


def _table(rows: list[Row], limits: dict[str, float]) -> str:
    lines = [
        f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, float32, "
        f"D={FLAGS.dim}, K={FLAGS.k}: tile products {limits['product'] / 1e9:.0f} "
        f"GFLOP/s, copy {limits['copy'] / 1e9:.1f} GB/s",
        "",
        "| stage | N | ours, s | peer | peer, s | times as fast (least–most) "
        "| of the ceiling | grows as |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratios = row.times.ratios
        lines.append(
            f"| {row.stage} | {row.size:,} | {timing.median(row.times.ours):.3g} "
            f"| {row.peer} | {timing.median(row.times.peer):.3g} "
            f"| {timing.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
            f"| {row.ceiling:.0%} | N^{_growth(rows, row):.2f} |"
        )
    return "\n".join(lines).replace("N^nan", "") + "\n"


def _series(rows: list[Row], like: Row) -> list[Row]:
    return [row for row in rows if (row.stage, row.peer) == (like.stage, like.peer)]


def _growth(rows: list[Row], like: Row) -> float:
    series = _series(rows, like)
    return timing.growth(
        [row.size for row in series], [timing.median(row.times.ours) for row in series]
    )


def _plot(rows: list[Row]):
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    markers = itertools.cycle("os^Dvp*h")
    for row in rows:
        series = _series(rows, row)
        if row is not series[0]:
            continue
        sizes = [r.size for r in series]
        marker = next(markers)
        (line,) = axes.plot(
            sizes,
            [timing.median(r.times.ours) for r in series],
            marker=marker,
            label=f"{row.stage}, ours",
        )
        axes.plot(
            sizes,
            [timing.median(r.times.peer) for r in series],
            marker=marker,
            linestyle="--",
            color=line.get_color(),
            label=f"{row.stage}, {row.peer}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows N")
    axes.set_ylabel("seconds")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small", frameon=False, ncols=2)
    return figure


if __name__ == "__main__":
    cli.run(main)
