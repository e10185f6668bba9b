"""An unfinished `tune` on disk, with the hash of everything that decides its bits.

A checkpoint is written beside its final place and renamed, so that a kill at any moment
leaves the one before; orbax does that. Arrays go into it as arrays, the history as
JSON, which keeps every bit of a float. Another problem's checkpoint is refused, not
mixed in and not overwritten.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from gfa_jax.tuning.objective import TuneState

# Of the file and of the loop; another one makes old checkpoints other.
_LAYOUT = 1


@dataclasses.dataclass
class Course:
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


class Checkpoints:
    """The checkpoints of one run; the last of them is kept."""

    def __init__(self, manager: Any, key: str):
        """Keeps the course of the run whose hash is `key`."""
        self._manager = manager
        self._key = key

    def restore(self, like: TuneState) -> Course | None:
        """Reads where the run stands.

        Args:
            like: a state of the same structure and dtypes.

        Returns:
            The course, or None where nothing was saved yet.

        Raises:
            ValueError: the checkpoint is of other inputs or options.
        """
        from orbax import checkpoint as ocp

        step = self._manager.latest_step()
        if step is None:
            return None
        about = self._manager.restore(
            step, args=ocp.args.Composite(about=ocp.args.JsonRestore())
        )["about"]
        if about["key"] != self._key:
            raise ValueError(
                f"{self._manager.directory} is of other inputs, options or versions; "
                "name another checkpoint folder, or remove this one to begin anew"
            )
        shape = tuple(about.pop("impostor"))
        abstract = jax.tree.map(
            ocp.utils.to_shape_dtype_struct, _arrays(like, np.zeros(shape, np.int32))
        )
        arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(abstract))
        arrays = self._manager.restore(step, args=arguments)["arrays"]
        leaves, structure = jax.tree.flatten(like)
        restored = [arrays["state"][str(n)] for n in range(len(leaves))]
        return Course(
            jax.tree.unflatten(structure, restored),
            np.asarray(arrays["impostor"]),
            about["path"],
            about["losses"],
            [(int(at), score) for at, score in about["validations"]],
            about["start_scores"],
        )

    def save(self, course: Course) -> None:
        """Writes where the run stands; returns when it is on the disk."""
        from orbax import checkpoint as ocp

        about = {
            "key": self._key,
            "impostor": list(course.impostor.shape),
            "path": course.path,
            "losses": course.losses,
            "validations": course.validations,
            "start_scores": course.start_scores,
        }
        self._manager.save(
            course.step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(_arrays(course.state, course.impostor)),
                about=ocp.args.JsonSave(about),
            ),
        )


@contextlib.contextmanager
def open_checkpoints(
    folder: str | os.PathLike[str], arrays: Iterable[Any], options: Iterable[Any]
) -> Iterator[Checkpoints]:
    """Opens the checkpoint folder of a run, and makes it if it is missing.

    Args:
        folder: its path, in a folder that exists, of this run alone.
        arrays: that decide a bit of the result, or None; each is hashed.
        options: JSON values that decide one.

    Yields:
        Its checkpoints.

    Raises:
        ValueError: the folder cannot be made.
        ImportError: orbax is not installed.
    """
    try:
        from orbax import checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            "checkpoint= needs orbax-checkpoint: pip install 'gfa_jax[train]'"
        ) from error
    path = pathlib.Path(folder).resolve()
    try:
        path.mkdir(exist_ok=True)
        manager = ocp.CheckpointManager(
            path,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1, enable_async_checkpointing=False
            ),
        )
    except OSError as error:
        raise ValueError(
            f"cannot make the checkpoint folder {folder}: {error.strerror or error}"
        ) from error
    with contextlib.closing(manager):
        yield Checkpoints(manager, _hash(arrays, options))


def _arrays(state: TuneState, impostor: np.ndarray) -> dict[str, Any]:
    """Lays the arrays out by name: an optimizer's state may be of any structure."""
    leaves = {str(n): leaf for n, leaf in enumerate(jax.tree.leaves(state))}
    return {"state": leaves, "impostor": impostor}


def _hash(arrays: Iterable[Any], options: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    shapes = []
    for array in arrays:
        values = np.ascontiguousarray(np.asarray([] if array is None else array))
        shapes.append([list(values.shape), str(values.dtype)])
        digest.update(values.reshape(-1).view(np.uint8).data)
    device = jax.devices()[0].device_kind
    environment = [jax.__version__, device, jax.config.read("jax_enable_x64")]
    digest.update(json.dumps([_LAYOUT, shapes, *options, environment]).encode())
    return digest.hexdigest()
