"""The loss of a batch of pairs in the parameters of `aggregate`, and one step down it.

    minimise over θ:  E_batch L(s, same),   s_m = F_i(θ) · F_j(θ),  F(θ) = aggregate(…)

θ is unconstrained: gamma = σ(θ_γ), temperature and exponent = softplus(θ), threshold as
it is. Two losses. "logistic" is that of pairs, with a learnt scale a > 0 and center b:

    L = mean log(1 + exp(−y_m a (s_m − b))),  y = 1 genuine, −1 impostor

"partial_auc" compares every genuine pair with the hardest impostor pairs of the batch,
the share h of them, as the curve left of FPR = h does (Narasimhan and Agarwal 2013):

    L = mean_{genuine g, hard impostor n} log(1 + exp(a (s_n − s_g))),  a fixed

The soft mask has a slope in t and is what is differentiated. Reverse mode goes through
the checkpointed scan; forward mode carries one tangent a variable, at a memory that
does not depend on T.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gfa_jax import numerics
from gfa_jax.affinity import Mask, Weighting
from gfa_jax.aggregation import Graph, aggregate
from gfa_jax.types import Neighbors, Params, Scalar

Loss = Literal["logistic", "partial_auc"]
Differentiation = Literal["reverse", "forward"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
DIFFERENTIATIONS: tuple[Differentiation, ...] = get_args(Differentiation)

# Where the logistic loss starts: cosines .05 from the center are a factor e in odds.
# It is also the fixed scale of the partial AUC, whose own would grow for ever.
_SCALE, _CENTER = 20.0, 0.4


class Variables(NamedTuple):
    """θ: what the optimizer moves, each any real number.

    Attributes:
        gamma: [] logit of gamma.
        threshold: [] t itself.
        temperature: [] softplus⁻¹ of the temperature before annealing.
        exponent: [] softplus⁻¹ of the exponent.
        scale: [] softplus⁻¹ of the scale a of the logistic loss.
        center: [] cosine b at which a pair is as likely genuine as not.
    """

    gamma: jax.Array
    threshold: jax.Array
    temperature: jax.Array
    exponent: jax.Array
    scale: jax.Array
    center: jax.Array


class TuneState(NamedTuple):
    """What one step hands to the next.

    Attributes:
        variables: θ.
        optimizer: state of the optax optimizer.
    """

    variables: Variables
    optimizer: Any


class Objective(NamedTuple):
    """The static choices of the loss; hashable.

    Attributes:
        num_updates: T >= 1.
        loss: one of `LOSSES`.
        hardest: share h in (0, 1] of the impostor pairs that count as hard.
        differentiation: "reverse" keeps one [N, D] array an update; "forward" needs
            memory that does not depend on T, and time for each of the six variables.
        weighting: see `aggregate`.
        graph: see `aggregate`.
        include_self: see `aggregate`.
        renormalize: see `aggregate`.
    """

    num_updates: int = 4
    loss: Loss = "logistic"
    hardest: float = 0.1
    differentiation: Differentiation = "reverse"
    weighting: Weighting = "affinity"
    graph: Graph = "fixed"
    include_self: bool = True
    renormalize: bool = True


def check_objective(objective: Objective) -> None:
    """Refuses choices that no loss has.

    Args:
        objective: see its class; the options of `aggregate` are checked there.

    Raises:
        ValueError: what was got, what was expected.
    """
    if objective.num_updates < 1:
        raise ValueError(f"num_updates is {objective.num_updates}; expected 1 or more")
    if objective.loss not in LOSSES:
        raise ValueError(
            f"loss is {objective.loss!r}; expected one of {', '.join(LOSSES)}"
        )
    if not 0 < objective.hardest <= 1:
        raise ValueError(f"hardest is {objective.hardest}; expected a share in (0, 1]")
    if objective.differentiation not in DIFFERENTIATIONS:
        raise ValueError(
            f"differentiation is {objective.differentiation!r}; expected one of "
            f"{', '.join(DIFFERENTIATIONS)}"
        )


def init(params: Params, *, optimizer: Any, dtype: Any = jnp.float32) -> TuneState:
    """Starts the learning at the parameters given.

    Args:
        params: gamma in (0, 1), temperature and exponent > 0.
        optimizer: an optax GradientTransformation.
        dtype: floating dtype of the variables, that of the features.

    Returns:
        TuneState.

    Raises:
        ValueError: a parameter at which σ⁻¹ or softplus⁻¹ has no value.
    """
    gamma, threshold, temperature, exponent = map(float, params)
    if not (0 < gamma < 1 and temperature > 0 and exponent > 0):
        raise ValueError(
            f"gamma is {gamma:g}, temperature {temperature:g}, exponent {exponent:g}; "
            "expected a start with gamma inside (0, 1) and the others above 0"
        )
    variables = Variables(
        *(
            jnp.asarray(value, dtype)
            for value in (
                math.log(gamma / (1 - gamma)),
                threshold,
                _inverse_softplus(temperature),
                _inverse_softplus(exponent),
                _inverse_softplus(_SCALE),
                _CENTER,
            )
        )
    )
    return TuneState(variables, optimizer.init(variables))


def constrain(variables: Variables, *, sharpness: Scalar = 1.0) -> Params:
    """Maps θ to parameters: gamma in (0, 1), temperature and exponent > 0.

    Args:
        variables: θ.
        sharpness: [] number >= 1 that divides the temperature.

    Returns:
        Params.
    """
    return Params(
        jax.nn.sigmoid(variables.gamma),
        variables.threshold,
        jax.nn.softplus(variables.temperature) / sharpness,
        jax.nn.softplus(variables.exponent),
    )


@functools.partial(jax.jit, static_argnames=("optimizer", "objective"))
def update(
    state: TuneState,
    features: jax.Array,
    indices: jax.Array,
    genuine: jax.Array,
    impostor: jax.Array,
    *,
    sharpness: Scalar,
    optimizer: Any,
    objective: Objective,
) -> tuple[TuneState, jax.Array]:
    """Makes one step: θ ← θ + optimizer(∂L/∂θ).

    Args:
        state: θ and the optimizer's state.
        features: [N, D] floating unit rows.
        indices: [N, K] int32 candidates.
        genuine: [G, 2] integer rows of genuine pairs.
        impostor: [M, 2] integer rows of impostor pairs.
        sharpness: [] number >= 1 that divides the temperature.
        optimizer: an optax GradientTransformation.
        objective: static choices.

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
    )
    changes, optimizer_state = optimizer.update(
        gradient, state.optimizer, state.variables
    )
    moved = jax.tree.map(jnp.add, state.variables, changes)
    return TuneState(moved, optimizer_state), loss


