"""The three containers that travel through the library, and its one set of options.

The containers are NamedTuples and so pytrees: every field is a leaf that may be traced
and, where it is a float, differentiated. Static choices are `Options`.
"""

import dataclasses
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, get_args

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


def check_integer(name: str, value: Any, *, least: int) -> None:
    """Refuses what is no integer, or too small a one."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(
            f"{name} is {value!r}; expected an integer, not traced"
        ) from None
    if number < least:
        raise ValueError(f"{name} is {number}; expected at least {least}")


def check_flag(name: str, value: Any) -> None:
    """Refuses what is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}; expected True or False")


def check_number(name: str, value: Any, low: float, high: float = math.inf) -> None:
    """Refuses a concrete number, or array of numbers, outside [low, high] or infinite.

    A `low` of the least positive number stands for "above 0".
    """
    if isinstance(value, Tracer):
        return
    numbers = np.asarray(value)
    real = jnp.issubdtype(numbers.dtype, jnp.floating) or numbers.dtype.kind in "iu"
    for number in numbers.reshape(-1).tolist() if real else [value]:
        if not real or not low <= number <= high or number == math.inf:
            end = "inf)" if high == math.inf else f"{high:g}]"
            expected = f"in [{low:g}, {end}"
            if low == math.ulp(0):
                expected = "above 0" if high == math.inf else f"in (0, {end}"
            shown = f"{number:g}" if real else repr(number)
            raise ValueError(f"{name} is {shown}; expected a value {expected}")


def check_mask(name: str, mask: Array, num_rows: int) -> None:
    """Refuses a mask that is not [N] bool."""
    if np.shape(mask) != (num_rows,) or jnp.result_type(mask) != np.bool_:
        raise ValueError(
            f"{name} has shape {np.shape(mask)} and dtype {jnp.result_type(mask)}; "
            f"expected ({num_rows},) bool"
        )


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
        for name in ("include_self", "renormalize"):
            check_flag(name, getattr(self, name))
        if self.block_size is not None:
            check_integer("block_size", self.block_size, least=1)


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
        check_mask("is_dropped", is_dropped, len(is_dropped))
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


def track(progress: Callable | None, items: Collection[T], *, desc: str) -> Iterable[T]:
    """Wraps a loop as tqdm does, `progress(items, total=, desc=)`, or not at all."""
    return items if progress is None else progress(items, total=len(items), desc=desc)
