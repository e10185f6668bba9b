"""How a network is trained: its options, its rate and margin by step, its batches.

    η = rate · min(1, (step + 1) / warm-up) · 0.1^(decays that have passed)
    m and s rise from 0 and s / 4 over the first steps, then stay

Everything is a function of (seed, step), so that a run that goes on after a kill needs
no more than the number of its step. Source: the paper, section 4.5 (rate .1, scaled by
.1 at fixed steps).
"""

import functools
from typing import NamedTuple

import numpy as np

from experiments.training.heads import Head
from experiments.training.networks import NetworkName

# What reaches a step as a number.
_SCHEDULED = ("learning_rate", "decay_at", "warmup", "ripen", "scale", "margin")


class Recipe(NamedTuple):
    """What a network is and how it is trained; hashable."""

    network: NetworkName = "residual"  # which block
    widths: tuple[int, ...] = (16, 32, 64)  # channels of the stages
    depth: int = 1  # blocks of a stage
    embedding_dim: int = 64  # D
    head: Head = "arcface"  # which margin
    scale: float = 64.0  # s of the head
    margin: float = 0.5  # m of the head
    batch_size: int = 64  # images of a step
    learning_rate: float = 0.1  # η at the start, after the warm-up
    weight_decay: float = 5e-4  # λ
    # Shares of the steps after which the rate is a tenth of it was.
    decay_at: tuple[float, ...] = (0.5, 0.8)
    warmup: float = 0.05  # share of the steps over which the rate rises from 0
    # Share of the steps over which the margin rises from 0 to m, and the scale from s /
    # 4 to s. A small network that starts under the whole margin learns next to nothing
    # (TPR .001 against .29 at 1e-4 on the generated heads).
    ripen: float = 0.8
    flip: bool = False  # whether half of the images are mirrored
    max_shift: int = 1  # most pixels of a shift
    brightness: float = 0.1  # see `augmentation.augment`
    balance: bool = False  # whether every class weighs the same, whatever its images


class Schedule(NamedTuple):
    """What changes from step to step."""

    rate: float  # η
    scale: float  # s of the head
    margin: float  # m of the head


def schedule(step: int, recipe: Recipe, *, num_steps: int) -> Schedule:
    """Says how step number `step`, from 0, of `num_steps` is trained."""
    done = step / num_steps
    ripe = min(1.0, done / recipe.ripen) if recipe.ripen else 1.0
    rise = min(1.0, (step + 1) / max(1, round(recipe.warmup * num_steps)))
    fall = 0.1 ** sum(done >= share for share in recipe.decay_at)
    return Schedule(
        recipe.learning_rate * rise * fall,
        recipe.scale * (0.25 + 0.75 * ripe),
        recipe.margin * ripe,
    )


def of_program(recipe: Recipe) -> Recipe:
    """Drops what reaches the step as numbers, so that it needs no compiling."""
    default = Recipe()
    return recipe._replace(
        **{name: getattr(default, name) for name in (*_SCHEDULED, "batch_size")}
    )


class Batches:
    """Rows of batch number `step`, by one permutation an epoch from (seed, epoch)."""

    def __init__(self, num_rows: int, batch_size: int, seed: int):
        self._num_rows, self._batch_size, self._seed = num_rows, batch_size, seed
        self._permutation = functools.lru_cache(maxsize=2)(self._permute)

    def __call__(self, step: int) -> np.ndarray:
        """Returns the rows of a batch: [B] int64."""
        places = step * self._batch_size + np.arange(self._batch_size)
        epochs, places = np.divmod(places, self._num_rows)
        rows = np.empty(self._batch_size, np.int64)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            rows[inside] = self._permutation(int(epoch))[places[inside]]
        return rows

    def _permute(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(self._num_rows)