def loss_and_gradient(
    variables: Variables,
    features: jax.Array,
    indices: jax.Array,
    genuine: jax.Array,
    impostor: jax.Array,
    *,
    sharpness: Scalar,
    objective: Objective,
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
            features, indices, pairs, params, mask="soft", objective=objective
        )
        return pair_loss(
            scores[: len(genuine)],
            scores[len(genuine) :],
            variables,
            objective=objective,
        )

    if objective.differentiation == "reverse":
        return jax.value_and_grad(loss)(variables)
    return _value_and_forward_gradient(loss, variables)


def pair_scores(
    features: jax.Array,
    indices: jax.Array,
    pairs: jax.Array,
    params: Params,
    *,
    mask: Mask,
    objective: Objective,
) -> jax.Array:
    """Evaluates s_m = F_i · F_j of the refined features.

    Args:
        features: [N, D] floating unit rows.
        indices: [N, K] int32 candidates.
        pairs: [M, 2] integer rows.
        params: of the aggregation.
        mask: "soft" or "hard".
        objective: T and the options of `aggregate`.

    Returns:
        [M] floating scores.
    """
    refined = aggregate(
        features,
        Neighbors(indices, jnp.zeros(indices.shape, features.dtype)),
        params,
        num_steps=objective.num_updates,
        mask=mask,
        weighting=objective.weighting,
        graph=objective.graph,
        include_self=objective.include_self,
        renormalize=objective.renormalize,
    ).features
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
        objective: loss and hardest are read.

    Returns:
        [] loss; genuine and impostor pairs weigh the same in all.
    """
    if objective.loss == "logistic":
        scale = jax.nn.softplus(variables.scale)
        rejects = jax.nn.softplus(-scale * (genuine - variables.center))
        accepts = jax.nn.softplus(scale * (impostor - variables.center))
        return (jnp.mean(rejects) + jnp.mean(accepts)) / 2
    count = max(1, round(objective.hardest * len(impostor)))
    hard, _ = jax.lax.top_k(impostor, count)
    return jnp.mean(jax.nn.softplus(_SCALE * (hard[:, None] - genuine[None, :])))


def _value_and_forward_gradient(
    function: Callable[[Variables], jax.Array], variables: Variables
) -> tuple[jax.Array, Variables]:
    """Evaluates a function and its gradient by one tangent a variable."""
    flat, restore = ravel_pytree(variables)

    def along(tangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(lambda x: function(restore(x)), (flat,), (tangent,))

    value, gradient = jax.vmap(along, out_axes=(None, 0))(
        jnp.eye(len(flat), dtype=flat.dtype)
    )
    return value, restore(gradient)


def _inverse_softplus(value: float) -> float:
    return value + math.log(-math.expm1(-value))
