"""Several processes as one job: started here or by hand, connected and kept consistent.

    gfa refine --num_processes=2 …

starts both processes on this machine. A scheduler that starts many of the same command
says to each where it is (`scheduler`). Otherwise every process is started by hand with
the same flags and its own number:

    gfa refine --num_processes=2 --process_id=0 --coordinator=a:8476 …
    gfa refine --num_processes=2 --process_id=1 --coordinator=a:8476 …

where a:8476 is an address of process 0. JAX's runtime joins them, carries what they
exchange, and ends them all when one stays silent for --heartbeat_timeout seconds.
Importing this module defines the flags.
"""

import contextlib
import ctypes
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jax

from gfa_jax import sharding
from gfa_jax.programs import flags, rendezvous, scheduler

FLAGS = flags.FLAGS

flags.DEFINE_integer(
    "num_processes",
    1,
    "Processes of the job. Found under Slurm, Open MPI and Kubernetes, as are the next "
    "two.",
    lower_bound=1,
)
flags.DEFINE_string(
    "coordinator",
    None,
    "host:port of process 0. Without, all processes are started on this machine.",
)
flags.DEFINE_integer("process_id", None, "Number of this process.", lower_bound=0)
flags.DEFINE_integer(
    "num_devices",
    None,
    "Devices of each process to spread the rows over; in a job of several processes "
    "all of them, otherwise one.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "heartbeat_timeout",
    60,
    "Seconds of silence after which a process is dead, and the job with it.",
    lower_bound=1,
)

_FAILED = 2
_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1
# Seconds to wait for all processes.
START_TIMEOUT = 300
# Seconds that processes have to say themselves why they end.
GRACE = 10
# Seconds that the one who started all has to name the one that died.
_LAUNCHER_SECONDS = 0.5
# What a collective says when its other end is gone.
_LOST = ("Gloo", "NCCL", "Connection", "UNAVAILABLE", "heartbeat")


def is_job() -> bool:
    """Tells whether the flags, if they fit, ask for several processes or devices.

    Where a scheduler started this process, it says what they do not.
    """
    _ask_scheduler()
    count, number = FLAGS.num_processes, FLAGS.process_id
    if count == 1 and (number, FLAGS.coordinator) != (None, None):
        raise ValueError(
            "--process_id and --coordinator are for --num_processes of at least 2"
        )
    if (number is None) != (FLAGS.coordinator is None):
        given = "--coordinator" if number is None else "--process_id"
        raise ValueError(
            f"{given} is given alone; expected --coordinator and --process_id, or "
            "neither of them to start all processes here"
        )
    if number is not None and number >= count:
        raise ValueError(
            f"--process_id={number} with --num_processes={count}; "
            f"expected 0 to {count - 1}"
        )
    return count > 1 or FLAGS.num_devices is not None


def _ask_scheduler() -> None:
    count = FLAGS["num_processes"]
    coordinator, number = FLAGS["coordinator"], FLAGS["process_id"]
    told = None not in (coordinator.value, number.value)
    if count.present and (count.value == 1 or told):
        return
    place = scheduler.find(coordinator=coordinator.value, process_id=number.value)
    if place is None or place.num_processes == 1:
        return
    if count.present and count.value != place.num_processes:
        raise ValueError(
            f"--num_processes={count.value}, but {place.scheduler} started "
            f"{place.num_processes}; leave the flag out, or start one process"
        )
    count.value, number.value = place.num_processes, place.process_id
    coordinator.value = place.coordinator
    if place.local_id is not None:
        devices = scheduler.own_devices(place.local_id, FLAGS.num_devices or 1)
        # Read by `jax.distributed.initialize`, which would look for the first alone.
        os.environ.setdefault("JAX_LOCAL_DEVICE_IDS", ",".join(map(str, devices)))


def launch() -> None:
    """Starts every process of the job on this machine, where this one has no number.

    It ends when they do. On a machine with GPUs each gets the one of its number.
    Process 0 writes to this terminal. Where one fails the others are ended, and its
    number is said.
    """
    if FLAGS.num_processes == 1 or FLAGS.process_id is not None:
        return
    port = rendezvous.free_port("127.0.0.1")
    children, logs = [], []
    with contextlib.ExitStack() as stack:
        for number in range(FLAGS.num_processes):
            log = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            own = [f"--process_id={number}", f"--coordinator=127.0.0.1:{port}"]
            child = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:], *own],
                env=os.environ | {"JAX_LOCAL_DEVICE_IDS": str(number)},
                preexec_fn=die_with_parent,
                stderr=log if number else None,
            )
            stack.callback(child.wait)
            stack.callback(child.kill)
            children.append(child)
            logs.append(log)
        failed = _wait(children)
        if failed is None:
            sys.exit(0)
        code = children[failed].returncode
        logs[failed].seek(0)
        said = logs[failed].read()
    end_launcher(failed, FLAGS.num_processes, code, said)


def end_launcher(number: int, count: int, code: int | str, said: str) -> NoReturn:
    """Ends the one who started a job as the process that failed ended.

    Args:
        number: of that process.
        count: of all.
        code: its exit code, the number of a signal below 0, or what took it.
        said: what it wrote to stderr, if that was not shown; its last line is now.
    """
    if said := said.strip():
        print(said.splitlines()[-1], file=sys.stderr)
    if isinstance(code, int) and code > 0:
        sys.exit(code)
    how = code if isinstance(code, str) else signal.Signals(-code).name
    print(
        f"{pathlib.Path(sys.argv[0]).stem}: process {number} of {count} died ({how}) "
        "and the job with it; the same command goes on after the last finished stage",
        file=sys.stderr,
    )
    sys.exit(_FAILED)


