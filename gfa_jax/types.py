"""The three containers that travel through the library, and its one set of options.

The containers are NamedTuples, so JAX sees them as pytrees: every field is a leaf that
may be traced, batched, sharded and, where it is a float, differentiated. Nothing
static hides inside; static choices are `Options`.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeVar, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

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

    `dataclasses.replace(gfa_jax.PAPER, mask="soft")` changes some of them.

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

    Raises:
        ValueError: what was got, what was expected.
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
# The open points of the paper as it is printed (.docs/method.md).
PAPER = Options(weighting="uniform", graph="rescore")
PRESETS: Mapping[str, Options] = MappingProxyType({"affinity": DEFAULT, "paper": PAPER})


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

    def first(self, k: int) -> "Neighbors":
        """Takes the first k candidates of every row, the nearest of a search."""
        return Neighbors(self.indices[:, :k], self.similarity[:, :k])

    def is_other(self, first_row: Array | int = 0) -> Array:
        """Tells which slots list another row: neither an empty one nor the row itself.

        Args:
            first_row: number of the first of these rows, where they are a part.

        Returns:
            [N, K] bool.
        """
        rows = np.arange(len(self.indices), dtype=np.int32)[:, None] + first_row
        return (self.indices >= 0) & (self.indices != rows)

    def drop(self, is_dropped: Array, *, first_row: Array | int = 0) -> "Neighbors":
        """Empties the lists of some rows, and their slots in all other lists.

        Args:
            is_dropped: [M] bool, of all rows, those that stay where they are.
            first_row: number of the first of these rows, where they are a part.

        Returns:
            Neighbors [N, K] in which no edge leads to or from such a row; a slot in
            which a row lists itself stays.
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


def check_arguments(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None = None,
    per_step: bool = False,
) -> None:
    """Refuses what no form of `aggregate` takes; its arguments are given there.

    Args:
        features: [N, D].
        neighbors: [N, K].
        params: see `check_params`.
        num_steps: >= 0.
        weights: [N, K] floating, >= 0 where they are known.
        per_step: whether a parameter may be [T].

    Raises:
        ValueError: what was got, what was expected.
    """
    _check_shapes(features, neighbors)
    if weights is not None:
        _check_weights(weights, neighbors)
    if num_steps < 0:
        raise ValueError(f"num_steps is {num_steps}; expected 0 or more")
    check_params(params, num_steps=num_steps if per_step else None)


def _check_shapes(features: Array, neighbors: Neighbors) -> None:
    try:
        chex.assert_rank([features, neighbors.indices], 2)
        chex.assert_equal_shape_prefix([features, neighbors.indices], 1)
    except AssertionError as error:
        raise ValueError(
            f"features {features.shape} and neighbors.indices "
            f"{neighbors.indices.shape} do not fit; expected [N, D] and [N, K]"
        ) from error
    if 0 in (*features.shape, *neighbors.indices.shape):
        raise ValueError(
            f"features {features.shape} with neighbors.indices "
            f"{neighbors.indices.shape}; expected at least one row, column and slot"
        )
    if not jnp.issubdtype(neighbors.indices.dtype, jnp.integer):
        raise ValueError(
            f"neighbors.indices are {neighbors.indices.dtype}; expected integers"
        )


def _check_weights(weights: Array, neighbors: Neighbors) -> None:
    if weights.shape != neighbors.indices.shape:
        raise ValueError(
            f"weights have shape {weights.shape}; expected {neighbors.indices.shape}, "
            "one for each of neighbors.indices"
        )
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        raise ValueError(f"weights are {weights.dtype}; expected a floating dtype")
    if not isinstance(weights, Tracer) and not (lowest := weights.min()) >= 0:
        raise ValueError(f"weights go down to {lowest:g}; expected 0 or more")
