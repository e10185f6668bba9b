"""The state of a training run on the disk, with the configuration that it is of.

A run goes on only from a checkpoint of its own configuration: whatever else would give
weights that nobody asked for.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from gfa_jax.datasets import resumable


class Checkpoints:
    """The checkpoints of one run; the last of them is kept."""

    def __init__(self, steps: resumable.Steps, configuration: Mapping[str, Any]):
        self._steps = steps
        self._configuration = dict(configuration)

    def restore(self, like: Any) -> Any | None:
        """Reads the last state.

        Args:
            like: a tree of arrays of the shapes and dtypes to expect.

        Returns:
            The tree, or None where nothing was saved yet.

        Raises:
            ValueError: the checkpoint is of another configuration.
        """
        about = self._steps.about()
        if about is None:
            return None
        _check_same(about, self._configuration, self._steps.folder)
        return self._steps.restore(like)

    def save(self, step: int, state: Any) -> None:
        """Writes the state after `step` steps; returns when it is on the disk."""
        self._steps.save(step, state, self._configuration)


@contextlib.contextmanager
def open_checkpoints(
    folder: pathlib.Path, configuration: Mapping[str, Any]
) -> Iterator[Checkpoints]:
    """Opens the folder of a run, which is made where it does not exist.

    Args:
        folder: of this run alone.
        configuration: what the weights depend on: strings, numbers, lists and None.

    Yields:
        Its checkpoints.

    Raises:
        ValueError: the folder cannot be written.
    """
    with resumable.open_steps(folder) as steps:
        yield Checkpoints(steps, configuration)


def _check_same(
    stored: Mapping[str, Any], asked: Mapping[str, Any], folder: Any
) -> None:
    """Refuses a checkpoint of another configuration, and names what differs."""
    names = sorted(set(stored) | set(asked))
    different = [
        f"{name} is {stored.get(name)!r} there and {asked.get(name)!r} here"
        for name in names
        if stored.get(name) != asked.get(name)
    ]
    if different:
        raise ValueError(
            f"the checkpoint in {folder} is of another configuration: "
            f"{'; '.join(different)}; name another --checkpoint_dir, or give the same "
            "options to go on"
        )
