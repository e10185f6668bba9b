"""Counts what more devices do, and models what a large pool takes on GPUs.

    python -m experiments.scaling

compiles the search and one update for 1, 2, 4 and 8 fake devices, the same rows for all
(strong) and the same rows for each (weak), and counts operations and bytes over the
links (see `hlo`) beside the formulas of the model (see `scaling_model`). Then it prices
pools of --rows on --gpus GPUs with the numbers of the machine that the flags give, and
says where the choice turns. It writes counts.md, plan.md and report.json to
--output_dir. The plan is a model: its seconds are not measured.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gfa_jax as gfa
from experiments import cli, hlo, outputs
from experiments import scaling_model as model
from gfa_jax import datasets, sharding
from gfa_jax.affinity import Edges
from gfa_jax.aggregation import Choices, State
from gfa_jax.sharding import aggregation, layout, neighbors, shard_search, shard_update

FLAGS = flags.FLAGS
_OUTPUTS = ("counts.md", "plan.md", "report.json")
_DEVICES = (1, 2, 4, 8)
_AXIS = "rows"

flags.DEFINE_string("output_dir", "outputs/scaling", "Folder of the results.")
flags.DEFINE_bool("counts", True, "Whether programs are compiled and counted.")
flags.DEFINE_integer("counted_rows", 1024, "Rows that are counted.", lower_bound=256)
flags.DEFINE_integer("counted_dim", 128, "Columns that are counted.", lower_bound=1)
flags.DEFINE_list("rows", ["1.5e6", "1e7", "1e8", "1e9"], "Pools to plan for.")
flags.DEFINE_list("gpus", ["1", "8", "64"], "Numbers of GPUs to plan for.")
flags.DEFINE_integer("dim", 512, "Columns D.", lower_bound=1)
flags.DEFINE_integer("k", 15, "Candidates K.", lower_bound=2)
flags.DEFINE_integer("num_steps", 5, "Updates T.", lower_bound=0)
flags.DEFINE_integer("nprobe", 16, "Cells an index reads for a query.", lower_bound=1)
# NVIDIA H100 SXM data sheet: float32 67 TFLOP/s, HBM3 3.35 TB/s, 80 GB, NVLink 900 GB/s
# both ways; 3/4 of the first is taken as reached. InfiniBand NDR: 400 Gb/s a GPU. Two
# Xeon 8480+ a host (Intel): 16 channels of DDR5-4800, 614 GB/s, an eighth a GPU.
flags.DEFINE_float("tflops", 50.0, "Of the search's product: float32 on an H100.", 0.0)
flags.DEFINE_float("memory_gbs", 3350.0, "GB/s of device memory.", 0.0)
flags.DEFINE_float("memory_gb", 80.0, "GB of device memory.", 0.0)
flags.DEFINE_float("near_gbs", 450.0, "GB/s from a GPU of the host: NVLink 4.", 0.0)
flags.DEFINE_float("far_gbs", 50.0, "GB/s from another host: InfiniBand NDR.", 0.0)
flags.DEFINE_integer("gpus_per_host", 8, "GPUs of one host.", lower_bound=1)
flags.DEFINE_float("index_tflops", 1.0, "Of a process's share of the host.", 0.0)
flags.DEFINE_float("index_gbs", 77.0, "GB/s of its share of host memory.", 0.0)
flags.DEFINE_float("price", 2.5, "Dollars for a GPU and hour: an assumption.", 0.0)


def main() -> None:
    """Counts, plans, writes."""
    rows = [round(number) for number in cli.numbers("rows", float)]
    gpus = cli.numbers("gpus", int)
    machine = model.Machine(*(getattr(FLAGS, name) for name in model.Machine._fields))
    if min(*machine) <= 0 or min(rows) <= FLAGS.k or min(gpus) < 1:
        raise ValueError(
            "expected rates, sizes and prices above 0, --rows above k and --gpus of at "
            "least 1"
        )
    jax.config.update("jax_num_cpu_devices", max(_DEVICES))
    folder = outputs.prepare_folder(FLAGS.output_dir)
    stages = cli.Stages()
    counts = []
    if FLAGS.counts:
        with stages("counts"):
            counts = count_programs(
                FLAGS.counted_rows, dim=FLAGS.counted_dim, k=FLAGS.k
            )
    planned = plan(rows, gpus, machine)
    turns = turning_points(gpus, machine)
    texts = {"plan.md": plan_table(planned) + "\n\n" + turns_table(turns)}
    if counts:
        texts = {"counts.md": counts_table(counts)} | texts
    with outputs.staged(folder, _OUTPUTS) as hidden:
        for name, text in texts.items():
            datasets.write_text(hidden / name, text + "\n")
        report = {
            "options": outputs.flag_values(),
            "environment": outputs.environment(),
            "counts": counts,
            "plan": planned,
            "turning_points": turns,
            "seconds": stages.seconds,
        }
        datasets.write_json(hidden / "report.json", report)
    print("\n\n".join(texts.values()))
    print("\nThe plan is a model with the flags' numbers; nothing was timed on a GPU.")


def count_programs(num_rows: int, *, dim: int, k: int) -> list[dict[str, Any]]:
    """Counts the search and one update on each number of devices.

    Args:
        num_rows: N on every number of devices (strong), and on the largest of them
            N / 8 rows a device, which every device keeps (weak).
        dim: D.
        k: K.

    Returns:
        One entry a program: scaling, devices, rows, stage; operations and link_bytes
        counted, and as the model has them.
    """
    entries = []
    for scaling in ("strong", "weak"):
        for devices in _DEVICES:
            share = num_rows // (devices if scaling == "strong" else max(_DEVICES))
            share -= share % 32  # whole tiles, so that nothing is padding
            total = share * devices
            job = model.Job(total, dim, k, 1, 1)
            for stage, counted, formula in _count(job, sharding.row_mesh(devices)):
                entries.append(
                    {
                        "scaling": scaling,
                        "devices": devices,
                        "rows": total,
                        "stage": stage,
                        "counted": counted._asdict(),
                        "model": formula._asdict(),
                    }
                )
    return entries


def _count(job: model.Job, mesh: Mesh) -> list[tuple[str, hlo.Count, hlo.Count]]:
    devices = mesh.size
    share = job.num_rows // devices
    counted = functools.partial(hlo.count, num_devices=devices)
    spread = NamedSharding(mesh, PartitionSpec(_AXIS))
    # Shapes stand for arrays: nothing is computed.
    shape: Any = functools.partial(jax.ShapeDtypeStruct, sharding=spread)
    number: Any = functools.partial(jax.ShapeDtypeStruct, ())
    features = shape((job.num_rows, job.dim), jnp.float32)
    setting = shard_search.Setting(_AXIS, job.num_rows, job.k, True, share)
    _, begin, meet, end = neighbors.stages(mesh, setting)
    rows = features, shape((job.num_rows,), jnp.bool_)
    state = jax.tree.map(
        lambda x: shape(x.shape, x.dtype), jax.eval_shape(begin, *rows)
    )
    total = counted(begin.lower(*rows).compile())
    if devices > 1:
        visit = counted(meet.lower(*rows, state, number(jnp.int32)).compile())
        total += visit.times(devices // 2)
        total += counted(end.lower(*rows, state).compile())
    # With one tile a shard, its own tile is multiplied whole.
    cosines = share**2 + (devices // 2) * share**2
    links = model.search_link_bytes(job, devices) if devices > 1 else 0
    entries = [("search", total, hlo.Count(2 * cosines * job.dim, links))]
    edges = shape((job.num_rows, job.k), jnp.float32)
    update = (
        State(
            features,
            shape((job.num_rows, job.k), jnp.int32),
            shape((job.num_rows,), jnp.float32),
        ),
        jax.ShapeDtypeStruct((1,), jnp.int32),
        gfa.Params(*(number(jnp.float32),) * 4),
        Edges(edges, edges),
    )
    _, advance = aggregation.stages(
        layout.map_on_mesh,
        mesh,
        shard_update.Setting(_AXIS, job.num_rows, "gather", Choices(block_size=share)),
    )
    formula = hlo.Count(
        2 * share * job.k * job.dim, (devices - 1) * share * job.dim * 4
    )
    entries.append(("update", counted(advance.lower(*update).compile()), formula))
    return entries


def plan(
    rows: list[int], gpus: list[int], machine: model.Machine
) -> list[dict[str, Any]]:
    """Prices every pool on every number of GPUs."""
    entries = []
    for num_rows in rows:
        job = model.Job(num_rows, FLAGS.dim, FLAGS.k, FLAGS.num_steps, FLAGS.nprobe)
        for devices in gpus:
            exact = model.exact_search(job, machine, devices)
            ivf = model.ivf_search(job, machine, devices)
            steps, _, exchange = model.updates(job, machine, devices)
            search = min(exact, ivf)
            seconds = search.seconds + steps.seconds
            held = max(search.device_bytes, steps.device_bytes)
            entries.append(
                {
                    "rows": num_rows,
                    "gpus": devices,
                    "exact_seconds": exact.seconds,
                    "ivf_seconds": ivf.seconds,
                    "update_seconds": steps.seconds,
                    "search": "exact" if search is exact else "IVF",
                    "exchange": exchange,
                    "device_bytes": held,
                    "fits": held <= machine.memory_gb * 1e9,
                    "link_bytes": search.link_bytes + steps.link_bytes,
                    "cost": devices * machine.price * seconds / 3600,
                }
            )
    return entries


def turning_points(gpus: list[int], machine: model.Machine) -> list[dict[str, Any]]:
    """Finds the sizes at which the choices turn on each number of GPUs."""
    job = model.Job(0, FLAGS.dim, FLAGS.k, FLAGS.num_steps, FLAGS.nprobe)
    return [
        {
            "gpus": devices,
            **{
                what: model.turning_point(job, machine, devices, what=what)
                for what in ("ivf", "ring", "full")
            },
        }
        for devices in gpus
    ]


def counts_table(entries: list[dict[str, Any]]) -> str:
    """Lays out the counts, with the share of the model that was counted."""
    lines = [
        "| scaling | devices | rows | stage | operations a device | of the model | "
        "bytes in | of the model |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        cells = [
            entry["scaling"],
            str(entry["devices"]),
            f"{entry['rows']:,}",
            entry["stage"],
        ]
        for name in ("operations", "link_bytes"):
            counted, formula = entry["counted"][name], entry["model"][name]
            cells.append(f"{counted:,.0f}")
            cells.append(f"{counted / formula:.2f}" if formula else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plan_table(entries: list[dict[str, Any]]) -> str:
    """Lays out the plan."""
    lines = [
        "| rows | GPUs | exact search | IVF over shards | updates | taken | "
        "a device holds | over its links | dollars |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        held = f"{entry['device_bytes'] / 1e9:,.1f} GB"
        cells = [
            f"{entry['rows']:,}",
            str(entry["gpus"]),
            *(
                _duration(entry[f"{stage}_seconds"])
                for stage in ("exact", "ivf", "update")
            ),
            f"{entry['search']}, {entry['exchange']}",
            held if entry["fits"] else f"{held}: too much",
            f"{entry['link_bytes'] / 1e9:,.1f} GB",
            f"{entry['cost']:,.2f}" if entry["fits"] else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def turns_table(entries: list[dict[str, Any]]) -> str:
    """Lays out the sizes at which the choices turn."""
    lines = [
        "| GPUs | IVF is faster from about | a ring is needed from | too large from |",
        "|---|---|---|---|",
    ]
    for entry in entries:
        sizes = (
            "" if entry[what] is None else f"{float(f'{entry[what]:.2g}'):,.0f} rows"
            for what in ("ivf", "ring", "full")
        )
        lines.append(f"| {entry['gpus']} | {' | '.join(sizes)} |")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2g} s"


if __name__ == "__main__":
    cli.run(main)
