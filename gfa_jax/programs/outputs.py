"""Results that appear together or not at all, and what the report says of the run."""

import contextlib
import datetime
import importlib.metadata
import pathlib
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

import gfa_jax
from gfa_jax import metrics

_PACKAGES = (
    *("absl-py", "faiss-cpu", "faiss-gpu", "flax", "infomap", "jax", "jaxlib"),
    *("numpy", "optax", "optimistix", "scikit-learn", "scipy"),
)


def prepare_folder(path: str) -> pathlib.Path:
    """Makes the output folder and proves that it can be written, before any work."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to --output_dir={path}: {error.strerror}; name another one"
        ) from error
    return folder


@contextlib.contextmanager
def staged(folder: pathlib.Path, names: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yields a hidden folder whose files move into `folder` once all are written.

    They move in the order of `names`; those that are absent are skipped. The hidden
    folder is removed in any case.
    """
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
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = {"resident_bytes": resident * (1 if sys.platform == "darwin" else 1024)}
    statistics = jax.devices()[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        peak["device_bytes"] = statistics["peak_bytes_in_use"]
    return peak


def spread(values: np.ndarray) -> dict[str, float]:
    """Sums an array up for the report."""
    return {
        "min": float(values.min()),
        "mean": float(values.mean()),
        "max": float(values.max()),
    }


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
