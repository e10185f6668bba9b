"""What a job is, as a hash, and the stages that it has finished.

A stage leaves one file a process, with the hash of all that the stage depends on: the
inputs, the options, the versions, the layout. It is used again only where the hash is
the same and every process has its file.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gfa_jax import datasets, sharding
from gfa_jax.datasets import resumable
from gfa_jax.datasets.fingerprints import fingerprint
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
        self,
        stage: str,
        key: str,
        fields: Sequence[str],
        compute: Callable[[], dict[str, np.ndarray]],
    ) -> dict[str, np.ndarray]:
        """Reads what a stage left where every process can, otherwise computes it.

        The key is the hash of all that the stage depends on; `compute` gives the arrays
        of this process, and is a collective of all processes.
        """
        store, stored = resumable.Store(self._folder, key), None
        name = _name(stage, jax.process_index())
        try:
            stored = store.load(name, fields)
        except ValueError as error:
            reason, _, _ = str(error).partition(";")
            cli.warn(f"{reason}; the stage is run again")
        if all(sharding.gather_bytes(b"1" if stored else b"")):
            if processes.is_first():
                print(f"stage {stage} was finished before: not run again")
            assert stored is not None  # this process said so too
            return dict(zip(fields, stored, strict=True))
        arrays = compute()
        with processes.together():
            self._folder.mkdir(exist_ok=True)
            store.save(name, arrays)
        return arrays

    def read_all(self, stage: str, field: str) -> np.ndarray:
        """Joins one array of a finished stage of all processes: [N, ...]."""
        names = [_name(stage, number) for number in range(jax.process_count())]
        paths = [self._folder / f"{name}.npz" for name in names]
        return np.concatenate([datasets.read_array(path, key=field) for path in paths])


def _name(stage: str, number: int) -> str:
    return f"{stage}-{number:05d}-of-{jax.process_count():05d}"


def facts(source: inputs.Source) -> dict[str, Any]:
    """Gathers what must be the same in all processes, by what a person calls it.

    It is the flags, the versions, and hashes of the inputs: of a few rows of `source`.
    """
    environment = outputs.environment()
    found = {
        f"--{name}": value
        for name, value in flags.values().items()
        if name not in _OWN_FLAGS
    }
    for name in ("labels", "pairs", "candidates"):
        if getattr(FLAGS, name) is not None:
            content = fingerprint(pathlib.Path(getattr(FLAGS, name)))
            found[f"the content of --{name}"] = content["sha256"]
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


def job_hash(
    found: dict[str, Any], contents: Sequence[str], *, num_devices: int
) -> str:
    """Hashes the inputs, the versions and the layout, the same in every process.

    Of `facts` flags and what serves the figures alone do not count; `contents` are the
    hashes of all rows, in parts, `num_devices` the number of all devices.
    """
    kept = {name: value for name, value in found.items() if not name.startswith("--")}
    for name in ("labels", "pairs"):
        kept.pop(f"the content of --{name}", None)
    return resumable.extend("", [kept, list(contents), num_devices])
