"""Times every stage at growing sizes beside its peers, in one run.

    python -m experiments.benchmarks --sizes=12500,50000,200000 --dim=256 --repeats=3

Ours and the peer run in turn; the table gives the median seconds, how many times as
fast as the peer (median, least and most of the pairs), the fraction of the ceiling
that was measured in the same run, and the most bytes that each held in a process of
its own. Further tables give the exponents by which the seconds grow, what the
approximate searches found, and the memory of a gradient. Above --slice_above rows flat
search does a twentieth of its queries and its time is estimated. A peer that is not
installed is named and left out; `pip install '.[cpu,bench]'` brings them all. The same
command measures a GPU where JAX sees one.
"""

import pathlib
import sys
import tempfile

import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import (
    ceilings,
    gradient_memory,
    measured,
    memory,
    stages,
    tables,
)
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, outputs

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", ["3000", "12000"], "Rows N, growing by factors of four.")
flags.DEFINE_integer("dim", 256, "Columns D.", lower_bound=2)
flags.DEFINE_integer("k", 16, "Neighbours, the row itself counted.", lower_bound=2)
flags.DEFINE_integer("repeats", 3, "Timed runs of each, after one.", lower_bound=1)
flags.DEFINE_float(
    "patience", 60.0, "Seconds after which no pair is repeated.", lower_bound=0
)
flags.DEFINE_integer(
    "slice_above", 100_000, "Rows above which flat search is estimated.", lower_bound=1
)
flags.DEFINE_list("stages", list(stages.STAGES), "Stages to time.")
flags.DEFINE_string("output_dir", "outputs/benchmarks", "Folder of the results.")

_OUTPUTS = ("benchmarks.md", "benchmarks.png", "report.json")


def main() -> None:
    """Measures the stages and prints the tables."""
    cli.keep_compiled_programs()
    sizes, names = _sizes(), _stages()
    folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    measured.check_dependencies(names)
    held, rows, found = {}, [], []
    with tempfile.TemporaryDirectory() as base:
        problems = {size: pathlib.Path(base, str(size)) for size in sizes}
        # All processes come and go before this one takes the device.
        for size, problem in problems.items():
            _write_problem(size, problem)
            memory.measure(measured.prepare, problem, names)
            held[size] = measured.all_bytes(problem, names, size)
        limits = {
            "product": ceilings.product_rate(FLAGS.dim),
            "copy": ceilings.copy_rate(),
        }
        for size, problem in problems.items():
            times, searches = measured.all_times(
                problem,
                names,
                limits,
                held[size],
                repeats=FLAGS.repeats,
                patience=FLAGS.patience,
            )
            rows += times
            found += searches
    gradients = []
    if "gradient" in names:
        gradients = gradient_memory.measure(min(sizes), FLAGS.dim, FLAGS.k)
    reading = {size: held[size]["", None] for size in sizes}
    text = tables.render(
        rows, found, gradients, limits, reading, dim=FLAGS.dim, k=FLAGS.k
    )
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "benchmarks.md", text)
        if rows:
            tables.plot(rows).savefig(hidden / "benchmarks.png", dpi=150)
        report = {
            "limits": limits,
            "rows": [row._asdict() | {"times": row.times._asdict()} for row in rows],
            "found": [each._asdict() for each in found],
            "gradients": [each._asdict() for each in gradients],
            "only_reads": reading,
        }
        outputs.write_report(hidden, report)
    print(text, end="")


def _sizes() -> list[int]:
    sizes = [int(size) for size in FLAGS.sizes if size.isdecimal()]
    if len(sizes) != len(FLAGS.sizes) or min(sizes, default=0) <= FLAGS.k:
        raise ValueError(
            f"--sizes={','.join(FLAGS.sizes)}: expected numbers above k={FLAGS.k}"
        )
    return sizes


def _stages() -> list[str]:
    unknown = set(FLAGS.stages) - set(stages.STAGES)
    if unknown or not FLAGS.stages:
        raise ValueError(
            f"--stages={','.join(FLAGS.stages)}: expected some of "
            f"{', '.join(stages.STAGES)}"
        )
    return list(dict.fromkeys(FLAGS.stages))


def _write_problem(size: int, folder: pathlib.Path) -> None:
    sample = datasets.synthetic_features(num_rows=size, dim=FLAGS.dim)
    nothing = np.zeros((size, 0), np.int32)
    folder.mkdir()
    stages.save(
        stages.Problem(
            sample.features,
            sample.labels,
            gfa.Neighbors(nothing, nothing.astype(np.float32)),
            {},
            FLAGS.k,
            FLAGS.slice_above,
        ),
        folder,
    )


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
