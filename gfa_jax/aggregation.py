"""Eq. 2 iterated, F_i^t = F_i^{t−1} + γ (C*_i^{t−1} − F_i^{t−1}): T updates in a scan.

One update of one row is `add_neighbors` and `step`, four lines:

    A = affinity(feature, neighborhood)                    Eq. 5
    w = edge_weights(A, params)                            Eq. 6, the bracket
    C = pseudo_center(Σ_j w_ij F_j, Σ_j w_ij)              Eq. 6
    F ← normalize(F + γ (C − F))                           Eq. 2

`update` maps them over all rows in blocks that gather K candidates a row,
[block, K, D], so neither an [N, N] nor an [N, K, D] array ever exists. On one device
the rows are the pool. On many, each updates its own rows, against all the others'
gathered or against one arriving part of them after another, whose sums add up.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from gfa_jax import numerics
from gfa_jax.affinity import (
    Edges,
    affinity,
    edge_weights,
    given_edges,
    is_counted,
    score,
)
from gfa_jax.blocks import Pool, gather_rows, map_neighborhoods
from gfa_jax.checks import check_update
from gfa_jax.pseudo_center import (
    NeighborSums,
    pseudo_center,
    sum_gathered,
    sum_in_place,
    total_weight,
)
from gfa_jax.transposed_sums import ReverseNeighbors, check_reverse, neighbor_sums
from gfa_jax.types import (
    DEFAULT,
    Aggregation,
    Array,
    Neighbors,
    Options,
    Params,
    at_step,
    track,
)

__all__ = ["aggregate"]


class State(NamedTuple):
    """What a step hands to the next one."""

    features: jax.Array  # [N, D] floating
    degree: jax.Array  # [N] floating


def aggregate(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    num_steps: int,
    weights: Array | None = None,
    options: Options = DEFAULT,
    reverse: ReverseNeighbors | None = None,
    progress: Callable | None = None,
) -> Aggregation:
    """Pulls every feature towards the mean of its surviving neighbours, T times.

        F_i^t = F_i^{t−1} + γ (C*_i^{t−1} − F_i^{t−1})          (paper, Eq. 2)
        C*_i = Σ_j w_ij F_j / Σ_j w_ij,  w_ij > 0 only where
        [A_ij > t][j ∈ KNN_i],  A = F Fᵀ                        (Eq. 6 and 5)

    `options=gfa_jax.PAPER` is the paper as printed. Differentiable in features, gamma,
    temperature, exponent, weights and, with the soft mask, threshold, in reverse and in
    forward mode. To search anew among the moved features, loop:

        for _ in range(num_steps):
            neighbors = gfa_jax.exact_neighbors(features, k=k)
            features = aggregate(features, neighbors, params, num_steps=1).features

    Args:
        features: [N, D] floating rows of unit length. Half precision is computed
            in float32.
        neighbors: [N, K] candidates, the row itself among them where it is to count;
            only `indices` is read. One listed twice in a row counts once.
        params: gamma in [0, 1], threshold in [-1, 1], temperature > 0, exponent
            >= 0; each a number or [T], one value an update. With graph="fixed" the
            edges, and so the threshold, are those of the first.
        num_steps: T >= 0, the number of updates.
        weights: [N, K] floating w_ij >= 0 that stay in all steps, instead of those of
            the options; of these and of the parameters only gamma, renormalize and
            block_size are then read.
        options: see `Options`.
        reverse: with weights that stay, `reverse_neighbors(neighbors.indices)`, for
            faster gradients in reverse mode; forward mode is not possible then.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the steps; not while tracing. What is compiled is the same without it.

    Returns:
        Aggregation: features [N, D], residual [T], degree [N].

    Raises:
        ValueError: a shape or dtype that does not fit; where it is not traced, a
            parameter or weight outside its range, an index outside [-1, N), a row that
            is not finite or, where its cosines are read, not of unit length.

    Cost: O(T N K D) time. Memory: two [N, D] arrays, [N, K] weights and one
    [block, K, D] block; a reverse-mode gradient adds one [N, D] array a step. With
    `jax.jit(..., donate_argnums=...)` the result takes the place of the features.

    Examples:
        >>> neighbors = gfa.exact_neighbors(features, k=10)
        >>> params = gfa.Params(gamma=0.5, threshold=0.55)
        >>> gfa.aggregate(features, neighbors, params, num_steps=3).features.shape
        (300, 32)
    """
    features = numerics.to_compute_dtype(features)
    indices = check_update(
        features,
        neighbors,
        params,
        num_steps=num_steps,
        weights=weights,
        options=options,
        per_step=num_steps > 0,
    )
    params = Params(
        *(p if np.ndim(p) == 0 else jnp.asarray(p, features.dtype) for p in params)
    )
    indices = jnp.asarray(indices)
    if weights is not None:
        edges = given_edges(jnp.asarray(weights, features.dtype), indices)
    elif options.graph == "fixed":
        edges = _score(features, indices, at_step(params, 0), options=options)
    else:
        edges = None
    if reverse is not None:
        check_reverse(reverse, neighbors.indices, is_kept=edges is not None)
    state, residual = run_steps(
        functools.partial(_advance, options=options),
        features,
        (indices, params, edges, reverse),
        num_steps,
        progress=progress,
    )
    return Aggregation(state.features, residual, state.degree)


def add_neighbors(
    row: jax.Array,
    feature: jax.Array,
    candidates: jax.Array,
    weight: jax.Array | None,
    *,
    pool: Pool,
    first_row: jax.Array | int,
    params: Params,
    options: Options,
) -> NeighborSums:
    """Adds up the candidates of one row that lie in the pool (Eq. 5 and 6).

    Arguments as for `update`, of row number `row` from `first_row` on, F_i: its feature
    [D], candidates [K] and their weights w_ij [K]; None scores them in the pool.
    """
    places = pool.places(candidates)
    if weight is not None:
        weight = jnp.where(places >= 0, weight, 0)
        weighted_sum = sum_in_place(pool.features, weight, places)
        return NeighborSums(weighted_sum, total_weight(weight))
    # Gathered once, for both products.
    neighborhood = gather_rows(pool.features, places)
    similarity = affinity(feature, neighborhood)  # Eq. 5
    counted = is_counted(candidates, places, row + first_row, options=options)
    survives, weight = edge_weights(  # Eq. 6, the bracket
        similarity, params, counted=counted, options=options
    )
    return NeighborSums(
        sum_gathered(neighborhood, weight), total_weight(weight), jnp.sum(survives)
    )


def step(
    feature: jax.Array, sums: NeighborSums, params: Params, *, renormalize: bool
) -> tuple[jax.Array, jax.Array]:
    """Steps towards the pseudo-center: F_i ← F_i + γ (C*_i − F_i) (Eq. 2).

    Takes features [..., D] and the sums over all of their neighbours; returns the
    features after the step and ‖change‖² [...].
    """
    center = pseudo_center(sums, otherwise=feature)  # Eq. 6
    updated = feature + params.gamma * (center - feature)  # Eq. 2
    if renormalize:
        updated = numerics.normalize(updated)
    return updated, jnp.sum(jnp.square(updated - feature), axis=-1)


def update(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    edges: Edges | None = None,
    *,
    pool: Pool | None = None,
    first_row: jax.Array | int = 0,
    options: Options = DEFAULT,
    reverse: ReverseNeighbors | None = None,
) -> tuple[State, jax.Array]:
    """Makes one update of every row (Eq. 5, 6 and 2): the state, and ‖change‖² [n].

    Rows are features [n, D], numbered from `first_row` on among all N, with candidates
    [n, K], numbers among all N, -1 for an empty slot; parameters are []. The pool holds
    all rows, by default these. Edges that are not given are scored in it; where they
    are given and the rows are the pool, `reverse` says who lists each row.

    Cost: where edges are scored 4 n K D operations and, in float32, 16 n K D bytes: the
    candidates are gathered, written and read twice. Where they are given 2 n K D
    operations and 4 n K D bytes, read in place. Memory: one [n, D] output, and of
    scored edges one [block, K, D] block.
    """
    if edges is not None and reverse is not None:
        weight = jnp.where(indices >= 0, edges.weight, 0)
        sums = neighbor_sums(weight, features, indices, reverse)
        sums = NeighborSums(sums, total_weight(weight))
        updated, moved = step(features, sums, params, renormalize=options.renormalize)
        return State(updated, edges.degree), moved

    pool = Pool(features) if pool is None else pool
    add = functools.partial(
        add_neighbors, pool=pool, first_row=first_row, params=params, options=options
    )

    def update_row(row, feature, candidates, weight):
        sums = add(row, feature, candidates, weight)
        stepped = step(feature, sums, params, renormalize=options.renormalize)
        return *stepped, sums.degree

    weight = None if edges is None else edges.weight
    updated, moved, degree = map_neighborhoods(
        update_row, features, indices, weight, block_size=options.block_size
    )
    return State(updated, degree if edges is None else edges.degree), moved


def run_steps(
    advance: Callable[..., tuple[State, jax.Array]],
    features: jax.Array,
    operands: tuple[Any, ...],
    num_steps: int,
    *,
    progress: Callable | None,
) -> tuple[State, jax.Array]:
    """Makes T steps from the features: one a call, or while tracing all in one scan.

    `advance` takes a State, [t] step numbers and the operands, pytrees that all steps
    read; it gives the state after those steps and their residuals [t], as this does.
    """
    state = State(features, jnp.zeros_like(features[:, 0]))
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((features, operands))):
        return advance(state, jnp.arange(num_steps), *operands)
    residuals = [jnp.zeros(0, features.dtype)]
    for t in track(progress, range(num_steps), desc="updates"):
        state, residual = advance(state, jnp.array([t]), *operands)
        if progress is not None:  # the time of a step, and an interrupt, are its own
            jax.block_until_ready(state)
        residuals.append(residual)
    return state, jnp.concatenate(residuals)


def scan_steps(
    state: State,
    steps: jax.Array,
    *,
    update: Callable[[jax.Array, jax.Array], tuple[State, jax.Array]],
    mean: Callable[[jax.Array], jax.Array],
) -> tuple[State, jax.Array]:
    """Scans an update of the features over the step numbers [t]; gives residuals [t].

    `mean` takes ‖change‖² of the rows here to its mean over all rows.
    """

    def make_step(state: State, t: jax.Array):
        state, moved = update(state.features, t)
        return state, numerics.safe_sqrt(mean(moved))

    # A scan shares no subexpressions, so the guard against it would only cost time.
    return lax.scan(jax.checkpoint(make_step, prevent_cse=False), state, steps)


@functools.partial(jax.jit, static_argnames="options")
def _advance(
    state: State,
    steps: jax.Array,
    indices: jax.Array,
    params: Params,
    edges: Edges | None,
    reverse: ReverseNeighbors | None,
    *,
    options: Options,
) -> tuple[State, jax.Array]:
    def update_at(features, t):
        now = at_step(params, t)
        return update(features, indices, now, edges, options=options, reverse=reverse)

    return scan_steps(state, steps, update=update_at, mean=jnp.mean)


_score = functools.partial(jax.jit, static_argnames="options")(score)
