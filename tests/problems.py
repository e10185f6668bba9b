"""Random problems that the tests of the core share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from gfa_jax import Neighbors, Options
from tests.conftest import X64

# Agreement with the float64 oracle. In float64 only the order of the sums differs;
# in float32 the issue is rounding, 2⁻²⁴ a product, amplified by a few divisions.
TOLERANCE = 1e-10 if X64 else 1e-5


def clustered_features(
    rng: np.random.Generator, *, num_rows: int, dim: int, noise: float = 0.6
) -> np.ndarray:
    """Unit rows around a few centers, so that a threshold cuts some edges only."""
    num_centers = max(2, num_rows // 5)
    centers = rng.standard_normal((num_centers, dim))
    rows = centers[rng.integers(num_centers, size=num_rows)]
    rows = rows + noise * rng.standard_normal((num_rows, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float64 if X64 else np.float32)


def quantised_features(
    rng: np.random.Generator, *, num_rows: int, dim: int
) -> np.ndarray:
    """Unit rows and rows of zeros in halves: products are exact, and many tie."""
    rows = np.zeros((num_rows, dim), np.float32)
    for row in rows:
        nonzero = rng.choice([0, 1, 4 if dim >= 4 else 1], p=[0.1, 0.4, 0.5])
        places = rng.choice(dim, nonzero, replace=False)
        row[places] = rng.choice([-1, 1], nonzero) / max(1, np.sqrt(nonzero))
    return rows


def as_neighbors(indices: npt.ArrayLike) -> Neighbors:
    """Wraps candidate indices alone; `aggregate` reads nothing else."""
    indices = np.asarray(indices)
    return Neighbors(jnp.asarray(indices, jnp.int32), jnp.zeros(indices.shape))


def gathered(arguments: dict[str, Any]) -> dict[str, Any]:
    """Gathers those of `Options` into one, which the oracle takes one by one."""
    names = {field.name for field in dataclasses.fields(Options)} & arguments.keys()
    options = Options(**{name: arguments[name] for name in names})
    rest = {k: v for k, v in arguments.items() if k not in names}
    return {"options": options, **rest}


def recorded() -> tuple[list[tuple[int, str]], Callable]:
    """A list, and a progress that adds to it what it goes around: (total, desc)."""
    calls = []

    def progress(iterable, *, total, desc):
        calls.append((total, desc))
        return iterable

    return calls, progress


class StoppedError(Exception):
    """What a user does who presses Ctrl-C, or a kill."""


def interrupt_after(steps: int, stage: str | None = None) -> Callable:
    """A progress that is interrupted before the given step, of a stage or of any."""

    def progress(iterable, *, total, desc):
        for number, item in enumerate(iterable):
            if number == steps and stage in (None, desc):
                raise StoppedError
            yield item

    return progress


def refused(message: str, function: Callable, *arguments: Any, **options: Any) -> str:
    """Calls a function that refuses what it is given, in one line: what it says."""
    with pytest.raises(ValueError, match=message) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)
