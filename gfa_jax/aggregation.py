"""Eq. 2, F_i ← F_i + γ (C*_i − F_i): one update, and its scan over T steps.

`update` is the whole mathematics. Rows are processed in blocks: a block gathers the
K candidates of a few rows at a time, [block, K, D], small enough to stay in cache,
so neither an [N, N] nor an [N, K, D] array ever exists.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp
from jax import lax

from gfa_jax import numerics
from gfa_jax.affinity import (
    MASKS,
    WEIGHTINGS,
    Edges,
    Mask,
    Weighting,
    affinity,
    score_edges,
)
from gfa_jax.neighbors.exact import exact_neighbors
from gfa_jax.pseudo_center import pseudo_center
from gfa_jax.rows import gather_rows, map_rows
from gfa_jax.types import Aggregation, Array, Neighbors, Params, check_params

Graph = Literal["fixed", "rescore", "refresh"]
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


def aggregate(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
    graph: Graph = "fixed",
    include_self: bool = True,
    renormalize: bool = True,
    refresh_every: int = 1,
    search: Callable[[jax.Array], Neighbors] | None = None,
    block_size: int | None = None,
    progress: Callable | None = None,
) -> Aggregation:
    """Pulls every feature towards the mean of its surviving neighbours, T times.

    F_i^t = F_i^{t−1} + γ (C*_i^{t−1} − F_i^{t−1})          (paper, Eq. 2)
    C*_i = Σ_j w_ij F_j / Σ_j w_ij,  w_ij > 0 only where
    [A_ij > t][j ∈ KNN_i],  A = F Fᵀ                        (Eq. 6 and 5)

    The defaults are the preset `SAFE`; `aggregate(..., **gfa_jax.PAPER)` is the
    paper by its letter. Differentiable in features, gamma, temperature, exponent
    and, with the soft mask, threshold, in reverse and in forward mode.

    Args:
        features: [N, D] floating rows of unit length. Half precision is computed
            in float32.
        neighbors: [N, K] candidates; only `indices` is read, cosines are computed
            from `features`. K counts the row itself where it is listed.
        params: gamma in [0, 1], threshold in [-1, 1], temperature > 0, exponent
            >= 0.
        num_steps: T >= 0, the number of updates.
        mask: "hard" for the bracket [A > t], "soft" for σ((A − t)/τ).
        weighting: "affinity" weighs a survivor by max(A, 0)^exponent, "uniform"
            by 1.
        graph: "fixed" keeps the mask and the weights of the first step,
            "rescore" computes both anew each step on the same candidates,
            "refresh" also searches the candidates anew.
        include_self: whether a row that lists itself is its own neighbour.
        renormalize: whether rows return to unit length after each update, so that
            t keeps its meaning as a cosine.
        refresh_every: with graph="refresh", the number of steps between searches.
        search: with graph="refresh", a traceable function from features [N, D] to
            Neighbors [N, K]; exact search by default.
        block_size: rows handled at once; by default as many as keep their
            candidates within about 1 MiB.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the steps. Not while tracing.

    Returns:
        Aggregation: features [N, D], residual [T], degree [N].

    Raises:
        ValueError: an unknown option, a shape that does not fit, or a concrete
            parameter outside its range.

    Cost: O(T N K D) time. Memory: two [N, D] arrays, [N, K] weights and one
    [block, K, D] block; a reverse-mode gradient adds one [N, D] array a step, since
    each step is recomputed from its input (`jax.checkpoint`).
    """
    features = numerics.to_compute_dtype(features)
    _check_shapes(features, neighbors)
    _check_options(mask=mask, weighting=weighting, graph=graph, num_steps=num_steps)
    if refresh_every < 1:
        raise ValueError(f"refresh_every is {refresh_every}; expected at least 1")
    check_params(params)
    indices = jnp.asarray(neighbors.indices, jnp.int32)
    scoring = {
        "mask": mask,
        "weighting": weighting,
        "include_self": include_self,
        "block_size": block_size,
    }
    edges = _score(features, indices, params, **scoring) if graph == "fixed" else None
    advance = functools.partial(
        _advance,
        params=params,
        edges=edges,
        renormalize=renormalize,
        refresh_every=refresh_every if graph == "refresh" else None,
        search=search,
        **scoring,
    )
    state = _State(features, indices, jnp.zeros(len(features), features.dtype))
    if progress is None:
        state, residual = advance(state, jnp.arange(num_steps))
    else:
        residuals = [jnp.zeros(0, features.dtype)]
        for t in progress(range(num_steps), total=num_steps, desc="updates"):
            # Waiting lets the bar tell the truth, and Ctrl-C act.
            state, residual = jax.block_until_ready(advance(state, jnp.array([t])))
            residuals.append(residual)
        residual = jnp.concatenate(residuals)
    return Aggregation(state.features, residual, state.degree)


class _State(NamedTuple):
    """What a step hands to the next one."""

    features: jax.Array  # [N, D] floating
    indices: jax.Array  # [N, K] int32
    degree: jax.Array  # [N] floating


@functools.partial(
    jax.jit,
    static_argnames=(
        "mask",
        "weighting",
        "include_self",
        "renormalize",
        "refresh_every",
        "search",
        "block_size",
    ),
)
def _advance(
    state: _State,
    steps: jax.Array,
    *,
    params: Params,
    edges: Edges | None,
    refresh_every: int | None,
    search: Callable[[jax.Array], Neighbors] | None,
    **options: Any,
) -> tuple[_State, jax.Array]:
    """Scans `update` over the step numbers given; residual [len(steps)]."""
    if search is None:
        search = functools.partial(
            exact_neighbors,
            k=state.indices.shape[1],
            include_self=options["include_self"],
        )

    def step(state: _State, t: jax.Array):
        indices = state.indices
        if refresh_every is not None:
            indices = lax.cond(
                (t > 0) & (t % refresh_every == 0),
                lambda: search(lax.stop_gradient(state.features)).indices,
                lambda: indices,
            )
        features, moved, degree = update(
            state.features, indices, params, edges=edges, **options
        )
        return _State(features, indices, degree), numerics.safe_sqrt(jnp.mean(moved))

    # A scan shares no subexpressions, so the guard against it would only cost time.
    return lax.scan(jax.checkpoint(step, prevent_cse=False), state, steps)


def update(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    edges: Edges | None = None,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
    include_self: bool = True,
    renormalize: bool = True,
    block_size: int | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Makes one update of every row (Eq. 5, 6 and 2).

    Args:
        features: [N, D] float32 or float64 rows.
        indices: [N, K] int32 candidates, -1 for an empty slot.
        params: see `aggregate`.
        edges: [N, K] mask and weights to use as they are; scored from `features`
            by default.
        mask: see `aggregate`.
        weighting: see `aggregate`.
        include_self: see `aggregate`.
        renormalize: see `aggregate`.
        block_size: see `aggregate`.

    Returns:
        features [N, D] after the update; ‖change‖² [N]; degree [N].

    Cost: O(N K D) time, one [N, D] output and one [block, K, D] block.
    """
    edge_options = {
        "mask": mask,
        "weighting": weighting,
        "include_self": include_self,
    }

    def update_row(row, feature, candidates, edges):
        neighborhood = gather_rows(features, candidates)
        if edges is None:
            edges = _row_edges(
                row, feature, candidates, neighborhood, params, **edge_options
            )
        center = pseudo_center(neighborhood, edges.weight, otherwise=feature)
        updated = feature + params.gamma * (center - feature)
        if renormalize:
            updated = numerics.normalize(updated)
        moved = jnp.sum(jnp.square(updated - feature))
        return updated, moved, jnp.sum(edges.mask)

    return map_rows(
        update_row,
        (features, indices, edges),
        row_bytes=_row_bytes(features, indices),
        block_size=block_size,
    )


