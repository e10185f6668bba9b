"""An unfinished `tune` in one file, with the hash of everything that decides its bits.

The file is replaced whole, so that a kill at any moment leaves the one before. Another
problem's file is refused, not mixed in and not overwritten.
"""

import dataclasses
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.datasets import resumable
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
    arrays |= {name: np.asarray(getattr(checkpoint, name)) for name in _LISTS}
    _open(path, key).save(pathlib.Path(path).stem, arrays)


def restore(
    path: str | os.PathLike[str], key: str, like: TuneState
) -> TuningCheckpoint | None:
    """Reads where the run with the hash `key` stands.

    Args:
        path: the file.
        key: of `resumable.content_hash`.
        like: a state of the same structure.

    Returns:
        The checkpoint, or None where nothing was saved yet.

    Raises:
        ValueError: the file cannot be read, or is of other inputs or options.
    """
    leaves, structure = jax.tree.flatten(like)
    names = [f"state_{n}" for n in range(len(leaves))]
    stored = _open(path, key).load(pathlib.Path(path).stem, (*names, *_LISTS))
    if stored is None:
        return None
    state = [jnp.asarray(leaf) for leaf in stored[: len(leaves)]]
    lists = dict(zip(_LISTS, stored[len(leaves) :], strict=True))
    return TuningCheckpoint(
        jax.tree.unflatten(structure, state),
        lists["impostor"],
        lists["path"].tolist(),
        lists["losses"].tolist(),
        [(int(step), score) for step, score in lists["validations"].tolist()],
        lists["start_scores"].tolist(),
    )


def _open(path: str | os.PathLike[str], key: str) -> resumable.Store:
    return resumable.Store(pathlib.Path(path).parent, key)


_LISTS = ("impostor", "path", "losses", "validations", "start_scores")
