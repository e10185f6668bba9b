"""Places the processes of a job on a Ray or a Dask cluster.

    gfa launch --ray --num_processes=8 -- refine --features=/shared/pool
    gfa launch --dask --address=10.0.0.1:8786 -- refine --features=/shared/pool

Each runs the command after `--` with its number and the address of process 0 (see
`processes`), in this folder, so all machines see one file system. What process 0 writes
is shown here. The first that fails ends all, as does an interrupt of this program.
"""

import contextlib
import importlib
import importlib.util
import logging
import os
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from gfa_jax.programs import flags, processes, rendezvous

FLAGS = flags.FLAGS
POSITIONAL = ("command",)
EVERYDAY = ("ray", "dask", "address", "num_processes", "num_devices")

flags.DEFINE_bool("ray", False, "On the nodes of a Ray cluster: one process a GPU.")
flags.DEFINE_bool("dask", False, "On the workers of a Dask cluster, one process each.")
flags.DEFINE_string(
    "address",
    None,
    "Of the cluster; by default the one that its own settings name, or one that is "
    "started on this machine.",
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "Processes of the job; by default all that there is room for: with Ray one a GPU, "
    "or a node where there is none; with Dask one a worker.",
    lower_bound=1,
)
flags.DEFINE_integer("num_devices", 1, "GPUs of each process.", lower_bound=1)
flags.DEFINE_multi_string("command", [], "A program and its flags, after --.")
flags.require("command")

_POLL_SECONDS = 1.0
# What a process of the job is told besides: how JAX and XLA are set here.
_PASSED_ON = ("JAX_", "XLA_")
_OWN = ("num_processes", "num_devices", "process_id", "coordinator")

# Number of the process; stdout, stderr or ended; a line, an exit code, or what took it.
Event = tuple[int, str, Any]
Lines = Generator[Event | None, None, None]


class Job(NamedTuple):
    """What every process of the job is started with."""

    command: Sequence[str]
    folder: str
    environment: dict[str, str]
    num_devices: int


def main() -> None:
    """Starts the job on the cluster, shows what it says, and ends as it does."""
    if FLAGS.ray == FLAGS.dask:
        raise ValueError("expected one of --ray and --dask")
    engine, address = (_ray if FLAGS.ray else _dask), FLAGS.address
    extra, package = ("ray", "ray") if FLAGS.ray else ("dask", "distributed")
    count, num_devices = FLAGS.num_processes, FLAGS.num_devices
    passed = {n: v for n, v in os.environ.items() if n.startswith(_PASSED_ON)}
    # Ray and dask-cuda show each process its own GPUs first.
    passed["JAX_LOCAL_DEVICE_IDS"] = ",".join(map(str, range(num_devices)))
    job = Job(_checked(FLAGS.command), str(pathlib.Path.cwd()), passed, num_devices)
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"--{extra} needs {package}; pip install 'gfa_jax[{extra}]'")
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with engine(job, address, count, events.put) as started:
        follow(events, started)


def _checked(command: Sequence[str]) -> Sequence[str]:
    """Refuses here what every process would refuse there."""
    from gfa_jax.programs.main import PROGRAMS

    name, *given = command
    if name not in PROGRAMS:
        raise ValueError(f"got {name!r} after --; expected refine or cluster and flags")
    program = importlib.import_module(f"gfa_jax.programs.{name}")
    flags.parse(program, [name, *given])
    if "process_id" not in flags.FLAGS or name == "launch":
        raise ValueError(
            f"{name} runs in one process; expected refine or cluster after --"
        )
    for own in _OWN:
        if flags.FLAGS[own].present:
            raise ValueError(
                f"--{own} is given after --; the launcher says it, so give "
                "--num_processes and --num_devices before"
            )
    return command


def follow(events: "queue.SimpleQueue[Event]", count: int) -> None:
    """Shows what process 0 says until all have ended well, or ends as one that failed.

    Where one fails the others have a little time to end by themselves: of those that
    failed, one that was killed is the cause.
    """
    ended: dict[int, int | str] = {}
    said: dict[int, str] = {}
    end = float("inf")
    while len(ended) < count and time.monotonic() < end:
        try:
            number, kind, value = events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if kind == "ended":
            ended.setdefault(number, value)
            if value:
                end = min(end, time.monotonic() + processes.GRACE)
        elif number == 0:
            print(value, end="", file=getattr(sys, kind), flush=True)
        elif kind == "stderr":
            said[number] = value
    failed = [number for number, code in sorted(ended.items()) if code]
    killed = [n for n in failed if isinstance(code := ended[n], str) or code < 0]
    if failed:
        number = (killed or failed)[0]
        processes.end_launcher(number, count, ended[number], said.get(number, ""))


def work(job: Job, number: int, count: int, where: str) -> Lines:
    """Runs a process of the job; yields what it says, its exit code, or None at times.

    It ends with whoever iterates.
    """
    own: dict[str, Any] = {"num_processes": count}
    if count > 1:
        own |= {"process_id": number, "coordinator": where}
    if job.num_devices > 1:
        own["num_devices"] = job.num_devices
    given = [f"--{name}={value}" for name, value in own.items()]
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "gfa_jax", *job.command, *given],
            cwd=job.folder,
            env=os.environ | job.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=processes.die_with_parent,
        )
    except OSError as error:
        yield number, "ended", f"{socket.gethostname()}: {error}"
        return
    lines: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def read(kind: str) -> None:
        for line in getattr(child, kind):
            lines.put((number, kind, line))
        lines.put(None)

    with child:
        readers = [
            threading.Thread(target=read, args=(kind,)) for kind in ("stdout", "stderr")
        ]
        try:
            for reader in readers:
                reader.start()
            left = len(readers)
            while left:
                try:
                    line = lines.get(timeout=_POLL_SECONDS)
                    left -= line is None
                except queue.Empty:
                    line = None
                yield line
            yield number, "ended", child.wait()
        finally:
            child.kill()
            for reader in readers:
                reader.join()


