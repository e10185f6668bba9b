"""Prints what many rows would take: seconds, bytes, memory and dollars of every stage.

    python -m experiments.plan --rows=1e9 --dim=512 --devices=64

Nothing is run. Every stage is a count of operations or bytes over a rate, and every
rate is measured where it says so, on one device; that devices share the work without
loss, and that a rate holds at more rows, is assumed.
"""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

from gfa_jax import sharding
from gfa_jax.programs import cli, flags

FLAGS = flags.FLAGS


class Rate(NamedTuple):
    """A constant of a device, and where it is from."""

    value: float
    source: str


_ASSUMED = "assumed"
_GPU = "measured on an H100, 2026-11-27: 1.5M × 512, "
_CORES = "measured on two cores, 2026-11-26: 200,000 × 256, "
_SEARCHED = "measured on two cores, 2026-11-24: 2M × 256, "
_DISK = "two cores, 2026-11-28: 10M × 64 from disk, K = 16, "
_CLUSTERS = Rate(1.35e-6, "measured on " + _DISK + "216 s")
_JOINS = Rate(1.0e-7, "measured on " + _DISK + "1.0 s")
_SHARE = Rate(0.021, _SEARCHED + ".992 of the edges; assumed elsewhere")
_DEVICES = {
    "h100": {
        "exact search, operations/s of 2 N² D": Rate(2.23e14, _GPU + "10.3 s"),
        "cells search, share of the pairs": _SHARE,
        "cells search, operations/s": Rate(
            8.0e13, "assumed: .36 of exact search, as on two cores"
        ),
        "settings, s a row": Rate(1.83e-6, _GPU + "2.74 s"),
        "an update, bytes/s of 4 N K D": Rate(
            4.46e11, _GPU + "K = 57, .393 s with cosines"
        ),
        "reading, bytes/s": Rate(1.12e9, _GPU + "2.75 s"),
        "writing, bytes/s": Rate(6.2e8, _GPU + "4.93 s"),
        "links, bytes/s": Rate(5.0e10, _ASSUMED),
        "memory of the search, times its rows": Rate(3.03, _GPU + "9.3 GB"),
        "clusters, s a candidate": _CLUSTERS,
        "clusters, s a row of two forests": _JOINS,
        "memory, bytes": Rate(8.0e10, "data sheet"),
        "dollars an hour": Rate(2.5, _ASSUMED),
    },
    "cores": {
        "exact search, operations/s of 2 N² D": Rate(2.7e11, _CORES + "76 s"),
        "cells search, share of the pairs": _SHARE,
        "cells search, operations/s": Rate(9.7e10, _SEARCHED + "443 s"),
        "settings, s a row": Rate(
            8.6e-5, "measured on two cores, 2026-11-27: 200,000 × 256, K = 57"
        ),
        "an update, bytes/s of 4 N K D": Rate(
            6.3e9, _CORES + "K = 16, .52 s with cosines"
        ),
        "reading, bytes/s": Rate(1.0e9, _ASSUMED),
        "writing, bytes/s": Rate(1.0e9, _ASSUMED),
        "links, bytes/s": Rate(1.25e9, _ASSUMED),
        "memory of the search, times its rows": Rate(4.7, _CORES + "965 MB"),
        "clusters, s a candidate": _CLUSTERS,
        "clusters, s a row of two forests": _JOINS,
        "memory, bytes": Rate(2.4e10, "of that machine"),
        "dollars an hour": Rate(0.1, _ASSUMED),
    },
}
_STEPS = 4
_NAMES = ("exact search", "cells search")

flags.DEFINE_float("rows", 1e9, "Rows N.", 2, 1e15)
flags.DEFINE_integer("dim", 512, "Columns D.", 1, 2**20)
flags.DEFINE_integer("k", 57, "Candidates a row, itself counted.", 2, 2**16)
flags.DEFINE_integer("devices", 64, "Devices, a process each.", lower_bound=1)
flags.DEFINE_enum("device", "h100", [*_DEVICES], "What one is; cores: two of a CPU.")
flags.DEFINE_float("price", None, "Dollars an hour of one device.", lower_bound=0)


