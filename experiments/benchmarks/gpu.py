"""Checks and times a card in one command of at most eight minutes.

    python -m experiments.benchmarks.gpu --output_dir=outputs/gpu

Nothing but JAX, NumPy, SciPy and tqdm is needed; PyTorch is the peer where it is
installed. First the results are held to float64 on rows drawn anew; then come the
card's own ceilings, exact search beside PyTorch's blocked products and top-k, updates,
a gradient, the ROC of all pairs, the whole of `gfa refine` from file to file, and a
profile of the search. Each part is a process of its own, so that its peak memory is
its own and a part that dies takes no other with it; what is done is kept in
`--output_dir`, and the same command goes on with the rest. A card needs no flag; on a
CPU the sizes shrink to what shows that it runs.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from experiments.benchmarks import gpu_parts
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, outputs

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", [], "Rows N; by default 100,000, 400,000 and 1.5 million.")
flags.DEFINE_integer("dim", 512, "Columns D.", lower_bound=2)
flags.DEFINE_integer("k", 57, "Neighbours, the row itself counted.", lower_bound=2)
flags.DEFINE_integer("seed", 0, "Of the rows.")
flags.DEFINE_float("seconds", 480.0, "When no further part begins.", lower_bound=0)
flags.DEFINE_string("output_dir", "outputs/gpu", "Folder of the results.")
flags.DEFINE_string("part", None, "One part alone, in this process.")

_SIZES = {"gpu": (100_000, 400_000, 1_500_000), "cpu": (2000, 4000, 8000)}


class Part(NamedTuple):
    """One process."""

    name: str
    call: Callable[[], dict[str, Any]]
    environment: dict[str, str]


def main() -> None:
    """Runs the parts that have no result yet, and prints the table."""
    folder = outputs.prepare_folder(FLAGS.output_dir, (), alone=False)
    if FLAGS.part:
        part = {part.name: part for part in _parts()}.get(FLAGS.part)
        if part is None:
            raise ValueError(f"--part={FLAGS.part}: expected a part of this program")
        result = part.call() | {"peak_bytes": gpu_parts.peak_bytes()}
        datasets.write_json(folder / f"{part.name}.json", result)
        return
    start = time.monotonic()
    for part in cli.progress(_parts(), total=len(_parts()), desc="parts"):
        left = FLAGS.seconds - (time.monotonic() - start)
        if (folder / f"{part.name}.json").exists() or left <= 0:
            continue
        _run(part, folder, left)
    text = "\n".join(_table(folder))
    datasets.write_text(folder / "table.md", text + "\n")
    print(text)


def _sizes() -> tuple[int, ...]:
    if not FLAGS.sizes:
        return _SIZES.get(_platform(), _SIZES["gpu"])
    if not all(size.isdecimal() and int(size) > FLAGS.k for size in FLAGS.sizes):
        raise ValueError(
            f"--sizes={','.join(FLAGS.sizes)}: expected numbers above k={FLAGS.k}"
        )
    return tuple(sorted(map(int, FLAGS.sizes)))


@functools.cache
def _platform() -> str:
    """Asks a process of its own: the card's memory is for the parts."""
    code = "import jax; print(jax.default_backend())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()[-1]


def _parts() -> list[Part]:
    sizes, options = _sizes(), {"dim": FLAGS.dim, "k": FLAGS.k, "seed": FLAGS.seed}
    middle = sizes[len(sizes) // 2]

    def part(name: str, num_rows: int, **environment: str) -> Part:
        call = functools.partial(getattr(gpu_parts, name), num_rows, **options)
        return Part(f"{name}_{num_rows}", call, environment)

    checked = min(20_000, sizes[-1])
    return [
        part("parity", checked),
        part("limits", sizes[0]),
        # Its rows are drawn on the CPU: the program itself has all of the card.
        part("whole_job", sizes[-1], JAX_PLATFORMS="cpu"),
        part("profile", middle),
        part("all_pairs", middle),
        *(part("search", size) for size in sizes),
        part("updates", sizes[-1]),
        part("gradient", sizes[0]),
    ]


def _run(part: Part, folder: pathlib.Path, seconds: float) -> None:
    """Runs one part; what it says of a failure is its result."""
    command = [sys.executable, "-m", __spec__.name, f"--part={part.name}"]
    given = {"sizes": ",".join(map(str, _sizes())), "output_dir": str(folder)}
    given |= {name: str(FLAGS[name].value) for name in ("dim", "k", "seed")}
    command += [f"--{name}={value}" for name, value in given.items()]
    try:
        done = subprocess.run(
            command,
            # PyTorch takes its memory beside JAX.
            env=os.environ
            | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
            | part.environment,
            stderr=subprocess.PIPE,
            text=True,
            timeout=seconds + 60,
        )
        failure = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired:
        failure = [f"stopped after {seconds + 60:.0f} s"]
    if failure:
        datasets.write_json(folder / f"{part.name}.failed.json", {"error": failure[0]})


def _table(folder: pathlib.Path) -> Iterable[str]:
    for part in _parts():
        done, failed = (
            folder / f"{part.name}{end}" for end in (".json", ".failed.json")
        )
        if done.exists():
            result = json.loads(done.read_text())
            yield f"## {part.name}"
            shown = {
                key: _shown(value) for key, value in result.items() if value is not None
            }
            yield from (f"- {key}: {value}" for key, value in shown.items())
        elif failed.exists():
            yield f"## {part.name}: {json.loads(failed.read_text())['error']}"
        else:
            yield f"## {part.name}: not begun within --seconds={FLAGS.seconds:g}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):  # the files have all of it
        first = [*value.items()][:6]
        return ", ".join(f"{key[:32]} {_shown(each)}" for key, each in first)
    return str(value)


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
