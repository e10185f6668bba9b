"""The loss of a batch of pairs in the parameters of `aggregate`, and one step down it.

    minimise over θ:  E_batch L(s, same),   s_m = F_i(θ) · F_j(θ),  F(θ) = aggregate(…)

θ is unconstrained: gamma = σ(θ_γ), temperature and exponent = softplus(θ), threshold as
it is; of rows that are pooled from frames (frames.py) the power too, by softplus. L is
one of losses.py. With `per_step` every update has a gamma of its own and, where
the graph is scored anew, a threshold.

The soft mask has a slope in t and is what is differentiated. Reverse mode goes through
the checkpointed scan; forward mode carries one tangent a learnt number, at a memory
that does not depend on T.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gfa_jax import numerics
from gfa_jax.affinity import Mask
from gfa_jax.aggregation import aggregate
from gfa_jax.neighbor_products import ReverseNeighbors
from gfa_jax.tuning import losses
from gfa_jax.tuning.frames import (
    AnyParams,
    Frames,
    PooledParams,
    of_update,
    pool_frames,
)
from gfa_jax.tuning.losses import LOSSES, Loss
from gfa_jax.tuning.options import (
    DIFFERENTIATIONS,
    Differentiation,
    Objective,
    check_objective,
)
from gfa_jax.types import Neighbors, Params, Scalar

__all__ = [
    "DIFFERENTIATIONS",
    "LOSSES",
    "Differentiation",
    "Loss",
    "Objective",
    "TuneState",
    "Variables",
    "check_objective",
    "constrain",
    "init",
    "loss_and_gradient",
    "over_steps",
    "pair_loss",
    "pair_scores",
    "refine",
    "update",
]

# Where the logistic loss starts: cosines .05 from the center are a factor e in odds.
_SCALE, _CENTER = 20.0, 0.4


class Variables(NamedTuple):
    """θ: what the optimizer moves, each any real number.

    Attributes:
        gamma: [] or [T] logit of gamma.
        threshold: [] or [T] t itself.
        temperature: [] softplus⁻¹ of the temperature before annealing.
        exponent: [] softplus⁻¹ of the exponent.
        scale: [] softplus⁻¹ of the scale a of the logistic loss.
        center: [] cosine b at which a pair is as likely genuine as not.
        power: [] softplus⁻¹ of the pooling power; None where nothing is pooled.
    """

    gamma: jax.Array
    threshold: jax.Array
    temperature: jax.Array
    exponent: jax.Array
    scale: jax.Array
    center: jax.Array
    power: jax.Array | None = None


class TuneState(NamedTuple):
    """What one step hands to the next.

    Attributes:
        variables: θ.
        optimizer: state of the optax optimizer.
    """

    variables: Variables
    optimizer: Any


def init(
    params: AnyParams,
    *,
    optimizer: Any,
    dtype: Any = jnp.float32,
    objective: Objective | None = None,
) -> TuneState:
    """Starts the learning at the parameters given.

    Args:
        params: gamma in (0, 1), temperature and exponent, and the power, > 0.
        optimizer: an optax GradientTransformation.
        dtype: floating dtype of the variables, that of the features.
        objective: with `per_step`, what must be [T] is repeated T times.

    Returns:
        TuneState.

    Raises:
        ValueError: a parameter at which σ⁻¹ or softplus⁻¹ has no value.
    """
    if objective is not None:
        params = over_steps(params, objective)
    gamma, threshold, *positive = (np.asarray(p, float) for p in params)
    is_inside = np.all((gamma > 0) & (gamma < 1))
    if not is_inside or not all(np.all(value > 0) for value in positive):
        told = ", ".join(f"{n} {np.asarray(p)}" for n, p in params._asdict().items())
        raise ValueError(
            f"got {told}; expected a start with gamma inside (0, 1) and all but the "
            "threshold above 0"
        )
    temperature, exponent, *power = map(_inverse_softplus, positive)
    variables = Variables(
        *(
            jnp.asarray(value, dtype)
            for value in (
                np.log(gamma / (1 - gamma)),
                threshold,
                temperature,
                exponent,
                _inverse_softplus(np.asarray(_SCALE)),
                _CENTER,
                *power,
            )
        )
    )
    return TuneState(variables, optimizer.init(variables))


def over_steps(params: AnyParams, objective: Objective) -> AnyParams:
    """Repeats T times what each update learns for itself.

    Args:
        params: each [] or [T].
        objective: `per_step` and, since a fixed graph has one threshold, `graph`.

    Returns:
        The same; gamma, and threshold, [T] where they are learnt so.
    """
    if not objective.per_step:
        return params
    repeat = functools.partial(np.broadcast_to, shape=(objective.num_updates,))
    params = params._replace(gamma=repeat(np.asarray(params.gamma, float)))
    if objective.graph == "fixed":
        return params
    return params._replace(threshold=repeat(np.asarray(params.threshold, float)))


def constrain(variables: Variables, *, sharpness: Scalar = 1.0) -> AnyParams:
    """Maps θ to parameters: gamma in (0, 1); temperature, exponent and power > 0.

    Args:
        variables: θ.
        sharpness: [] number >= 1 that divides the temperature.

    Returns:
        Params, or PooledParams where θ holds a power.
    """
    params = Params(
        jax.nn.sigmoid(variables.gamma),
        variables.threshold,
        jax.nn.softplus(variables.temperature) / sharpness,
        jax.nn.softplus(variables.exponent),
    )
    if variables.power is None:
        return params
    return PooledParams(*params, power=jax.nn.softplus(variables.power))


@functools.partial(jax.jit, static_argnames=("optimizer", "objective"))
def update(
    state: TuneState,
    features: jax.Array | Frames,
    indices: jax.Array,
    genuine: jax.Array,
    impostor: jax.Array,
    *,
    sharpness: Scalar,
    optimizer: Any,
    objective: Objective,
    reverse: ReverseNeighbors | None = None,
) -> tuple[TuneState, jax.Array]:
    """Makes one step: θ ← θ + optimizer(∂L/∂θ).

    Args:
        state: θ and the optimizer's state.
        features: [N, D] floating unit rows, or the frames that they are pooled from.
        indices: [N, K] int32 candidates.
        genuine: [G, 2] integer rows of genuine pairs.
        impostor: [M, 2] integer rows of impostor pairs.
        sharpness: [] number >= 1 that divides the temperature.
        optimizer: an optax GradientTransformation.
        objective: static choices.
        reverse: see `aggregate`.

    Returns:
        The state after the step; [] loss before it.
    """
    loss, gradient = loss_and_gradient(
        state.variables,
        features,
        indices,
        genuine,
        impostor,
        sharpness=sharpness,
        objective=objective,
        reverse=reverse,
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
    features: jax.Array | Frames,
    indices: jax.Array,
    genuine: jax.Array,
    impostor: jax.Array,
    *,
    sharpness: Scalar,
    objective: Objective,
    reverse: ReverseNeighbors | None = None,
) -> tuple[jax.Array, Variables]:
    """Evaluates L and ∂L/∂θ, in reverse or in forward mode.

    Args as for `update`.

    Returns:
        [] loss; its gradient.
    """
    pairs = jnp.concatenate([genuine, impostor])

    def loss(variables: Variables) -> jax.Array:
        params = constrain(variables, sharpness=sharpness)
        scores = pair_scores(
            features,
            indices,
            pairs,
            params,
            mask="soft",
            objective=objective,
            reverse=reverse,
        )
        return pair_loss(
            scores[: len(genuine)],
            scores[len(genuine) :],
            variables,
            objective=objective,
        )

    # What is frozen, or what the loss does not read, costs no tangent.
    moving = {
        name: getattr(variables, name)
        for name in objective.learnt(pools=variables.power is not None)
    }

    def partial_loss(moving: dict[str, jax.Array]) -> jax.Array:
        return loss(variables._replace(**moving))

    if objective.differentiation == "reverse":
        value, gradient = jax.value_and_grad(partial_loss)(moving)
    else:
        value, gradient = _value_and_forward_gradient(partial_loss, moving)
    zeros = jax.tree.map(jnp.zeros_like, variables)
    return value, zeros._replace(**gradient)


def refine(
    features: jax.Array | Frames,
    indices: jax.Array,
    params: AnyParams,
    *,
    mask: Mask,
    objective: Objective,
    reverse: ReverseNeighbors | None = None,
) -> jax.Array:
    """Evaluates F(θ), the refined features.

    Args:
        features: [N, D] floating unit rows, or the frames that they are pooled from.
        indices: [N, K] int32 candidates.
        params: of the aggregation.
        mask: "soft" or "hard".
        objective: T and the options of `aggregate`.
        reverse: see `aggregate`.

    Returns:
        [N, D] floating rows.
    """
    if isinstance(features, Frames):
        assert isinstance(params, PooledParams)  # the caller checks
        features = pool_frames(features, num_rows=len(indices), power=params.power)
    return aggregate(
        features,
        Neighbors(indices, jnp.zeros(indices.shape, features.dtype)),
        of_update(params),
        num_steps=objective.num_updates,
        mask=mask,
        weighting=objective.weighting,
        graph=objective.graph,
        include_self=objective.include_self,
        renormalize=objective.renormalize,
        reverse=reverse,
    ).features


def pair_scores(
    features: jax.Array | Frames,
    indices: jax.Array,
    pairs: jax.Array,
    params: AnyParams,
    *,
    mask: Mask,
    objective: Objective,
    reverse: ReverseNeighbors | None = None,
) -> jax.Array:
    """Evaluates s_m = F_i · F_j of the refined features.

    Args:
        features: [N, D] floating unit rows, or the frames that they are pooled from.
        indices: [N, K] int32 candidates.
        pairs: [M, 2] integer rows.
        params: of the aggregation.
        mask: "soft" or "hard".
        objective: T and the options of `aggregate`.
        reverse: see `aggregate`.

    Returns:
        [M] floating scores.
    """
    refined = refine(
        features, indices, params, mask=mask, objective=objective, reverse=reverse
    )
    return numerics.dot("md,md->m", refined[pairs[:, 0]], refined[pairs[:, 1]])


def pair_loss(
    genuine: jax.Array,
    impostor: jax.Array,
    variables: Variables,
    *,
    objective: Objective,
) -> jax.Array:
    """Evaluates L of the module on the scores of a batch.

    Args:
        genuine: [G] floating scores of genuine pairs.
        impostor: [M] floating scores of impostor pairs.
        variables: scale and center are read by the logistic loss.
        objective: loss, hardest, spared and margin are read.

    Returns:
        [] loss.
    """
    if objective.loss == "logistic":
        scale = jax.nn.softplus(variables.scale)
        return losses.logistic(genuine, impostor, scale=scale, center=variables.center)
    if objective.loss == "contrastive":
        return losses.contrastive(genuine, impostor, margin=objective.margin)
    band = objective.spared, objective.hardest
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
    value = values[0]
    return value, restore(gradient)


def _inverse_softplus(value: np.ndarray) -> np.ndarray:
    return value + np.log(-np.expm1(-value))
