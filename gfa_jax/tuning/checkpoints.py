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
    """Where a run stands, before its next step."""

    state: TuneState
    impostor: np.ndarray  # [M, 2] impostor pairs that are learnt from now
    path: list[list[float]]  # parameters before each step so far and now, as rows
    losses: list[float] = dataclasses.field(default_factory=list)
    # (steps made, score) of each validation so far.
    validations: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    start_scores: list[float] = dataclasses.field(default_factory=list)

    @property
    def step(self) -> int:
        """Steps made."""
        return len(self.losses)

    def best(self, min_gain: float = 0.0) -> tuple[int, float]:
        """Finds the step and the score of the best validation, the earliest of equals.

        A later one must add more than `min_gain` to be better.
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
    """Reads where the run with the hash `key` stands; None where nothing was saved.

    The state is of the structure of `like`. A file of other inputs or options is a
    ValueError.
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
