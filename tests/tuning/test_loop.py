"""Learning through the iterations: gradients by two modes, gains, and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.tuning import Validation, losses, tune
from gfa_jax.tuning.objective import (
    LOSSES,
    Objective,
    Variables,
    constrain,
    init,
    loss_and_gradient,
    pair_loss,
    pair_scores,
    update,
)
from tests.conftest import X64

FAST = optax.adam(0.1)  # one for all, since each is compiled anew
START = gfa.Params(0.5, 0.4, 0.05, 3.0)
# Of rows that are not pooled.
VARIABLES = tuple(name for name in Variables._fields if name != "power")


def pairs_among(labels, members, rng, *, num_impostor):
    """All genuine pairs of some rows, and random impostor pairs."""
    first, second = (members[side] for side in np.triu_indices(len(members), 1))
    same = labels[first] == labels[second]
    impostor = rng.permutation(np.flatnonzero(~same))[:num_impostor]
    chosen = np.concatenate([np.flatnonzero(same), impostor])
    return np.stack([first, second], axis=1)[chosen], same[chosen]


class Problem:
    """A pool, its candidates, and pairs of two disjoint sets of identities."""

    def __init__(self, num_rows=400, dim=16, seed=0):
        rng = np.random.default_rng(seed)
        sample = datasets.synthetic_features(
            num_rows=num_rows, dim=dim, seed=seed, max_size=20, junk_share=0.0
        )
        dtype = np.float64 if X64 else np.float32
        self.features = sample.features.astype(dtype)
        self.labels = sample.labels
        self.neighbors = gfa.exact_neighbors(self.features, k=8)
        people = rng.permutation(np.unique(self.labels))
        teaches = np.isin(self.labels, people[: len(people) // 2])
        self.training, self.validation = (
            pairs_among(self.labels, np.flatnonzero(part), rng, num_impostor=3000)
            for part in (teaches, ~teaches)
        )

    def tune(self, **options):
        options = {"init_params": START, "num_steps": 20, "batch_size": 512} | options
        return tune(self.features, self.neighbors, *self.training, **options)


@pytest.fixture(scope="module")
def problem():
    return Problem()


def gradient_at(problem, objective, sharpness=1.0):
    pairs, same = problem.training
    state = init(
        START,
        optimizer=optax.sgd(0.1),
        dtype=problem.features.dtype,
        objective=objective,
    )
    return loss_and_gradient(
        state.variables,
        jnp.asarray(problem.features),
        jnp.asarray(problem.neighbors.indices),
        pairs[same][:100],
        pairs[~same][:300],
        sharpness=sharpness,
        objective=objective,
    )


# --- the objective --------------------------------------------------------------------


@pytest.mark.skipif(not X64, reason="1e-6 needs float64")
@pytest.mark.parametrize(
    ("loss", "graph", "per_step"),
    [
        ("logistic", "fixed", False),
        ("partial_auc", "rescore", True),
        ("contrastive", "fixed", True),
    ],
)
def test_forward_mode_equals_reverse_mode(problem, loss, graph, per_step):
    (value, reverse), (forward_value, forward) = (
        gradient_at(
            problem,
            Objective(
                loss=loss,
                graph=graph,
                per_step=per_step,
                differentiation=mode,
                num_updates=3,
            ),
        )
        for mode in ("reverse", "forward")
    )
    assert forward_value == pytest.approx(float(value), rel=1e-12)
    assert reverse.gamma.shape == ((3,) if per_step else ())
    assert reverse.threshold.shape == ((3,) if graph == "rescore" else ())
    for name in VARIABLES:
        slope = getattr(reverse, name)
        np.testing.assert_allclose(
            getattr(forward, name), slope, rtol=1e-6, atol=1e-12, err_msg=name
        )
    # Each number that is learnt has a slope.
    assert all(np.all(slope != 0) for slope in reverse[:4])


@pytest.mark.skipif(not X64, reason="differences need float64")
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_equals_finite_differences(problem, loss):
    objective = Objective(loss=loss, num_updates=3)
    pairs, same = problem.training
    state = init(START, optimizer=optax.sgd(0.1), dtype=np.float64)

    @jax.jit
    def value(variables):
        return loss_and_gradient(
            variables,
            jnp.asarray(problem.features),
            jnp.asarray(problem.neighbors.indices),
            pairs[same][:100],
            pairs[~same][:300],
            sharpness=2.0,
            objective=objective,
        )[0]

    _, gradient = gradient_at(problem, objective, sharpness=2.0)
    step = 1e-6
    for name in VARIABLES:
        here = getattr(state.variables, name)
        high, low = (
            value(state.variables._replace(**{name: here + sign * step}))
            for sign in (1, -1)
        )
        # Central differences err by step² and by rounding / step.
        np.testing.assert_allclose(
            getattr(gradient, name), (high - low) / (2 * step), rtol=1e-5, atol=1e-8
        )


def test_the_memory_of_forward_mode_does_not_grow_with_the_updates(problem):
    def temporaries(mode, num_updates):
        objective = Objective(num_updates=num_updates, differentiation=mode)
        optimizer = optax.sgd(0.1)
        state = init(START, optimizer=optimizer, dtype=problem.features.dtype)
        pairs = np.zeros((8, 2), np.int32)
        analysis = (
            update.lower(
                state,
                jnp.asarray(problem.features),
                jnp.asarray(problem.neighbors.indices),
                pairs,
                pairs,
                sharpness=1.0,
                optimizer=optimizer,
                objective=objective,
            )
            .compile()
            .memory_analysis()
        )
        assert analysis is not None
        return analysis.temp_size_in_bytes

    # Reverse mode keeps one [N, D] array an update; forward mode a few numbers.
    grown = {m: temporaries(m, 40) - temporaries(m, 4) for m in ("reverse", "forward")}
    assert grown["reverse"] >= 36 * problem.features.nbytes
    assert abs(grown["forward"]) < 0.5 * problem.features.nbytes


def test_losses_equal_their_formulas(rng):
    genuine, impostor = rng.normal(0.6, 0.2, 30), rng.normal(0.2, 0.2, 50)
    variables = init(START, optimizer=optax.sgd(0.1)).variables
    a, b = 20.0, 0.4
    margins = np.concatenate([a * (genuine - b), -a * (impostor - b)])
    terms = np.log1p(np.exp(-margins))
    got = pair_loss(
        jnp.asarray(genuine), jnp.asarray(impostor), variables, objective=Objective()
    )
    # float32 inputs
    assert float(got) == pytest.approx(
        (terms[:30].mean() + terms[30:].mean()) / 2, rel=1e-5
    )

    u_genuine, u_impostor = (
        -np.log(1e-3 + np.maximum(1 - x, 0)) for x in (genuine, impostor)
    )
    # Shares .1 to .2 of 50, by the logarithm of the rank.
    hard = np.sort(u_impostor)[::-1][[5, 6, 7, 8, 9]]
    want = np.mean(1 / (1 + np.exp(-5 * (hard[:, None] - u_genuine[None, :]))))
    objective = Objective(loss="partial_auc", spared=0.1, hardest=0.2)
    got = pair_loss(
        jnp.asarray(genuine), jnp.asarray(impostor), variables, objective=objective
    )
    assert float(got) == pytest.approx(want, rel=1e-5)

    # Hadsell et al. with distances of unit rows, d² = 2 − 2 s.
    apart = np.sqrt(2 - 2 * np.minimum(impostor, 1))
    want = np.mean(1 - genuine) + np.mean(np.maximum(0.9 - apart, 0) ** 2) / 2
    objective = Objective(loss="contrastive", margin=0.9)
    got = pair_loss(
        jnp.asarray(genuine), jnp.asarray(impostor), variables, objective=objective
    )
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
        jax.grad(lambda s: losses.contrastive(ones, s, margin=1.0))(ones),
    ):
        assert np.all(np.isfinite(np.array(gradient)))


def test_parameters_survive_the_change_of_variables():
    variables = init(START, optimizer=optax.sgd(0.1)).variables
    for sharpness in (1.0, 4.0):
        params = constrain(variables, sharpness=sharpness)
        want = START._replace(temperature=START.temperature / sharpness)
        np.testing.assert_allclose(np.array(params), np.array(want), rtol=1e-5)
    for bad in (START._replace(gamma=1.0), START._replace(exponent=0.0)):
        with pytest.raises(ValueError, match="expected a start with gamma inside"):
            init(bad, optimizer=optax.sgd(0.1))


# --- the loop -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_learning_lowers_the_loss_and_lifts_held_out_pairs(problem, loss):
    bad = gfa.Params(0.05, 0.9, 0.05, 1.0)
    result = problem.tune(
        init_params=bad._replace(threshold=0.85),
        objective=Objective(loss=loss, per_step=loss == "contrastive"),
        validation=problem.validation,
        identities=problem.labels,
        num_steps=60,
        optimizer=FAST,
    )
    loss, score = result.history.loss, result.history.score
    assert loss[-10:].mean() < 0.9 * loss[:5].mean()
    assert result.hard_score == score.max() > score[0] + 0.01
    assert result.history.validated[np.argmax(score)] == result.step
    assert np.all(result.params.gamma > bad.gamma)
    # What the bracket loses against the annealed sigmoid, in a mean TPR.
    assert abs(result.gap) < 0.01
    np.testing.assert_allclose(result.history.params[0][0], bad.gamma)


def test_the_kept_score_is_the_mean_tpr_left_of_the_hardest_share(problem):
    result = problem.tune(validation=problem.validation, num_steps=4)
    pairs, same = problem.validation
    objective = Objective()
    scores = np.asarray(
        pair_scores(
            jnp.asarray(problem.features),
            jnp.asarray(problem.neighbors.indices),
            pairs,
            result.params,
            mask="hard",
            objective=objective,
        )
    )
    hard = np.sort(scores[~same])[::-1][: round(0.1 * np.count_nonzero(~same))]
    order = np.sign(scores[same][:, None] - hard[None, :])
    assert result.hard_score == pytest.approx(np.mean(order + 1) / 2, abs=1e-6)


def test_annealing_closes_the_gap_between_soft_and_hard(problem):
    gaps = []
    for final_sharpness in (1.0, 100.0):
        result = problem.tune(
            init_params=START._replace(temperature=0.2),
            final_sharpness=final_sharpness,
        )
        assert result.step == 20
        gaps.append(abs(result.gap))
    assert gaps[1] <= gaps[0]
    assert gaps[1] < 2e-3


def test_it_stops_early_and_keeps_the_best(problem):
    result = problem.tune(
        validation=problem.validation,
        optimizer=optax.sgd(0.0),
        validate_every=2,
        patience=3,
    )
    assert result.step == 0
    assert "nothing better from step 0 to step 6" in result.stopped
    assert result.params == pytest.approx(START)
    np.testing.assert_array_equal(result.history.validated, [0, 2, 4, 6])


def test_a_gain_below_the_noise_is_none(problem):
    scores = [0.5, 0.503, 0.506, 0.52, 0.524, 0.0]

    def tuned(min_gain):
        left = iter(scores)
        return problem.tune(
            validate=lambda refined: Validation(next(left)),
            num_steps=4,
            validate_every=1,
            min_gain=min_gain,
        )

    assert [tuned(gain).step for gain in (0.0, 0.005, 0.02, 0.1)] == [4, 3, 4, 0]


def test_a_loss_that_is_not_finite_stops_it_with_the_last_good_parameters(problem):
    def poison(updates, state, params=None):
        nan = jax.tree.map(lambda u: jnp.where(state >= 3, jnp.nan, 0 * u), updates)
        return nan, state + 1

    optimizer = optax.GradientTransformation(lambda params: jnp.array(0), poison)
    result = problem.tune(optimizer=optimizer)
    assert "step 3" in result.stopped
    assert "not finite" in result.stopped
    assert result.step == 3
    assert result.params.gamma == pytest.approx(START.gamma, rel=1e-5)
    assert np.all(np.isfinite(np.array(result.params)))
    assert len(result.history.loss) == 3


def test_the_same_seed_gives_the_same_bits_and_progress_is_shown(problem):
    seen = []

    def progress(iterable, *, total, desc):
        seen.append((total, desc))
        return iterable

    first = problem.tune(seed=3)
    second = problem.tune(seed=3, progress=progress)
    other = problem.tune(seed=4)
    assert seen == [(20, "tuning")]
    assert first.params == second.params
    np.testing.assert_array_equal(first.history.loss, second.history.loss)
    assert first.params != other.params


def test_repeated_pairs_are_left_out_and_counted(problem):
    pairs, same = problem.training
    again = np.concatenate([pairs, pairs[:7, ::-1]]), np.concatenate([same, same[:7]])
    run = functools.partial(
        tune, problem.features, problem.neighbors, init_params=START, num_steps=3
    )
    once, twice = run(pairs, same), run(*again)
    assert (once.num_repeated, twice.num_repeated) == (0, 7)
    assert once.params == twice.params


def test_real_pairs_are_not_made_worse(real_data):
    data = real_data("cfp_dev.npz")
    labels = data["labels"]
    people = np.unique(labels)
    rows = np.isin(labels, people[:60])
    features, labels = data["features"][rows], labels[rows]
    rng = np.random.default_rng(0)
    training, validation = (
        pairs_among(labels, np.flatnonzero(part), rng, num_impostor=20_000)
        for part in (np.isin(labels, people[:40]), np.isin(labels, people[40:60]))
    )
    result = tune(
        features,
        gfa.exact_neighbors(features, k=10),
        *training,
        init_params=gfa.Params(0.5, 0.45),
        num_steps=30,
        validation=validation,
        identities=labels,
    )
    scores = metrics.pair_scores(features, validation[0])
    raw = metrics.roc_curve(scores, validation[1])
    assert result.hard_score >= result.history.score[0]
    assert result.hard_score > np.interp(np.linspace(0, 0.1), raw.fpr, raw.tpr).mean()
