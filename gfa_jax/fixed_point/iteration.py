"""The fixed point of the update, and its gradient at a memory free of the steps.

A fixed point F* = U(F*; θ) has a derivative by the implicit function theorem, whatever
way led to it:

    dF* = (I − ∂U/∂F)⁻¹ ∂U/∂θ dθ        where I − ∂U/∂F has an inverse

Eq. 2 itself has no such one: its pseudo-centers are means, so every state in which each
connected component has shrunk to one point is at rest, and I − ∂U/∂F is singular there.
U therefore starts every step at the first features, not at the last:

    F_i^t = F_i^0 + γ (C*_i(F^{t−1}) − F_i^0), then to unit length

The first step is that of Eq. 2. Before the division by the length, and with a fixed
graph of row-stochastic weights P, F* = (1 − γ) Σ_s γ^s P^s F^0: the map contracts by γ,
so F* is unique. This is the diffusion of Zhou et al., Learning with Local and Global
Consistency, NIPS 2003, and personalised PageRank (Gasteiger et al., Predict then
Propagate, ICLR 2019). Implicit derivatives are those of optimistix:
`pip install 'gfa_jax[train]'`.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gfa_jax import numerics
from gfa_jax.affinity import Edges, score
from gfa_jax.aggregation import update
from gfa_jax.blocks import Pool
from gfa_jax.checks import check_integer, check_number, check_update
from gfa_jax.types import (
    DEFAULT,
    Array,
    Neighbors,
    Options,
    Params,
)

# Rounding moves an entry by a few units in the last place a step.
_UNITS_OF_ROUNDING = 32


class FixedPoint(NamedTuple):
    """What `solve` returns."""

    features: jax.Array  # [N, D] floating F*
    residual: jax.Array  # [] root mean square over the rows of ‖U(F*)_i − F*_i‖
    num_steps: jax.Array  # [] int, updates that were made
    converged: jax.Array  # [] bool, whether no entry moved by more than the tolerance


def solve(
    features: Array,
    neighbors: Neighbors,
    params: Params,
    *,
    options: Options = DEFAULT,
    tolerance: float | None = None,
    max_steps: int = 1000,
) -> FixedPoint:
    """Solves F = U(F): updates until nothing moves, differentiable in the limit.

        F*_i = normalize((1 − γ) F_i^0 + γ C*_i(F*))

    Differentiable in reverse and in forward mode, in `features` (through the edges of
    a fixed graph too), gamma, temperature, exponent and, with the soft mask, threshold.

    Args:
        features: [N, D] floating rows F^0 of unit length.
        neighbors: [N, K] candidates, see `gfa_jax.aggregate`.
        params: see `gfa_jax.aggregate`; numbers, gamma below 1.
        options: see `gfa_jax.Options`. graph="fixed" scores the edges at F^0,
            "rescore" at F*, where a hard mask may switch for ever.
        tolerance: most that an entry may move in the last step, absolute and
            relative; 32 units of rounding by default.
        max_steps: most updates, and most steps of the linear solve of a gradient.

    Returns:
        FixedPoint.

    Raises:
        ValueError: what `aggregate` refuses, gamma 1; where nothing is traced, no
            convergence. Traced, `converged` tells.
        RuntimeError: the linear system of a derivative was not solved.
        ImportError: optimistix is not installed.

    Cost: O(N K D) an update, about log(tolerance) / log(gamma) of them, and as many
    again for a derivative. Memory: four [N, D] arrays and [N, K] weights; some ten
    [N, D] more for a derivative, however many updates.
    """
    features = numerics.to_compute_dtype(features)
    if tolerance is not None:
        check_number("tolerance", tolerance, math.ulp(0.0))
    check_integer("max_steps", max_steps, least=1)
    indices = check_update(
        features, neighbors, params, num_steps=max_steps, options=options
    )
    if not isinstance(params.gamma, Tracer) and float(params.gamma) >= 1:
        raise ValueError(
            "gamma is 1; expected less: the share 1 - gamma holds each row to its "
            "start, and without it the fixed point is not unique"
        )
    if tolerance is None:
        tolerance = _UNITS_OF_ROUNDING * float(jnp.finfo(features.dtype).eps)
    found = _solve(
        features,
        jnp.asarray(indices),
        Params(*(jnp.asarray(p, features.dtype) for p in params)),
        options=options,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    if not isinstance(found.converged, Tracer) and not found.converged:
        raise ValueError(
            f"no fixed point after {int(found.num_steps)} updates: rows still move by "
            f"{float(found.residual):.2g}; give a larger max_steps or tolerance, a "
            "smaller gamma, or graph='fixed'"
        )
    return found


def update_from_start(
    features: jax.Array,
    start: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    edges: Edges | None,
    options: Options = DEFAULT,
) -> jax.Array:
    """Makes one update U of the features F [N, D] that started at F^0.

    By default edges are scored at F; the others as for `aggregation.update`.
    """
    if edges is None:
        edges = score(features, indices, params, options=options)
    state, _ = update(
        start, indices, params, edges, pool=Pool(features), options=options
    )
    return state.features


@functools.partial(jax.jit, static_argnames=("options", "tolerance", "max_steps"))
def _solve(
    features: jax.Array,
    indices: jax.Array,
    params: Params,
    *,
    options: Options,
    tolerance: float,
    max_steps: int,
) -> FixedPoint:
    try:
        import optimistix

        from gfa_jax.fixed_point.neumann import NeumannSeries
    except ImportError as error:
        raise ImportError(
            "a fixed point needs optimistix: pip install 'gfa_jax[train]'"
        ) from error
    edges = None
    if options.graph == "fixed":
        edges = score(features, indices, params, options=options)

    def step(rows: jax.Array, given: Any) -> jax.Array:
        start, params, edges = given
        return update_from_start(
            rows, start, indices, params, edges=edges, options=options
        )

    given = features, params, edges
    solution = optimistix.fixed_point(
        step,
        optimistix.FixedPointIteration(rtol=tolerance, atol=tolerance),
        features,
        given,
        max_steps=max_steps,
        # Only products with the Jacobian: as a matrix it would have (N D)² entries.
        adjoint=optimistix.ImplicitAdjoint(
            NeumannSeries(tolerance=tolerance, max_steps=max_steps)
        ),
        throw=False,
    )
    rest, given = jax.lax.stop_gradient((solution.value, given))
    moved = jnp.sum(jnp.square(step(rest, given) - rest), axis=1)
    return FixedPoint(
        solution.value,
        jnp.sqrt(jnp.mean(moved)),
        solution.stats["num_steps"],
        solution.result == optimistix.RESULTS.successful,
    )
