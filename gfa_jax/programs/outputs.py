"""Results that appear together or not at all, and what the report says of the run.

It comes last and holds the hash of every file, so that it tells what a run that was
killed while its files appeared has left: new ones beside old ones.
"""

import concurrent.futures
import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import gfa_jax
from gfa_jax import datasets, metrics
from gfa_jax.datasets.atomic import lock_folder
from gfa_jax.datasets.fingerprints import fingerprint, is_other
from gfa_jax.programs import cli, flags

try:
    import resource
except ImportError:  # Windows
    resource = None

_PACKAGES = (
    *("absl-py", "faiss-cpu", "faiss-gpu", "flax", "infomap", "jax", "jaxlib"),
    *("numpy", "optax", "optimistix", "scikit-learn", "scipy"),
)


class _Run(NamedTuple):
    """What is known of a run when it begins; a study may change the flags later."""

    program: str
    options: dict[str, Any]
    inputs: dict[str, pathlib.Path]
    stamps: dict[str, Any]
    hashes: dict[str, Callable[[], dict[str, Any]]]
    names: Sequence[str]


_runs: dict[pathlib.Path, _Run] = {}


def prepare_folder(
    path: str, names: Sequence[str], *, alone: bool = True
) -> pathlib.Path:
    """Makes the output folder and proves that it can be written, before any work.

    Args:
        path: of the folder.
        names: files that the program writes there, and folders, without a suffix.
        alone: whether this process is the one that writes them. It locks the folder,
            removes what dead runs left hidden there, and warns of inputs that are of
            another run than the report beside them.

    Raises:
        ValueError: an input, a read-only file or none would be replaced; a folder that
            cannot be written, or that another run writes to.
    """
    folder = pathlib.Path(path)
    inputs = {name: pathlib.Path(value) for name, value in flags.inputs().items()}
    taken = {os.path.realpath(folder / name) for name in ("", *names)}
    for source in inputs.values():
        if os.path.realpath(source) in taken:
            raise ValueError(
                f"{source} is an input and would be overwritten; name another "
                "--output_dir"
            )
    for target in (folder / name for name in names):
        fault = None
        if target.suffix and target.exists() and not target.is_file():
            fault = "is a folder, pipe or device"
        elif target.exists() and not os.access(target, os.W_OK):
            fault = "is read-only"
        if fault:
            raise ValueError(f"{target} {fault}; name another --output_dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to --output_dir={path}: {error.strerror}; name another one"
        ) from error
    if alone:
        if _lock(folder):
            for left in folder.glob(".gfa_jax-*/"):
                shutil.rmtree(left, ignore_errors=True)
        _warn(inputs)
    stamps = {name: _stamp(source) for name, source in inputs.items()}
    hashes = {}
    if alone:
        hashes = {name: _begin(fingerprint, source) for name, source in inputs.items()}
    options = flags.values()
    _runs[folder] = _Run(flags.program(), options, inputs, stamps, hashes, names)
    return folder


def _begin(function: Callable, *arguments: Any) -> Callable[[], Any]:
    """Calls a function meanwhile; gives what waits for its result.

    The thread ends with the program, which may end before it.
    """
    future = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future.result