class Stage(NamedTuple):
    """What one stage takes: of all devices, but for the memory of one."""

    name: str
    seconds: float
    read: float
    written: float
    memory: float


def main() -> None:
    """Prints the stages and the constants as two tables."""
    rows, devices = round(FLAGS.rows), FLAGS.devices
    if rows < devices:
        raise ValueError(f"--rows={rows} over --devices={devices}; expected a row each")
    rates = dict(_DEVICES[FLAGS.device])
    if FLAGS.price is not None:
        rates["dollars an hour"] = Rate(FLAGS.price, "--price")
    found = [*stages(rows, FLAGS.dim, FLAGS.k, devices, rates)]
    each = math.ceil(rows / devices)
    print(
        f"{rows:,} rows of {FLAGS.dim} columns over {devices} devices ({FLAGS.device}),"
        f" {each:,} each, K = {FLAGS.k}, {_STEPS} updates:\n"
    )
    print("| stage | seconds | read | written | memory a device | dollars |")
    print("|---|---|---|---|---|---|")
    totals = []
    for name, other in (_NAMES, _NAMES[::-1]):
        kept = [stage for stage in found if stage.name != other]
        sums = [sum(column) for column in zip(*(s[1:4] for s in kept), strict=True)]
        most = max(stage.memory for stage in kept)
        totals.append(Stage(f"all, with {name}", sums[0], sums[1], sums[2], most))
    limit = rates["memory, bytes"].value
    for stage in (*found, *totals):
        dollars = stage.seconds * devices / 3600 * rates["dollars an hour"].value
        memory = _bytes(stage.memory) + (": too much" if stage.memory > limit else "")
        cells = [stage.name, _seconds(stage.seconds), *map(_bytes, stage[2:4]), memory]
        print(f"| {' | '.join(cells)} | {dollars:,.2f} |")
    enough = devices
    while any(
        stage.memory > limit
        for stage in stages(rows, FLAGS.dim, FLAGS.k, enough, rates)
        if stage.name != "clusters"  # every host has an array of all rows
    ):
        enough += math.ceil(enough / 64)
    if enough > devices:
        print(f"\nThe rows fit on {enough} devices, or stay in files with --streamed.")
    print("\n| constant | value | source |\n|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate.value:.3g} | {rate.source} |")


def stages(
    rows: int, dim: int, k: int, devices: int, rates: dict[str, Rate]
) -> Iterator[Stage]:
    """Counts what each stage does and divides by its rate."""
    exact, share, cells, settings, update, reading, writing, link, held, batch, join = (
        rate.value for rate in [*rates.values()][:11]
    )
    data, lists, own = 4.0 * rows * dim, 8.0 * rows * k, 4.0 * rows * dim / devices
    work = 2.0 * rows * rows * dim / devices
    yield Stage("load", own / reading, data, 0, own)
    # Half of the rows and of their lists visit each device.
    travels = (data + lists) / 2 / link if devices > 1 else 0.0
    yield Stage(_NAMES[0], max(work / exact, travels), 0, lists, held * own)
    yield Stage(_NAMES[1], work * share / cells, data, lists, held * own)
    weights = lists / 2
    yield Stage(
        "settings", settings * rows / devices, 0, weights, own + lists / devices
    )
    memory = sharding.exchange_memory(num_rows=rows, dim=dim, k=k, num_devices=devices)
    travels = data / link if devices > 1 else 0.0
    seconds = _STEPS * max(4.0 * rows * k * dim / devices / update, travels)
    yield Stage("updates", seconds, 0, data, min(memory))
    yield Stage("files", own / writing, data, data, own)
    rounds = math.ceil(math.log2(devices))
    yield Stage(
        "clusters",
        rows * (batch * k / devices + join * rounds),
        2 * data + lists + 4.0 * rows * devices,
        2 * data + lists / 2 + 4.0 * rows * (devices - 1),
        60.0 * rows,
    )


def _seconds(value: float) -> str:
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if value >= 2 * unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} s"


def _bytes(value: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f} B"


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