def _place(host: str) -> str:
    """Names a place on this machine, which others know as `host`, for process 0."""
    address = f"[{host}]" if ":" in host else host
    return f"{address}:{rendezvous.free_port(host)}"


# --- Ray ------------------------------------------------------------------------------


@contextlib.contextmanager
def _ray(
    job: Job, address: str | None, count: int | None, put: Callable[[Event], None]
) -> Iterator[int]:
    """Starts the processes; yields their number."""
    import ray  # pyright: ignore[reportMissingImports]
    from ray.util import (  # pyright: ignore[reportMissingImports]
        placement_group,
        scheduling_strategies,
    )

    try:
        if address and address[-1].isdecimal():  # Ray waits for ten minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"--address={address}: {error}") from error
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(ray.shutdown)
        there = ray.cluster_resources()
        share: dict[str, float] = {"CPU": 1}
        if there.get("GPU"):
            share["GPU"] = job.num_devices
            room = int(there["GPU"]) // job.num_devices
        else:
            room = sum(node["Alive"] for node in ray.nodes())
        count = count or max(1, room)
        for name, size in share.items():
            if size * count > there.get(name, 0):
                raise ValueError(
                    f"{count} processes need {size * count} {name}s, and the Ray "
                    f"cluster has {there.get(name, 0):g}; give fewer --num_processes "
                    "or --num_devices"
                )
        group = placement_group([share] * count, "PACK" if "GPU" in share else "SPREAD")
        if not group.wait(processes.START_TIMEOUT):
            raise ValueError(
                f"the Ray cluster had no room for {count} processes for "
                f"{processes.START_TIMEOUT} s; wait for its other jobs"
            )

        def submit(function: Any, number: int, *given: Any, **more: Any) -> Any:
            strategy = scheduling_strategies.PlacementGroupSchedulingStrategy(
                group, placement_group_bundle_index=number
            )
            return (
                ray.remote(function)
                .options(
                    num_cpus=share["CPU"],
                    num_gpus=share.get("GPU", 0),
                    max_retries=0,
                    scheduling_strategy=strategy,
                    **more,
                )
                .remote(*given)
            )

        def show(number: int, lines: Any) -> None:
            try:
                for entry in lines:
                    line: Any = ray.get(entry)
                    put(line)
                    if line[1] == "ended":  # what follows is of the shutdown
                        return
            except Exception as error:  # whatever Ray raises where a worker is gone
                reason = str(error).strip() or type(error).__name__
                put((number, "ended", reason.splitlines()[-1]))

        where = ray.get(submit(_ray_place, 0))
        for number in range(count):
            lines = submit(
                _ray_work, number, job, number, count, where, num_returns="streaming"
            )
            shown = threading.Thread(target=show, args=(number, lines), daemon=True)
            shown.start()
            cleanup.callback(shown.join, processes.GRACE)
            cleanup.callback(ray.cancel, lines, force=True)
        yield count


def _ray_place() -> str:
    import ray  # pyright: ignore[reportMissingImports]

    return _place(ray.util.get_node_ip_address())


def _ray_work(*given: Any) -> Lines:
    for line in work(*given):  # Ray takes generators alone
        if line is not None:
            yield line


# --- Dask -----------------------------------------------------------------------------


@contextlib.contextmanager
def _dask(
    job: Job, address: str | None, count: int | None, put: Callable[[Event], None]
) -> Iterator[int]:
    """Starts the processes; yields their number."""
    import dask.config  # pyright: ignore[reportMissingImports]
    import distributed  # pyright: ignore[reportMissingImports]

    address = address or dask.config.get("scheduler-address", None)
    # A cluster of its own would warn of each process that is ended.
    quiet: dict[str, Any] = {} if address else {"silence_logs": logging.CRITICAL}
    try:
        client: Any = distributed.Client(address, **quiet)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"--address={address}: {error}") from error
    with client:
        workers = sorted(client.nthreads())
        count = count or len(workers)
        if not 0 < count <= len(workers):
            raise ValueError(
                f"{count} processes, and the Dask cluster has {len(workers)} workers; "
                "each runs one: start more, or give fewer --num_processes"
            )
        topic = f"gfa_jax-{uuid.uuid4()}"
        client.subscribe_topic(topic, lambda event: put(tuple(event[1])))
        once = {"pure": False, "retries": 0}
        host = urllib.parse.urlsplit(workers[0]).hostname
        where = client.submit(_place, host, workers=workers[:1], **once).result()
        futures = [
            client.submit(
                _dask_work, topic, job, n, count, where, workers=[workers[n]], **once
            )
            for n in range(count)
        ]
        stop = threading.Event()

        def watch() -> None:
            """Dask waits for a worker that is gone to come back."""
            while not stop.wait(_POLL_SECONDS):
                there = client.nthreads()
                for number, future in enumerate(futures):
                    if future.status == "error":
                        put((number, "ended", str(future.exception())))
                    elif not future.done() and workers[number] not in there:
                        put((number, "ended", f"worker {workers[number]} is lost"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield count
        finally:
            stop.set()
            watcher.join()
            client.cancel(futures)


def _dask_work(topic: str, *given: Any) -> None:
    import distributed  # pyright: ignore[reportMissingImports]

    worker = distributed.get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    with contextlib.closing(work(*given)) as lines:
        for line in lines:
            if line is not None:
                worker.log_event(topic, line)
            # A task that runs is not interrupted by Dask where it was cancelled.
            elif task.state == "cancelled":
                return