@contextlib.contextmanager
def staged(folder: pathlib.Path, names: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yields a hidden folder whose files move into `folder` once all are written.

    They move in the order of `names`; those that are absent are skipped. The hidden
    folder is removed in any case.
    """
    if (old := read_report(folder)) is not None:
        mixed = differing(folder, old, quick=True)
        of_two = f"; {mixed[0]} is not of the run of its report" if mixed else ""
        cli.warn(f"the results in --output_dir={folder} will be replaced{of_two}")
    hidden = pathlib.Path(tempfile.mkdtemp(prefix=".gfa_jax-", dir=folder))
    try:
        yield hidden
        for name in names:
            if (hidden / name).exists():
                (hidden / name).replace(folder / name)
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror or error}; nothing was written"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        _unlock(folder)


def write_report(hidden: pathlib.Path, report: Mapping[str, Any]) -> None:
    """Writes report.json, once all other files of the run are in the hidden folder.

    To what the program reports it adds its name and options, the machine, and size and
    hash of every input and output.

    Raises:
        ValueError: an input changed while the program ran.
    """
    run = _runs[hidden.parent]
    inputs, files = {}, dict(report.get("outputs", {}))
    for name, source in run.inputs.items():
        if _stamp(source) != run.stamps[name]:
            raise ValueError(
                f"--{name}={source} changed while it was read; nothing was written, "
                "run it again"
            )
        inputs[name] = {"path": str(source)}
        if source.exists():
            inputs[name] |= run.hashes[name]()
    for name in run.names:
        if (hidden / name).is_file() and name not in files:
            files[name] = fingerprint(hidden / name)
    about = {"program": run.program, "options": run.options}
    about |= {"environment": environment(), "peak_memory": peak_memory()}
    whole = {**about, **report, "inputs": inputs, "outputs": files}
    datasets.write_json(hidden / "report.json", whole)


def read_report(folder: pathlib.Path) -> dict[str, Any] | None:
    """Reads report.json where a run has left one, with the hashes of its files."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        is_report = isinstance(report["outputs"] | report["inputs"], dict)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return report if is_report else None


def differing(
    folder: pathlib.Path, report: dict[str, Any], *, quick: bool = False
) -> list[str]:
    """Lists the outputs that are not the report's, or not there; see `is_other`."""
    return [
        name
        for name, stored in report["outputs"].items()
        if is_other(folder / name, stored, quick=quick)
    ]


def _lock(folder: pathlib.Path) -> bool:
    """Locks a folder until its files are there, or this process ends; tells if so."""
    _unlock(folder)
    try:
        descriptor = lock_folder(folder)
    except BlockingIOError as error:
        raise ValueError(
            f"another run is writing to --output_dir={folder}; wait for it, or name "
            "another one"
        ) from error
    if descriptor is not None:
        cli.locks[folder] = descriptor
    return descriptor is not None


def _unlock(folder: pathlib.Path) -> None:
    if folder in cli.locks:
        os.close(cli.locks.pop(folder))


def _warn(inputs: Mapping[str, pathlib.Path]) -> None:
    """Warns of inputs that are of another run than the report beside them."""
    for name, source in inputs.items():
        beside = read_report(source.parent)
        stored = beside and beside["outputs"].get(source.name)
        if stored and is_other(source, stored, quick=True):
            cli.warn(
                f"--{name}={source} is not the file of the report.json beside it: "
                "changed since, or of another run"
            )


def _stamp(path: pathlib.Path) -> Any:
    """Returns what changes where a file does, for little."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def environment() -> dict[str, Any]:
    """Describes the software and the machine."""
    device = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "gfa_jax": gfa_jax.__version__,
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "platform": platform.platform(),
        "device": f"{device.platform}: {device.device_kind}",
        "device_count": jax.device_count(),
    }


def peak_memory() -> dict[str, int]:
    """Returns the most bytes that the process, and its device, have held."""
    peak = {}
    if resource is not None:
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak["resident_bytes"] = resident * (1 if sys.platform == "darwin" else 1024)
    statistics = jax.devices()[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        peak["device_bytes"] = statistics["peak_bytes_in_use"]
    return peak


def spread(values: np.ndarray) -> dict[str, float]:
    """Sums an array up for the report."""
    return {n: float(getattr(values, n)()) for n in ("min", "mean", "max")}


def cluster_report(scores: metrics.ClusterScores) -> dict[str, Any]:
    """Turns scores into what a report stores."""
    stored: dict[str, Any] = scores._asdict()
    for name in ("pairwise", "bcubed"):
        measured = getattr(scores, name)
        stored[name] = measured._asdict() | {"f_score": measured.f_score}
    return stored


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)
