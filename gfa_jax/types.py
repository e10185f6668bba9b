"""The three containers that travel through the library, and its one set of options.

The containers are NamedTuples and so pytrees: every field is a leaf that may be traced
and, where it is a float, differentiated. Static choices are `Options`.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = [
    "DEFAULT",
    "PAPER",
    "PRESETS",
    "Aggregation",
    "Neighbors",
    "Options",
    "Params",
]

T = TypeVar("T")
Array = jax.Array | np.ndarray
Scalar = jax.Array | float

Mask = Literal["hard", "soft"]
Weighting = Literal["uniform", "affinity"]
Graph = Literal["fixed", "rescore"]
MASKS: tuple[Mask, ...] = get_args(Mask)
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
GRAPHS: tuple[Graph, ...] = get_args(Graph)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The static options of an update; hashable, and refused where they are made.

    Attributes:
        mask: "hard" for the bracket [A > t], "soft" for σ((A − t)/τ).
        weighting: "affinity" weighs a survivor by max(A, 0)^exponent, "uniform" by 1.
        graph: "fixed" keeps the edges of the first step, "rescore" computes them anew
            in each, on the same candidates.
        include_self: whether a row that lists itself is its own neighbour.
        renormalize: whether rows return to unit length after each update, so that t
            keeps its meaning as a cosine.
        block_size: rows handled at once; by default as many as keep their candidates
            within about 1 MiB, on a GPU 64.
    """

    mask: Mask = "hard"
    weighting: Weighting = "affinity"
    graph: Graph = "fixed"
    include_self: bool = True
    renormalize: bool = True
    block_size: int | None = None

    def __post_init__(self):
        for name, known in (
            ("mask", MASKS),
            ("weighting", WEIGHTINGS),
            ("graph", GRAPHS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} is {value!r}; expected one of {', '.join(known)}"
                )
        if self.block_size is not None and self.block_size < 1:
            raise ValueError(f"block_size is {self.block_size}; expected at least 1")


DEFAULT = Options()
# The open points of the paper as it is printed (.docs/pages/method.md).
PAPER = Options(weighting="uniform", graph="rescore")
PRESETS: Mapping[str, Options] = MappingProxyType({"affinity": DEFAULT, "paper": PAPER})


class Params(NamedTuple):
    """The differentiable knobs of an update, numbers.

    `aggregate` on one device also takes [T] values, one an update.

    Attributes:
        gamma: [] step towards the pseudo-center, in [0, 1] (Eq. 1 and 2).
        threshold: [] cosine t that an edge must exceed, in [-1, 1] (Eq. 6).
        temperature: [] width of the soft mask in units of cosine, > 0.
        exponent: [] power of the affinity weights, >= 0.
    """

    gamma: Scalar
    threshold: Scalar
    temperature: Scalar = 0.05
    exponent: Scalar = 3.0


class Neighbors(NamedTuple):
    """K candidate neighbours of every row, the j ∈ KNN_i of Eq. 6.

    Attributes:
        indices: [N, K] int32 row numbers in [0, N), or -1 for an empty slot. Where
            the row itself is counted it sits in column 0.
        similarity: [N, K] floating cosines when they were found; -inf if empty.
    """

    indices: Array
    similarity: Array

    def first(self, k: int) -> "Neighbors":
        """Takes the nearest candidates of every row.

        Args:
            k: how many, the row itself counted where it is listed.

        Returns:
            Neighbors [N, k].
        """
        return Neighbors(self.indices[:, :k], self.similarity[:, :k])

    def is_other(self, first_row: Array | int = 0) -> Array:
        """Tells which slots list another row.

        Args:
            first_row: number of the first of these rows, where they are a part.

        Returns:
            [N, K] bool, False for the row itself and for an empty slot.
        """
        rows = np.arange(len(self.indices), dtype=np.int32)[:, None] + first_row
        return (self.indices >= 0) & (self.indices != rows)

    def drop(self, is_dropped: Array, *, first_row: Array | int = 0) -> "Neighbors":
        """Empties all slots that lead from or to some rows, but for a row's own.

        Args:
            is_dropped: [M] bool, of all rows.
            first_row: number of the first of these rows, where they are a part.

        Returns:
            Neighbors of the same shape.
        """
        is_dropped, indices = jnp.asarray(is_dropped), jnp.asarray(self.indices)
        own = is_dropped[first_row + jnp.arange(len(indices))]
        cut = self.is_other(first_row) & (own[:, None] | is_dropped[indices])
        return Neighbors(
            jnp.where(cut, -1, indices), jnp.where(cut, -jnp.inf, self.similarity)
        )


class Aggregation(NamedTuple):
    """What `aggregate` returns.

    Attributes:
        features: [N, D] floating refined features.
        residual: [T] floating root mean square over the rows of ‖F_i^t − F_i^{t−1}‖.
        degree: [N] floating number of neighbours, the row itself among them where it
            is counted, that survived the last mask (a soft one counts fractions); 0
            marks a row left as it was.
    """

    features: jax.Array
    residual: jax.Array
    degree: jax.Array


def at_step(params: Params, step: jax.Array | int) -> Params:
    """Picks the parameters of update t in [0, T), each [], where some are [T]."""
    return Params(*(p if np.ndim(p) == 0 else jnp.asarray(p)[step] for p in params))


def check_params(params: Params, *, num_steps: int | None = None) -> None:
    """Refuses parameters outside their ranges; of a traced one only the shape is known.

    Each must be a number, or where `num_steps` is given also one value for each step.
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


def check_arguments(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None = None,
    per_step: bool = False,
) -> None:
    """Refuses what no form of `aggregate` takes; `per_step` allows [T] parameters."""
    rows, slots = features.shape, neighbors.indices.shape
    if len(rows) != 2 or len(slots) != 2 or rows[0] != slots[0]:
        raise ValueError(
            f"features {rows} and neighbors.indices {slots} do not fit; expected "
            "[N, D] and [N, K]"
        )
    if 0 in (*rows, *slots):
        raise ValueError(
            f"features {rows} with neighbors.indices {slots}; expected at least one "
            "row, column and slot"
        )
    if not jnp.issubdtype(neighbors.indices.dtype, jnp.integer):
        raise ValueError(
            f"neighbors.indices are {neighbors.indices.dtype}; expected integers"
        )
    if weights is not None:
        if weights.shape != slots:
            raise ValueError(
                f"weights have shape {weights.shape}; expected {slots}, one for each "
                "of neighbors.indices"
            )
        if not jnp.issubdtype(weights.dtype, jnp.floating):
            raise ValueError(f"weights are {weights.dtype}; expected a floating dtype")
        if not isinstance(weights, Tracer) and not (lowest := weights.min()) >= 0:
            raise ValueError(f"weights go down to {lowest:g}; expected 0 or more")
    if num_steps < 0:
        raise ValueError(f"num_steps is {num_steps}; expected 0 or more")
    check_params(params, num_steps=num_steps if per_step else None)
