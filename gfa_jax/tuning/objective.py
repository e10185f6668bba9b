"""The loss of a batch of pairs in the parameters of `aggregate`, and one step down it.

    minimise over θ:  E_batch L(s, same),   s_m = F_i(θ) · F_j(θ),  F(θ) = aggregate(…)

θ is unconstrained: gamma = σ(θ_γ), temperature and exponent = softplus(θ), threshold as
it is; of rows that are pooled from frames (frames.py) the power too, by softplus. L is
one of losses.py. A parameter that starts as [T] is learnt for each update. The soft
mask has a slope in t and is what is differentiated, by reverse mode through the
checkpointed scan: one [N, D] array an update is kept.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
from gfa_jax.types import (
    DEFAULT,
    Mask,
    Neighbors,
    Options,
    Params,
    Scalar,
    check_integer,
    check_number,
)

# Where the logistic loss starts: cosines .05 from the center are a factor e in odds.
_SCALE, _CENTER = 20.0, 0.4
# Of `scaled_adam`. A few dozen steps are made in all: the usual 0.999 would remember
# the first of them.
_THRESHOLD_SCALE, _LAST_RATE = 0.1, 0.2
_FIRST_DECAY, _SECOND_DECAY = 0.8, 0.95


class Variables(NamedTuple):
    """θ: what the optimizer moves, each any real number."""

    gamma: jax.Array  # [] or [T] logit of gamma
    threshold: jax.Array  # [] or [T] t itself
    temperature: jax.Array  # [] softplus⁻¹ of the temperature before annealing
    exponent: jax.Array  # [] softplus⁻¹ of the exponent
    scale: jax.Array  # [] softplus⁻¹ of the scale a of the logistic loss
    center: jax.Array  # [] cosine b at which a pair is as likely genuine as not
    power: jax.Array | None = None  # [] softplus⁻¹ of the power, where rows are pooled


class Objective(NamedTuple):
    """The static choices of the loss; hashable."""

    num_steps: int = 4  # T >= 1, updates of the aggregation
    loss: losses.Loss = "logistic"
    # Shares of the impostor pairs of a batch, the highest first, between which the
    # partial AUC compares: 0 <= fpr_low < fpr_high <= 1.
    fpr_low: float = 0.0
    fpr_high: float = 0.1
    # Of `aggregate`. The mask is the one with which the result is to be used, and so
    # what chooses: "soft" as learnt, or the "hard" bracket, to which `tune` anneals.
    options: Options = DEFAULT


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


def check_objective(objective: Objective) -> None:
    """Refuses choices that no loss has; `Options` checks its own."""
    check_integer("num_steps", objective.num_steps, least=1)
    check_number("fpr_low", objective.fpr_low, 0.0, 1.0)
    check_number("fpr_high", objective.fpr_high, 0.0, 1.0)
    if objective.loss not in losses.LOSSES:
        raise ValueError(
            f"loss is {objective.loss!r}; expected one of {', '.join(losses.LOSSES)}"
        )
    if not objective.fpr_low < objective.fpr_high:
        raise ValueError(
            f"fpr_low is {objective.fpr_low} and fpr_high {objective.fpr_high}; "
            "expected 0 <= fpr_low < fpr_high <= 1"
        )


def unconstrain(params: AnyParams, *, dtype: Any = jnp.float32) -> Variables:
    """Maps parameters to θ of a floating dtype, that of the features.

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
    return Variables(*(jnp.asarray(value, dtype) for value in values))


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
    moved = jax.tree.map(jnp.add, state.variables, changes)
    return TuneState(moved, optimizer_state), loss


def loss_and_gradient(
    variables: Variables,
    batch: Batch,
    *,
    temperature_ratio: Scalar = 1.0,
    objective: Objective,
) -> tuple[jax.Array, Variables]:
    """Evaluates the [] loss L and ∂L/∂θ, which is zero for what L does not read."""
    pairs = jnp.concatenate([batch.genuine, batch.impostor])

    def loss(variables: Variables) -> jax.Array:
        refined = refine(
            batch.features,
            batch.indices,
            constrain(variables, temperature_ratio=temperature_ratio),
            mask="soft",
            objective=objective,
            reverse=batch.reverse,
        )
        scores = numerics.dot("md,md->m", refined[pairs[:, 0]], refined[pairs[:, 1]])
        genuine, impostor = jnp.split(scores, [len(batch.genuine)])
        if objective.loss == "logistic":
            scale = jax.nn.softplus(variables.scale)
            return losses.logistic(
                genuine, impostor, scale=scale, center=variables.center
            )
        if objective.loss == "contrastive":
            return losses.contrastive(genuine, impostor)
        band = objective.fpr_low, objective.fpr_high
        return losses.partial_auc(genuine, impostor, band=band)

    return jax.value_and_grad(loss)(variables)


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


@functools.cache
def scaled_adam(learning_rate: float = 0.15, max_iterations: int = 200) -> Any:
    """Makes Adam with a tenth of the rate for t, and a rate that falls to a fifth.

    θ ← θ − η_s D m̂ / (√v̂ + ε),  D = 0.1 for the threshold, 1 for everything else

    A threshold that moves by 0.1 changes as much as a gamma whose odds, or an exponent
    that, change by a factor e.

    Args:
        learning_rate: η_0 >= 0.
        max_iterations: after which η is a fifth of that; it falls linearly.

    Returns:
        An optax GradientTransformation of `Variables`; the same object for the same
        arguments, so that a second call of `tune` compiles nothing.
    """
    import optax

    def scale(updates, params=None):
        del params
        return updates._replace(threshold=_THRESHOLD_SCALE * updates.threshold)

    schedule = optax.linear_schedule(
        learning_rate, _LAST_RATE * learning_rate, max_iterations
    )
    return optax.chain(
        optax.scale_by_adam(b1=_FIRST_DECAY, b2=_SECOND_DECAY),
        optax.stateless(scale),
        optax.scale_by_learning_rate(schedule),
    )
