"""An unfinished `tune` in one file, with the hash of everything that decides its bits.

The file is replaced whole, so that a kill at any moment leaves the one before. Another
problem's file is refused, not mixed in and not overwritten.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import datasets
from gfa_jax.tuning.objective import TuneState


@dataclasses.dataclass
class TuningCheckpoint:
    """Where a run stands, before its next step.

    Attributes:
        state: θ and the optimizer's state.
        impostor: [M, 2] impostor pairs that are learnt from now.
        path: the parameters before each step so far and now, as rows of numbers.
        losses: of the steps so far.
        validations: (steps made, score) of each validation so far.
        start_scores: of the starts.
    """

    state: TuneState
    impostor: np.ndarray
    path: list[list[float]]
    losses: list[float] = dataclasses.field(default_factory=list)
    validations: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    start_scores: list[float] = dataclasses.field(default_factory=list)

    @property
    def step(self) -> int:
        """Steps made."""
        return len(self.losses)

    def best(self, min_gain: float = 0.0) -> tuple[int, float]:
        """Finds the best validation: its step and its score.

        Args:
            min_gain: what a later one must add to be better.

        Returns:
            The step and the score; of equal ones the earliest.
        """
        best = self.validations[0]
        for entry in self.validations:
            if entry[1] > best[1] + min_gain:
                best = entry
        return best


def save(path: str | os.PathLike[str], key: str, checkpoint: TuningCheckpoint) -> None:
    """Writes where the run with the hash `key` stands."""
    leaves = jax.tree.leaves(checkpoint.state)
    arrays = {f"state_{n}": np.asarray(leaf) for n, leaf in enumerate(leaves)}
    for name in _LISTS:
        arrays[name] = np.asarray(getattr(checkpoint, name))
    datasets.write_arrays(path, arrays | {"key": np.array(key)})


def restore(
    path: str | os.PathLike[str], key: str, like: TuneState
) -> TuningCheckpoint | None:
    """Reads where the run with the hash `key` stands.

    Args:
        path: the file.
        key: of `hash_of`.
        like: a state of the same structure.

    Returns:
        The checkpoint, or None where nothing was saved yet.

    Raises:
        ValueError: the file cannot be read, or is of other inputs or options.
    """
    if not pathlib.Path(path).exists():
        return None
    if str(datasets.read_array(path, key="key")) != key:
        raise ValueError(
            f"{path} is of other inputs, options or versions; name another checkpoint, "
            "or remove this one to begin anew"
        )
    leaves, structure = jax.tree.flatten(like)
    state = [
        jnp.asarray(datasets.read_array(path, key=f"state_{n}"))
        for n in range(len(leaves))
    ]
    lists = {name: datasets.read_array(path, key=name) for name in _LISTS}
    return TuningCheckpoint(
        jax.tree.unflatten(structure, state),
        lists["impostor"],
        lists["path"].tolist(),
        lists["losses"].tolist(),
        [(int(step), score) for step, score in lists["validations"].tolist()],
        lists["start_scores"].tolist(),
    )


def hash_of(arrays: Iterable[Any], options: Iterable[Any]) -> str:
    """Hashes the arrays and the JSON values that decide a bit of the result."""
    digest = hashlib.sha256()
    shapes = []
    for array in arrays:
        values = np.ascontiguousarray(np.asarray(array))
        shapes.append([list(values.shape), str(values.dtype)])
        digest.update(values.reshape(-1).view(np.uint8).data)
    device = jax.devices()[0].device_kind
    environment = [jax.__version__, device, jax.config.read("jax_enable_x64")]
    digest.update(json.dumps([shapes, *options, environment]).encode())
    return digest.hexdigest()


_LISTS = ("impostor", "path", "losses", "validations", "start_scores")