@contextlib.contextmanager
def distributed_session() -> Iterator[None]:
    """Makes this process one of the job while the block runs.

    Raises:
        ValueError: a port that is in use, a process 0 that cannot be reached.
    """
    if FLAGS.num_processes == 1:
        yield
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Otherwise a SIGTERM would only be noted, for a checkpoint that is never made.
    jax.config.update("jax_enable_preemption_service", False)
    given = f"--coordinator={FLAGS.coordinator}"
    host, _, port = FLAGS.coordinator.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"{given}: expected host:port, such as 10.0.0.1:8476")
    try:
        links = rendezvous.meet(
            host,
            int(port),
            number=FLAGS.process_id,
            count=FLAGS.num_processes,
            timeout=START_TIMEOUT,
        )
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from error
    rendezvous.watch(links, silence=FLAGS.heartbeat_timeout, lost=_end)
    is_local = rendezvous.is_local(host)
    if is_local:
        keep_local(host)
    runtime = FLAGS.coordinator
    if FLAGS.process_id:
        runtime = f"127.0.0.1:{rendezvous.relay(host, int(port))}"
    try:
        jax.distributed.initialize(
            runtime,
            FLAGS.num_processes,
            FLAGS.process_id,
            initialization_timeout=START_TIMEOUT,
            # Otherwise the runtime listens on every address of this machine.
            coordinator_bind_address=FLAGS.coordinator if is_local else None,
            # Later than this package, which says in one line who is silent.
            heartbeat_timeout_seconds=FLAGS.heartbeat_timeout + GRACE,
            shutdown_timeout_seconds=FLAGS.heartbeat_timeout,
        )
    except RuntimeError as error:
        raise ValueError(
            f"process {FLAGS.process_id} cannot join --coordinator={FLAGS.coordinator}:"
            f" {error}"
        ) from error
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error):
            _fail(error)
        # A ValueError that all processes raise, so all of them end here.
        jax.distributed.shutdown()
        rendezvous.part(links)
        raise
    jax.distributed.shutdown()
    rendezvous.part(links)


def keep_local(host: str) -> None:
    """Lets gloo listen on an address of this machine alone.

    JAX has no option for it: it takes the address that this machine's name has.
    """
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    connect = getattr(_jax, "make_gloo_tcp_collectives", None)
    if connect is not None:
        local = functools.partial(connect, hostname=host)
        _jax.make_gloo_tcp_collectives = local


def is_first() -> bool:
    """Tells whether this is process 0, which speaks for the job."""
    return jax.process_index() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Fails in every process where the block fails in one, with the same line."""
    error = None
    try:
        yield
    except sharding.CollectiveError:
        raise
    except (ValueError, OSError, ImportError) as raised:
        error = str(raised)
    sharding.collective_errors(error)


def agree(facts: Mapping[str, Any]) -> None:
    """Refuses processes that were not started alike.

    The facts are JSON values, by the name that a person knows each by.
    """
    own = json.dumps(dict(facts), sort_keys=True).encode()
    first, *others = (json.loads(text) for text in sharding.gather_bytes(own))
    for process, theirs in enumerate(others, 1):
        for name in sorted(first.keys() | theirs.keys()):
            if first.get(name) != theirs.get(name):
                raise ValueError(
                    f"processes disagree on {name}: {first.get(name)!r} in process 0, "
                    f"{theirs.get(name)!r} in process {process}; start all with the "
                    "same"
                )


def die_with_parent() -> None:
    """Asks the system to end this process when its launcher ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(children: list[subprocess.Popen]) -> int | None:
    """Waits until all have ended well or one has not: its number."""
    while True:
        codes = [child.poll() for child in children]
        # Signals come first: what the others say of it is only a consequence.
        failed = [number for number, code in enumerate(codes) if code and code < 0]
        if not failed and any(codes):
            failed = [number for number, code in enumerate(codes) if code]
            end = time.monotonic() + GRACE
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, end - time.monotonic()))
            if (children[0].poll() or 0) > 0:
                failed[:0] = [0]  # what all of them say, it has said
        if failed:
            return failed[0]
        if all(code == 0 for code in codes):
            return None
        time.sleep(_POLL_SECONDS)


def _fail(error: Exception) -> NoReturn:
    """Ends this process, after the one that is gone was named where one is."""
    reason = " ".join(str(error).split())
    if any(word in reason for word in _LOST):
        time.sleep(FLAGS.heartbeat_timeout + GRACE)
    _say(f"process {FLAGS.process_id} failed: {reason}")


def _end(number: int) -> NoReturn:
    """Ends this process because another one has ended."""
    time.sleep(_LAUNCHER_SECONDS)
    _say(
        f"process {number} of {FLAGS.num_processes} is gone and the job with it; the "
        "same command goes on after the last finished stage"
    )


def _say(line: str) -> NoReturn:
    print(f"{pathlib.Path(sys.argv[0]).stem}: {line}", file=sys.stderr, flush=True)
    # An orderly exit would wait for the others, who wait for this one.
    os._exit(_FAILED)
