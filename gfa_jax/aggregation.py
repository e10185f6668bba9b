"""Eq. 2, F_i ← F_i + γ (C*_i − F_i): one update, and its scan over T steps.

`update` is the whole mathematics. Rows are processed in blocks: a block gathers the
K candidates of a few rows at a time, [block, K, D], small enough to stay in cache,
so neither an [N, N] nor an [N, K, D] array ever exists.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

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
from gfa_jax.types import Aggregation, Neighbors, Params, check_params

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

_CACHED_BLOCK_BYTES = 2**20


def aggregate(
    features: jax.Array,
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
    return _aggregate(
        features,
        jnp.asarray(neighbors.indices, jnp.int32),
        params,
        num_steps=num_steps,
        mask=mask,
        weighting=weighting,
        graph=graph,
        include_self=include_self,
        renormalize=renormalize,
        refresh_every=refresh_every,
        search=search,
        block_size=block_size,
    )


@functools.partial(
    jax.jit,
    static_argnames=(
        "num_steps",
        "mask",
        "weighting",
        "graph",
        "include_self",
        "renormalize",
        "refresh_every",
        "search",
        "block_size",
    ),
)
def _aggregate(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    num_steps: int,
    graph: Graph,
    renormalize: bool,
    refresh_every: int,
    search: Callable[[jax.Array], Neighbors] | None,
    **options: Any,
) -> Aggregation:
    """Scans `update`; the options are those of `aggregate`."""
    if search is None:
        search = functools.partial(
            exact_neighbors,
            k=indices.shape[1],
            include_self=options["include_self"],
        )
    edges = None
    degree = jnp.zeros(features.shape[0], features.dtype)
    if graph == "fixed":
        edges = score(features, indices, params, **options)

    def step(carry, t):
        features, indices, _ = carry
        if graph == "refresh":
            indices = lax.cond(
                (t > 0) & (t % refresh_every == 0),
                lambda: search(lax.stop_gradient(features)).indices,
                lambda: indices,
            )
        features, moved, degree = update(
            features, indices, params, edges=edges, renormalize=renormalize, **options
        )
        return (features, indices, degree), numerics.safe_sqrt(jnp.mean(moved))

    (features, _, degree), residual = lax.scan(
        jax.checkpoint(step, prevent_cse=False),  # a scan shares no subexpressions
        (features, indices, degree),
        jnp.arange(num_steps),
    )
    return Aggregation(features, residual, degree)


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

    def update_row(row, feature, candidates, edges):
        neighborhood = _gather(features, candidates)
        if edges is None:
            edges = score_edges(
                affinity(feature, neighborhood),
                _counted(row, candidates, include_self),
                params,
                mask=mask,
                weighting=weighting,
            )
        center = pseudo_center(neighborhood, edges.weight, otherwise=feature)
        updated = feature + params.gamma * (center - feature)
        if renormalize:
            updated = numerics.normalize(updated)
        moved = jnp.sum(jnp.square(updated - feature))
        return updated, moved, jnp.sum(edges.mask)

    return _map_rows(update_row, features, indices, edges, block_size=block_size)


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

    def score_row(row, feature, candidates, _):
        return score_edges(
            affinity(feature, _gather(features, candidates)),
            _counted(row, candidates, include_self),
            params,
            mask=mask,
            weighting=weighting,
        )

    return _map_rows(score_row, features, indices, None, block_size=block_size)


def _gather(features: jax.Array, candidates: jax.Array) -> jax.Array:
    """Takes the candidates' rows: [K, D]; an empty slot takes row 0, to weigh 0."""
    return features.at[candidates].get(mode="clip")


def _counted(row: jax.Array, candidates: jax.Array, include_self: bool) -> jax.Array:
    """Tells which slots of a row may hold an edge: [K] bool."""
    filled = candidates >= 0
    return filled if include_self else filled & (candidates != row)


def _map_rows(row_function, features, indices, edges, *, block_size):
    """Calls `row_function(row, feature, candidates, edges)` on blocks of rows."""
    num_rows, dim = features.shape
    if block_size is None:
        row_bytes = indices.shape[1] * dim * features.dtype.itemsize
        block_size = max(8, min(num_rows, _CACHED_BLOCK_BYTES // row_bytes))
    rows = jnp.arange(num_rows, dtype=jnp.int32)
    return lax.map(
        lambda operands: row_function(*operands),
        (rows, features, indices, edges),
        batch_size=block_size,
    )


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