def score(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
    include_self: bool = True,
    block_size: int | None = None,
) -> Edges:
    """Scores the candidates of every row (Eq. 5 and the bracket of Eq. 6).

    Args and cost as for `update`.

    Returns:
        Edges: mask [N, K] and weight [N, K].
    """

    def score_row(row, feature, candidates):
        return _row_edges(
            row,
            feature,
            candidates,
            gather_rows(features, candidates),
            params,
            mask=mask,
            weighting=weighting,
            include_self=include_self,
        )

    return map_rows(
        score_row,
        (features, indices),
        row_bytes=_row_bytes(features, indices),
        block_size=block_size,
    )


_score = functools.partial(
    jax.jit, static_argnames=("mask", "weighting", "include_self", "block_size")
)(score)


def _row_edges(
    row, feature, candidates, neighborhood, params, *, mask, weighting, include_self
) -> Edges:
    """Scores the candidates of one row: [K] masks and weights."""
    counted = candidates >= 0
    if not include_self:
        counted &= candidates != row
    return score_edges(
        affinity(feature, neighborhood),
        counted,
        params,
        mask=mask,
        weighting=weighting,
    )


def _row_bytes(features: jax.Array, indices: jax.Array) -> int:
    """Counts the bytes of one row's neighbourhood, [K, D]."""
    return indices.shape[1] * features.shape[1] * features.dtype.itemsize


def _check_shapes(features: jax.Array, neighbors: Neighbors) -> None:
    try:
        chex.assert_rank([features, neighbors.indices], 2)
        chex.assert_equal_shape_prefix([features, neighbors.indices], 1)
    except AssertionError as error:
        raise ValueError(
            f"features {features.shape} and neighbors.indices "
            f"{neighbors.indices.shape} do not fit; expected [N, D] and [N, K]"
        ) from error
    if not jnp.issubdtype(neighbors.indices.dtype, jnp.integer):
        raise ValueError(
            f"neighbors.indices are {neighbors.indices.dtype}; expected integers"
        )


def _check_options(*, mask, weighting, graph, num_steps) -> None:
    for name, value, known in (
        ("mask", mask, MASKS),
        ("weighting", weighting, WEIGHTINGS),
        ("graph", graph, GRAPHS),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if num_steps < 0:
        raise ValueError(f"num_steps is {num_steps}; expected 0 or more")
