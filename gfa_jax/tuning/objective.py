"""The loss of a batch of pairs in the parameters of `aggregate`, and one step down it.

    minimise over θ:  E_batch L(s, same),   s_m = F_i(θ) · F_j(θ),  F(θ) = aggregate(…)

θ is unconstrained: gamma = σ(θ_γ), temperature and exponent = softplus(θ), threshold as
it is; of rows that are pooled from frames (frames.py) the power too, by softplus. L is
one of losses.py. A parameter that starts as [T] is learnt for each update.

The soft mask has a slope in t and is what is differentiated. Reverse mode goes through
the checkpointed scan; forward mode carries one tangent a learnt number, at a memory
that does not depend on T.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gfa_jax import numerics
from gfa_jax.aggregation import aggregate
from gfa_jax.transposed_sums import ReverseNeighbors
from gfa_jax.tuning import losses
from gfa_jax.tuning.frames import (
    AnyParams,
    Frames,
    PooledParams,
    pool_frames,
    update_params,
)
from gfa_jax.tuning.options import Objective
from gfa_jax.types import Mask, Neighbors, Params, Scalar

# Where the logistic loss starts: cosines .05 from the center are a factor e in odds.
_SCALE, _CENTER = 20.0, 0.4


class Variables(NamedTuple):
    """θ: what the optimizer moves, each any real number."""

    gamma: jax.Array  # [] or [T] logit of gamma
    threshold: jax.Array  # [] or [T] t itself
    temperature: jax.Array  # [] softplus⁻¹ of the temperature before annealing
    exponent: jax.Array  # [] softplus⁻¹ of the exponent
    scale: jax.Array  # [] softplus⁻¹ of the scale a of the logistic loss
    center: jax.Array  # [] cosine b at which a pair is as likely genuine as not
    power: jax.Array | None = None  # [] softplus⁻¹ of the power, where rows are pooled


class Batch(NamedTuple):
    """What a loss is taken of."""

    features: jax.Array | Frames  # [N, D] unit rows, or what they are pooled from
    indices: jax.Array  # [N, K] int32 candidates
    genuine: jax.Array | np.ndarray  # [G, 2] integer rows of genuine pairs
    impostor: jax.Array | np.ndarray  # [M, 2] integer rows of impostor pairs
    reverse: ReverseNeighbors | None = None  # see `aggregate`


class TuneState(NamedTuple):
    """θ, and the state of the optax optimizer: what one step hands to the next."""

    variables: Variables
    optimizer: Any


def init(params: AnyParams, *, optimizer: Any, dtype: Any = jnp.float32) -> TuneState:
    """Starts the learning at the parameters given.

    Args:
        params: gamma in (0, 1), temperature and exponent, and the power, > 0; each []
            or [T], one value an update, all of which are learnt.
        optimizer: an optax GradientTransformation.
        dtype: floating dtype of the variables, that of the features.

    Returns:
        TuneState.

    Raises:
        ValueError: a parameter at which σ⁻¹ or softplus⁻¹ has no value.
    """
    gamma, threshold, *positive = (np.asarray(p, float) for p in params)
    is_inside = np.all((gamma > 0) & (gamma < 1))
    if not is_inside or not all(np.all(value > 0) for value in positive):
        got = ", ".join(f"{n} {np.asarray(p)}" for n, p in params._asdict().items())
        raise ValueError(
            f"got {got}; expected a start with gamma inside (0, 1) and all but the "
            "threshold above 0"
        )
    temperature, exponent, scale, *power = (
        value + np.log(-np.expm1(-value))  # softplus⁻¹
        for value in (*positive[:2], np.asarray(_SCALE), *positive[2:])
    )
    logit = np.log(gamma / (1 - gamma))
    values = (logit, threshold, temperature, exponent, scale, _CENTER, *power)
    variables = Variables(*(jnp.asarray(value, dtype) for value in values))
    return TuneState(variables, optimizer.init(variables))


def constrain(variables: Variables, *, temperature_ratio: Scalar = 1.0) -> AnyParams:
    """Maps θ to parameters; the ratio in (0, 1] multiplies the temperature."""
    params = Params(
        jax.nn.sigmoid(variables.gamma),
        jnp.clip(variables.threshold, -1, 1),
        jax.nn.softplus(variables.temperature) * temperature_ratio,
        jax.nn.softplus(variables.exponent),
    )
    if variables.power is None:
        return params
    return PooledParams(*params, power=jax.nn.softplus(variables.power))


@functools.partial(jax.jit, static_argnames=("optimizer", "objective"))
def update(
    state: TuneState,
    batch: Batch,
    *,
    temperature_ratio: Scalar = 1.0,
    optimizer: Any,
    objective: Objective,
) -> tuple[TuneState, jax.Array]:
    """Makes one step, θ ← θ + optimizer(∂L/∂θ); returns it and the [] loss before."""
    loss, gradient = loss_and_gradient(
        state.variables,
        batch,
        temperature_ratio=temperature_ratio,
        objective=objective,
    )
    changes, optimizer_state = optimizer.update(
        gradient, state.optimizer, state.variables
    )
    # An optimizer with a decay would move also what has no gradient.
    moved = {
        name: getattr(state.variables, name) + getattr(changes, name)
        for name in objective.learnt(pools=state.variables.power is not None)
    }
    return TuneState(state.variables._replace(**moved), optimizer_state), loss


def loss_and_gradient(
    variables: Variables,
    batch: Batch,
    *,
    temperature_ratio: Scalar = 1.0,
    objective: Objective,
) -> tuple[jax.Array, Variables]:
    """Evaluates the [] loss L and ∂L/∂θ, in reverse or in forward mode.

    Args:
        variables: θ.
        batch: what L is taken of.
        temperature_ratio: see `constrain`.
        objective: the static choices.
    """
    num_genuine = len(batch.genuine)
    pairs = jnp.concatenate([batch.genuine, batch.impostor])

    def loss(moving: dict[str, jax.Array]) -> jax.Array:
        moved = variables._replace(**moving)
        refined = refine(
            batch.features,
            batch.indices,
            constrain(moved, temperature_ratio=temperature_ratio),
            mask="soft",
            objective=objective,
            reverse=batch.reverse,
        )
        scores = numerics.dot("md,md->m", refined[pairs[:, 0]], refined[pairs[:, 1]])
        genuine, impostor = scores[:num_genuine], scores[num_genuine:]
        return pair_loss(genuine, impostor, moved, objective=objective)

    # What is frozen, or what the loss does not read, costs no tangent.
    moving = {
        name: getattr(variables, name)
        for name in objective.learnt(pools=variables.power is not None)
    }
    if objective.differentiation == "reverse":
        value, gradient = jax.value_and_grad(loss)(moving)
    else:
        value, gradient = _value_and_forward_gradient(loss, moving)
    return value, jax.tree.map(jnp.zeros_like, variables)._replace(**gradient)


def refine(
    features: jax.Array | Frames,
    indices: jax.Array,
    params: AnyParams,
    *,
    mask: Mask,
    objective: Objective,
    reverse: ReverseNeighbors | None = None,
) -> jax.Array:
    """Evaluates F(θ), the refined features [N, D], of rows or frames."""
    if isinstance(features, Frames):
        assert isinstance(params, PooledParams)  # the caller checks
        features = pool_frames(features, num_rows=len(indices), power=params.power)
    return aggregate(
        features,
        Neighbors(indices, jnp.zeros(indices.shape, features.dtype)),
        update_params(params),
        num_steps=objective.num_steps,
        options=dataclasses.replace(objective.options, mask=mask),
        reverse=reverse,
    ).features


def pair_loss(
    genuine: jax.Array,
    impostor: jax.Array,
    variables: Variables,
    *,
    objective: Objective,
) -> jax.Array:
    """Evaluates the [] loss L on scores [G] and [M] of a batch."""
    if objective.loss == "logistic":
        scale = jax.nn.softplus(variables.scale)
        return losses.logistic(genuine, impostor, scale=scale, center=variables.center)
    if objective.loss == "contrastive":
        return losses.contrastive(genuine, impostor, margin=objective.margin)
    band = objective.fpr_low, objective.fpr_high
    return losses.partial_auc(genuine, impostor, band=band)


def _value_and_forward_gradient(
    function: Callable[[dict[str, jax.Array]], jax.Array],
    variables: dict[str, jax.Array],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Evaluates a function and its gradient by one tangent a number."""
    flat, restore = ravel_pytree(variables)

    def along(tangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(lambda x: function(restore(x)), (flat,), (tangent,))

    # One after another: a batch of tangents would gather in a layout several times
    # slower on CPU.
    values, gradient = jax.lax.map(along, jnp.eye(len(flat), dtype=flat.dtype))
    return values[0], restore(gradient)
