"""What a job is, as a hash, and the stages that it has finished.

A stage leaves one file a process, with the hash of all that the stage depends on: the
inputs, the options, the versions, the layout. It is used again only where the hash is
the same and every process has its file.
"""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gfa_jax import datasets, sharding
from gfa_jax.datasets import resumable
from gfa_jax.programs import cli, flags, inputs, outputs, processes

FLAGS = flags.FLAGS

_SAMPLED_ROWS = 256
# Flags that say where a process is, not what the job is.
_OWN_FLAGS = ("process_id", "coordinator")


class Checkpoints:
    """The finished stages of this process, one `.npz` each."""

    def __init__(self, folder: pathlib.Path):
        """Keeps them in `folder`, which need not exist."""
        self._folder = folder

    def run(
        self, stage: str, key: str, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Reads what a stage left where every process can, otherwise computes it.

        Args:
            stage: its name.
            key: hash of all that the stage depends on.
            compute: gives the arrays; a collective of all processes.

        Returns:
            The arrays of this process.
        """
        path = self._path(stage, jax.process_index())
        stored = self._read(path, key)
        if all(sharding.gather_bytes(b"1" if stored else b"")):
            if processes.is_first():
                print(f"stage {stage} was finished before: not run again")
            assert stored is not None  # this process said so too
            return stored
        arrays = compute()
        with processes.together():
            self._folder.mkdir(exist_ok=True)
            datasets.write_arrays(
                path,
                arrays | {"key": np.array(key), "names": np.array(sorted(arrays))},
            )
        return arrays

    def read_all(self, stage: str, name: str) -> np.ndarray:
        """Joins one array of a finished stage of all processes: [N, ...]."""
        paths = [self._path(stage, n) for n in range(jax.process_count())]
        return np.concatenate([datasets.read_array(path, key=name) for path in paths])

    def _path(self, stage: str, number: int) -> pathlib.Path:
        count = jax.process_count()
        return self._folder / f"{stage}-{number:05d}-of-{count:05d}.npz"

    def _read(self, path: pathlib.Path, key: str) -> dict[str, np.ndarray] | None:
        if not path.exists():
            return None
        try:
            if str(datasets.read_array(path, key="key")) != key:
                cli.warn(f"{path} is of other inputs or options; it is not used")
                return None
            names = datasets.read_array(path, key="names").tolist()
            return {name: datasets.read_array(path, key=name) for name in names}
        except ValueError as error:
            cli.warn(f"{error}; the stage is run again")
            return None


def facts(source: inputs.Source) -> dict[str, Any]:
    """Gathers what must be the same in all processes.

    Args:
        source: the features, of which a few rows are read.

    Returns:
        The flags, the versions and hashes of the inputs, by the name that a person
        knows each by.
    """
    environment = outputs.environment()
    found = {
        f"--{name}": value
        for name, value in flags.values().items()
        if name not in _OWN_FLAGS
    }
    for name in ("labels", "pairs", "candidates"):
        if getattr(FLAGS, name) is not None:
            with pathlib.Path(getattr(FLAGS, name)).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[f"the content of --{name}"] = digest
    found["the content of --features"] = _sample(source)
    for name, version in environment["packages"].items():
        found[f"the version of {name}"] = version
    for name in ("gfa_jax", "python"):
        found[f"the version of {name}"] = environment[name]
    return found | {
        "the device": environment["device"],
        "jax_enable_x64": jax.config.read("jax_enable_x64"),
    }


def _sample(source: inputs.Source) -> str:
    """Hashes the shape and some rows, or what the manifest says."""
    stored = source.stored
    if isinstance(stored, datasets.Shards):
        return resumable.extend("", [part._asdict() for part in stored.parts])
    rows = np.linspace(0, len(stored) - 1, min(len(stored), _SAMPLED_ROWS)).astype(int)
    return resumable.content_hash([stored[rows]], [len(stored)])


def job_hash(found: dict[str, Any], content: str, *, num_devices: int) -> str:
    """Hashes the inputs, the versions and the layout, the same in every process.

    Args:
        found: of `facts`; flags and what serves the figures alone do not count.
        content: hash of the rows of this process.
        num_devices: of all processes.

    Returns:
        The hash that stages are built on with `extend`.
    """
    contents = sharding.gather_bytes(content.encode())
    kept = {name: value for name, value in found.items() if not name.startswith("--")}
    for name in ("labels", "pairs"):
        kept.pop(f"the content of --{name}", None)
    return resumable.extend(
        "", [kept, [text.decode() for text in contents], num_devices]
    )
