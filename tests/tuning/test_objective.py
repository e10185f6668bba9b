"""The loss of pairs: its gradient and its formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfa_jax.tuning import Objective, losses
from gfa_jax.tuning.losses import LOSSES
from gfa_jax.tuning.objective import (
    Batch,
    Variables,
    constrain,
    loss_and_gradient,
    unconstrain,
)
from tests.conftest import X64
from tests.tuning.test_loop import START, Problem

# Of rows that are not pooled.
VARIABLES = tuple(name for name in Variables._fields if name != "power")


@pytest.fixture(scope="module")
def problem():
    return Problem()


@pytest.mark.skipif(not X64, reason="differences need float64")
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_equals_finite_differences(problem, loss):
    variables = unconstrain(START, dtype=problem.features.dtype)
    pairs, same = problem.training
    batch = Batch(
        jnp.asarray(problem.features),
        jnp.asarray(problem.neighbors.indices),
        pairs[same][:100],
        pairs[~same][:300],
    )
    objective = Objective(loss=loss, num_steps=3)
    options = {"temperature_ratio": 0.5, "objective": objective}

    @jax.jit
    def value(variables):
        return loss_and_gradient(variables, batch, **options)[0]

    _, gradient = loss_and_gradient(variables, batch, **options)
    step = 1e-6
    for name in VARIABLES:
        here = getattr(variables, name)
        high, low = (
            value(variables._replace(**{name: here + sign * step})) for sign in (1, -1)
        )
        # Central differences err by step² and by rounding / step.
        np.testing.assert_allclose(
            getattr(gradient, name), (high - low) / (2 * step), rtol=1e-5, atol=1e-8
        )


def test_losses_equal_their_formulas(rng):
    genuine, impostor = rng.normal(0.6, 0.2, 30), rng.normal(0.2, 0.2, 50)
    margins = np.concatenate([20 * (genuine - 0.4), -20 * (impostor - 0.4)])
    terms = np.log1p(np.exp(-margins))
    logistic = (terms[:30].mean() + terms[30:].mean()) / 2

    u_genuine, u_impostor = (
        -np.log(1e-3 + np.maximum(1 - x, 0)) for x in (genuine, impostor)
    )
    # Shares .1 to .2 of 50, by the logarithm of the rank.
    hard = np.sort(u_impostor)[::-1][[5, 6, 7, 8, 9]]
    partial_auc = np.mean(1 / (1 + np.exp(-5 * (hard[:, None] - u_genuine[None, :]))))

    # Hadsell et al. with distances of unit rows, d² = 2 − 2 s.
    apart = np.sqrt(2 - 2 * np.minimum(impostor, 1))
    contrastive = np.mean(1 - genuine) + np.mean(np.maximum(1 - apart, 0) ** 2) / 2

    kinds = jnp.asarray(genuine), jnp.asarray(impostor)
    # float32 inputs
    for got, want in (
        (losses.logistic(*kinds, scale=jnp.array(20), center=jnp.array(0.4)), logistic),
        (losses.partial_auc(*kinds, band=(0.1, 0.2)), partial_auc),
        (losses.contrastive(*kinds), contrastive),
    ):
        assert float(got) == pytest.approx(want, rel=1e-5)


def test_the_partial_auc_is_one_minus_the_mean_tpr_of_its_band(rng):
    # Far apart, the sigmoid is a step, and the loss counts misses.
    genuine = np.array([0.0, 0.5, 0.9, 0.99])
    impostor = np.concatenate([[0.7, 0.2], rng.uniform(-0.9, -0.5, 8)])
    loss = losses.partial_auc(
        jnp.asarray(genuine), jnp.asarray(impostor), band=(0.0, 0.2)
    )
    tprs = [np.mean(genuine > x) for x in (0.7, 0.2)]
    assert float(loss) == pytest.approx(1 - np.mean(tprs), abs=0.06)
    # A band narrower than a pair is read at one pair; one past the end at the last.
    for band, at in (((0.0, 1e-6), 0.7), ((0.95, 1.0), impostor.min())):
        loss = losses.partial_auc(
            jnp.asarray(genuine), jnp.asarray(impostor), band=band
        )
        assert float(loss) == pytest.approx(1 - np.mean(genuine > at), abs=0.12)


def test_a_band_that_spares_some_is_read_by_the_logarithm_of_the_rank():
    # Genuine pairs pass all impostor pairs but the first two hundred.
    impostor = jnp.asarray(np.repeat([0.9, 0.0], [200, 1800]))
    genuine = jnp.asarray(np.full(10, 0.5))
    by_rank, by_logarithm = (
        float(losses.partial_auc(genuine, impostor, band=band))
        for band in ((0.0, 1.0), (0.01, 1.0))
    )
    assert by_rank == pytest.approx(0.1, abs=0.05)  # 200 of 2000
    assert by_logarithm == pytest.approx(0.5, abs=0.05)  # 20 to 200 of 20 to 2000


def test_scores_that_gather_near_one_still_have_a_slope():
    # Cosines .999 and .99: a fixed scale of cosines sees no difference.
    genuine, impostor = jnp.array([0.99]), jnp.array([0.999])
    loss, slope = jax.value_and_grad(
        lambda g: losses.partial_auc(g, impostor, band=(0.0, 1.0))
    )(genuine)
    assert float(loss) > 0.99
    assert -30 < float(slope[0]) < -1e-3
    # Copies of a row, and what rounding makes of them.
    ones = jnp.array([1.0, 1.0 + 1e-7])
    for gradient in (
        jax.grad(lambda s: losses.partial_auc(s, ones, band=(0.0, 1.0)))(ones),
        jax.grad(lambda s: losses.contrastive(ones, s))(ones),
    ):
        assert np.all(np.isfinite(np.array(gradient)))


def test_parameters_survive_the_change_of_variables():
    variables = unconstrain(START)
    for ratio in (1.0, 0.25):
        params = constrain(variables, temperature_ratio=ratio)
        want = START._replace(temperature=START.temperature * ratio)
        np.testing.assert_allclose(np.array(params), np.array(want), rtol=1e-5)
    for bad in (START._replace(gamma=1.0), START._replace(exponent=0.0)):
        with pytest.raises(ValueError, match="expected a start with gamma inside"):
            unconstrain(bad)
