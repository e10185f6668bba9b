"""The state of a training run on the disk, with the configuration that it is of.

A checkpoint is written beside its final place and renamed, so that a kill at any
moment leaves the one before; orbax does that. A run goes on only from a checkpoint of
its own configuration: anything else would give other weights than asked for.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax


class Checkpoints:
    """The checkpoints of one run; the last of them is kept."""

    def __init__(self, manager: Any, configuration: Mapping[str, Any]):
        self._manager = manager
        self._configuration = dict(configuration)

    def restore(self, like: Any) -> Any | None:
        """Reads the last state as a tree like the one given, or None.

        Raises ValueError where the checkpoint is of another configuration.
        """
        from orbax import checkpoint as ocp

        step = self._manager.latest_step()
        if step is None:
            return None
        about = self._manager.restore(
            step, args=ocp.args.Composite(about=ocp.args.JsonRestore())
        )["about"]
        _check_same(about, self._configuration, self._manager.directory)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return self._manager.restore(step, args=arguments)["state"]

    def save(self, step: int, state: Any) -> None:
        """Writes the state after `step` steps; returns when it is on the disk."""
        from orbax import checkpoint as ocp

        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                about=ocp.args.JsonSave(self._configuration),
            ),
        )


@contextlib.contextmanager
def open_checkpoints(
    folder: pathlib.Path, configuration: Mapping[str, Any]
) -> Iterator[Checkpoints]:
    """Opens the folder of one run, which is made where it does not exist.

    The configuration is what the weights depend on: strings, numbers, lists and None.
    Raises ValueError where the folder cannot be written.
    """
    try:
        from orbax import checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            "checkpoints need orbax-checkpoint: pip install 'gfa_jax[train]'"
        ) from error
    try:
        manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1, enable_async_checkpointing=False
            ),
        )
    except OSError as error:
        raise ValueError(
            f"cannot write checkpoints to {folder}: {error.strerror or error}"
        ) from error
    with contextlib.closing(manager):
        yield Checkpoints(manager, configuration)


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
