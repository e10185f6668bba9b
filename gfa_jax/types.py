"""The three containers that travel through the library, a shape on every field.

They are NamedTuples, so JAX sees them as pytrees: every field is a leaf that may
be traced, batched, sharded and, where it is a float, differentiated. Nothing
static hides inside; static choices are keyword options of the functions.
"""

import math
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

T = TypeVar("T")
Array = jax.Array | np.ndarray
Scalar = jax.Array | float


class Params(NamedTuple):
    """The differentiable knobs of one update.

    `aggregate` on one device also takes [T] values, one an update: `at_step` picks
    those of a step. Everything else takes numbers.

    Attributes:
        gamma: [] step towards the pseudo-center, in [0, 1] (Eq. 1 and 2).
        threshold: [] cosine t that an edge must exceed, in [-1, 1] (Eq. 6).
        temperature: [] width of the soft mask in units of cosine, > 0. Not used by
            the hard mask.
        exponent: [] power of the affinity weights, >= 0. Not used by the uniform
            weights.
    """

    gamma: Scalar
    threshold: Scalar
    temperature: Scalar = 0.05
    exponent: Scalar = 3.0


class Neighbors(NamedTuple):
    """K candidate neighbours of every row, the j ∈ KNN_i of Eq. 6.

    Attributes:
        indices: [N, K] int32 row numbers in [0, N), or -1 for an empty slot. Where
            the row itself is counted among its K neighbours it sits in column 0.
        similarity: [N, K] floating cosines of the candidates when they were found;
            an empty slot holds -inf.
    """

    indices: Array
    similarity: Array


class Aggregation(NamedTuple):
    """What `aggregate` returns.

    Attributes:
        features: [N, D] floating refined features.
        residual: [T] floating root mean square over the rows of
            ‖F_i^t − F_i^{t−1}‖, one a step: how far the rows still move.
        degree: [N] floating number of neighbours that survived the mask in the
            last step, the row itself among them where it is counted (a soft mask
            counts fractions); 0 marks a row left as it was.
    """

    features: jax.Array
    residual: jax.Array
    degree: jax.Array


def at_step(params: Params, step: jax.Array | int) -> Params:
    """Picks the parameters of one update.

    Args:
        params: each [], or [T] with one value an update.
        step: [] integer t in [0, T).

    Returns:
        Params, each [].
    """
    return Params(*(p if np.ndim(p) == 0 else jnp.asarray(p)[step] for p in params))


def check_params(params: Params, *, num_steps: int | None = None) -> None:
    """Refuses parameters outside their ranges; of a traced one only the shape is known.

    Args:
        params: gamma in [0, 1], threshold in [-1, 1], temperature > 0, exponent >= 0.
        num_steps: T, where each may also be [T], one value an update; by default each
            must be a number.

    Raises:
        ValueError: what was got, what was expected.
    """
    for name, value, low, high in (
        ("gamma", params.gamma, 0.0, 1.0),
        ("threshold", params.threshold, -1.0, 1.0),
        ("temperature", params.temperature, math.ulp(0.0), math.inf),
        ("exponent", params.exponent, 0.0, math.inf),
    ):
        shape = np.shape(value)
        if shape and (num_steps is None or shape != (num_steps,)):
            many = "" if num_steps is None else f", or {num_steps} of them, one a step"
            raise ValueError(
                f"{name} has shape {shape}; expected a number{many}: only `aggregate` "
                "on one device takes a value for each step"
            )
        if isinstance(value, Tracer):
            continue
        for number in np.asarray(value, float).reshape(-1).tolist():
            if not (low <= number <= high):
                expected = (
                    "above 0" if name == "temperature" else f"in [{low:g}, {high:g}]"
                )
                raise ValueError(f"{name} is {number:g}; expected a value {expected}")


def track(progress: Callable | None, items: Collection[T], *, desc: str) -> Iterable[T]:
    """Wraps a loop as tqdm does, `progress(items, total=, desc=)`, or not at all."""
    return items if progress is None else progress(items, total=len(items), desc=desc)
