"""What the learning returns."""

import math
from typing import Any, NamedTuple

import numpy as np

from gfa_jax.tuning.frames import AnyParams


class History(NamedTuple):
    """How the learning went.

    Attributes:
        loss: [S] loss of the batch of each step.
        params: [S, P] the parameters at which it was taken, annealed, in their order;
            P is 4, 5 with the pooling power, and one that is [T] takes T columns.
        validated: [V] steps made before each validation, from 0.
        score: [V] score of each validation, with the hard mask.
        start_score: [B] the same of every start.
    """

    loss: np.ndarray
    params: np.ndarray
    validated: np.ndarray
    score: np.ndarray
    start_score: np.ndarray


class TuneResult(NamedTuple):
    """What `tune` returns.

    Attributes:
        params: the parameters kept, PooledParams where the start was, floats, or
            float64 [T]: those of the best
            validation, the earliest of equal ones; without validation the last good
            ones.
        step: steps made before they were reached; 0 is the start itself.
        soft_score: score with the soft mask at `params`, of the validation (of the
            training pairs where there is none).
        hard_score: the same with the hard mask.
        history: every step.
        stopped: why it ended, one line.
        num_repeated: training pairs left out since they repeat another one.
    """

    params: AnyParams
    step: int
    soft_score: float
    hard_score: float
    history: History
    stopped: str
    num_repeated: int

    @property
    def gap(self) -> float:
        """What the hard mask loses against the soft one, in the score."""
        return self.soft_score - self.hard_score


def as_floats(params: AnyParams) -> AnyParams:
    """Takes parameters off the device: floats, and float64 [T]."""
    return type(params)(*map(_as_float, params))


def as_row(params: AnyParams) -> list[float]:
    """Lists all numbers, in their order."""
    return np.concatenate([np.ravel(np.asarray(p, float)) for p in params]).tolist()


def from_row(row: list[float], like: AnyParams) -> AnyParams:
    """Gives the numbers of `as_row` the shapes of `like`."""
    shapes = [np.shape(p) for p in like]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(np.asarray(row, float), ends[:-1])
    return type(like)(
        *(_as_float(p.reshape(s)) for p, s in zip(parts, shapes, strict=True))
    )


def _as_float(value: Any) -> Any:
    array = np.asarray(value, float)
    return array if array.ndim else float(array)
