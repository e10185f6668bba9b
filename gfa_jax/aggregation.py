"""Eq. 2 iterated, F_i^t = F_i^{t−1} + γ (C*_i^{t−1} − F_i^{t−1}): T updates in a scan.

`update` (row_update.py) is the whole mathematics; here it is checked and scanned. The
scan is the same on one device and on many.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypedDict, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from gfa_jax import numerics
from gfa_jax.affinity import MASKS, WEIGHTINGS, Edges, Mask, Weighting
from gfa_jax.neighbor_products import ReverseNeighbors, reverse_neighbors
from gfa_jax.row_update import score, update
from gfa_jax.types import (
    Aggregation,
    Array,
    Neighbors,
    Params,
    at_step,
    check_params,
)

Graph = Literal["fixed", "remask", "rescore"]
GRAPHS: tuple[Graph, ...] = get_args(Graph)

# The two readings of the paper's open points (protocols, in the README): the
# defaults of `aggregate`, and the paper taken by its letter.
SAFE: Mapping[str, Any] = MappingProxyType({"weighting": "affinity", "graph": "fixed"})
PAPER: Mapping[str, Any] = MappingProxyType(
    {"weighting": "uniform", "graph": "rescore"}
)
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"safe": SAFE, "paper": PAPER}
)


class Choices(NamedTuple):
    """The static options of `aggregate`, which explains them, with its defaults."""

    mask: Mask = "hard"
    weighting: Weighting = "affinity"
    graph: Graph = "fixed"
    include_self: bool = True
    renormalize: bool = True
    block_size: int | None = None

    @property
    def scoring(self) -> dict[str, Any]:
        """What `row_update` asks for to score edges."""
        names = ("mask", "weighting", "include_self", "block_size")
        return {name: getattr(self, name) for name in names}


class Options(TypedDict, total=False):
    """`Choices` as keywords, for the functions that hand them on."""

    mask: Mask
    weighting: Weighting
    graph: Graph
    include_self: bool
    renormalize: bool
    block_size: int | None


def aggregate(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None = None,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
    graph: Graph = "fixed",
    include_self: bool = True,
    renormalize: bool = True,
    reverse: ReverseNeighbors | None = None,
    block_size: int | None = None,
    progress: Callable | None = None,
) -> Aggregation:
    """Pulls every feature towards the mean of its surviving neighbours, T times.

    F_i^t = F_i^{t−1} + γ (C*_i^{t−1} − F_i^{t−1})          (paper, Eq. 2)
    C*_i = Σ_j w_ij F_j / Σ_j w_ij,  w_ij > 0 only where
    [A_ij > t][j ∈ KNN_i],  A = F Fᵀ                        (Eq. 6 and 5)

    The defaults are the preset `SAFE`; `aggregate(..., **gfa_jax.PAPER)` is the
    paper by its letter. Differentiable in features, gamma, temperature, exponent,
    weights and, with the soft mask, threshold, in reverse and in forward mode.

    The candidates stay those given. To search anew among the moved features, loop:

        for _ in range(num_steps):
            neighbors = gfa_jax.exact_neighbors(features, k=k)
            features = aggregate(features, neighbors, params, num_steps=1).features

    Args:
        features: [N, D] floating rows of unit length. Half precision is computed
            in float32.
        neighbors: [N, K] candidates; only `indices` is read, cosines are computed
            from `features`. K counts the row itself where it is listed.
        params: gamma in [0, 1], threshold in [-1, 1], temperature > 0, exponent
            >= 0; each a number or [T], one value an update. With graph="fixed" the
            edges, and so the threshold, are those of the first.
        num_steps: T >= 0, the number of updates.
        weights: [N, K] floating w_ij >= 0, what each candidate counts in the mean: 0
            for one that does not count, and for the row itself, where it is listed,
            like any other. They stay in all steps; no cosine is evaluated, and of
            the parameters and options only gamma, renormalize and block_size are
            read. By default the weights are those of the options.
        mask: "hard" for the bracket [A > t], "soft" for σ((A − t)/τ).
        weighting: "affinity" weighs a survivor by max(A, 0)^exponent, "uniform"
            by 1.
        graph: "fixed" keeps the mask and the weights of the first step, "remask"
            its weights only, of all candidates, and masks them anew each step,
            "rescore" computes both anew each step on the same candidates.
        include_self: whether a row that lists itself is its own neighbour.
        renormalize: whether rows return to unit length after each update, so that
            t keeps its meaning as a cosine.
        reverse: with weights that stay, `reverse_neighbors(neighbors.indices)`: who
            lists each row. Gradients in reverse mode are up to twice as fast with it,
            and forward mode is not possible; worth its sort where many are taken.
        block_size: rows handled at once; by default as many as keep their
            candidates within about 1 MiB, on a GPU 64.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the steps. Not while tracing.

    Returns:
        Aggregation: features [N, D], residual [T], degree [N].

    Raises:
        ValueError: an unknown option, a shape that does not fit, or a concrete
            parameter or weight outside its range.

    Cost: O(T N K D) time. Memory: two [N, D] arrays, [N, K] weights and one
    [block, K, D] block; a reverse-mode gradient adds one [N, D] array a step, since
    each step is recomputed from its input (`jax.checkpoint`). With
    `jax.jit(..., donate_argnums=...)` the result takes the place of the features.
    """
    features = numerics.to_compute_dtype(features)
    choices = Choices(mask, weighting, graph, include_self, renormalize, block_size)
    check_arguments(
        features,
        neighbors,
        params,
        num_steps=num_steps,
        choices=choices,
        weights=weights,
        per_step=num_steps > 0,
    )
    if reverse is not None:
        _check_reverse(reverse, neighbors, graph if weights is None else "fixed")
    params = Params(
        *(p if np.ndim(p) == 0 else jnp.asarray(p, features.dtype) for p in params)
    )
    indices = jnp.asarray(neighbors.indices, jnp.int32)
    edges = first_edges(
        lambda params, **scoring: _score(features, indices, params, **scoring),
        at_step(params, 0),
        choices,
        None if weights is None else jnp.asarray(weights, features.dtype),
    )
    advance = functools.partial(
        _advance,
        indices=indices,
        params=params,
        edges=edges,
        reverse=reverse,
        renormalize=renormalize,
        **choices.scoring,
    )
    start = State(features, jnp.zeros(len(features), features.dtype))
    state, residual = run_steps(advance, start, num_steps, progress=progress)
    return Aggregation(state.features, residual, state.degree)


def first_edges(
    score: Callable[..., Edges],
    params: Params,
    choices: Choices,
    weights: Any = None,
) -> Edges | None:
    """Scores before the first step what all steps keep, or takes the weights given.

    Args:
        score: takes parameters and the keywords of `Choices.scoring`.
        params: of the first step.
        choices: graph is read.
        weights: [N, K] of `aggregate`, in the dtype of the features.

    Returns:
        The edges of a fixed graph, or those of the weights given; the weights of all
        candidates where they are masked anew; None where nothing is kept.
    """
    if weights is not None:
        return Edges((weights != 0).astype(weights.dtype), weights)
    if choices.graph == "fixed":
        return score(params, **choices.scoring)
    if choices.graph != "remask":
        return None
    # Above -1 lies every candidate with a weight.
    scoring = choices.scoring | {"mask": "hard"}
    return score(params._replace(threshold=-1.0), **scoring)._replace(mask=None)


class State(NamedTuple):
    """What a step hands to the next one."""

    features: jax.Array  # [N, D] floating
    degree: jax.Array  # [N] floating


Advance = Callable[[State, jax.Array], tuple[State, jax.Array]]


def run_steps(
    advance: Advance, state: State, num_steps: int, *, progress: Callable | None
) -> tuple[State, jax.Array]:
    """Makes all steps in one call, or one a call where progress is shown.

    Args:
        advance: takes a state and [t] step numbers; gives the state after them and
            their residuals [t].
        state: the state before the first step.
        num_steps: T.
        progress: see `aggregate`.

    Returns:
        The state after the last step; residual [T].
    """
    if progress is None:
        return advance(state, jnp.arange(num_steps))
    residuals = [jnp.zeros(0, state.features.dtype)]
    for t in progress(range(num_steps), total=num_steps, desc="updates"):
        # Waiting lets the bar tell the truth, and Ctrl-C act.
        state, residual = jax.block_until_ready(advance(state, jnp.array([t])))
        residuals.append(residual)
    return state, jnp.concatenate(residuals)


def scan_steps(
    state: State,
    steps: jax.Array,
    *,
    update: Callable,
    mean: Callable[[jax.Array], jax.Array],
    params: Params | None = None,
) -> tuple[State, jax.Array]:
    """Scans an update over the step numbers given.

    Args:
        state: the state before the first of them.
        steps: [t] integer step numbers.
        update: takes features; gives what `row_update.update` gives.
        mean: takes ‖change‖² of the rows here; gives its mean over all rows.
        params: each [] or [T]; `update` is then called with `params=` those of the
            step. By default it has its own.

    Returns:
        The state after the last step; residual [t].
    """

    def step(state: State, t: jax.Array):
        own = {} if params is None else {"params": at_step(params, t)}
        features, moved, degree = update(state.features, **own)
        return State(features, degree), numerics.safe_sqrt(mean(moved))

    # A scan shares no subexpressions, so the guard against it would only cost time.
    return lax.scan(jax.checkpoint(step, prevent_cse=False), state, steps)


@functools.partial(
    jax.jit,
    static_argnames=(
        "mask",
        "weighting",
        "include_self",
        "renormalize",
        "block_size",
    ),
)
def _advance(
    state: State,
    steps: jax.Array,
    *,
    params: Params,
    **options: Any,
) -> tuple[State, jax.Array]:
    """Makes the steps given on one device."""
    return scan_steps(
        state,
        steps,
        update=functools.partial(update, **options),
        mean=jnp.mean,
        params=params,
    )


_score = functools.partial(
    jax.jit, static_argnames=("mask", "weighting", "include_self", "block_size")
)(score)


def check_arguments(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    choices: Choices,
    weights: Array | None = None,
    per_step: bool = False,
) -> None:
    """Refuses what no form of `aggregate` takes; its arguments are given there.

    Args:
        features: [N, D].
        neighbors: [N, K].
        params: see `check_params`.
        num_steps: >= 0.
        choices: each one of those known.
        weights: [N, K] floating, >= 0 where they are known.
        per_step: whether a parameter may be [T].

    Raises:
        ValueError: what was got, what was expected.
    """
    _check_shapes(features, neighbors)
    if weights is not None:
        _check_weights(weights, neighbors)
    for name, known in (
        ("mask", MASKS),
        ("weighting", WEIGHTINGS),
        ("graph", GRAPHS),
    ):
        value = getattr(choices, name)
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if num_steps < 0:
        raise ValueError(f"num_steps is {num_steps}; expected 0 or more")
    check_params(params, num_steps=num_steps if per_step else None)


def _check_reverse(reverse: ReverseNeighbors, neighbors: Neighbors, graph: str) -> None:
    if graph != "fixed":
        raise ValueError(
            f"got reverse with graph={graph!r}; expected graph='fixed', or no reverse"
        )
    # The edges themselves may be traced.
    known = jax.eval_shape(reverse_neighbors, neighbors.indices).slots.shape
    if reverse.slots.shape != known:
        raise ValueError(
            f"reverse.slots have shape {reverse.slots.shape}; expected {known}: take "
            "reverse_neighbors of these very indices"
        )


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
