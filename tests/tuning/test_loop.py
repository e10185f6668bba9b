"""Learning through the iterations: what is kept, what it says, and gains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.tuning import Objective, Validation, scaled_adam, tune
from gfa_jax.tuning.losses import LOSSES
from gfa_jax.tuning.objective import unconstrain
from tests.conftest import X64
from tests.problems import recorded

SOFT = gfa.Options(mask="soft")
FAST = optax.adam(0.1)  # one for all, since each is compiled anew
START = gfa.Params(0.5, 0.4, 0.05, 3.0)


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

    def tune(self, pairs=None, **options):
        options = {
            "init_params": START,
            "validation": self.validation,
            "max_iterations": 20,
            "batch_size": 512,
        } | options
        pairs = self.training if pairs is None else pairs
        return tune(self.features, self.neighbors, *pairs, **options)


@pytest.fixture(scope="module")
def problem():
    return Problem()


@pytest.mark.parametrize("loss", LOSSES)
def test_learning_lowers_the_loss_and_lifts_held_out_pairs(problem, loss):
    bad = gfa.Params(0.05, 0.85, 0.05, 1.0)
    result = problem.tune(
        init_params=bad,
        objective=Objective(loss=loss),
        identities=problem.labels,
        max_iterations=60,
        optimizer=FAST,
    )
    loss, score = result.history.loss, result.history.score
    assert loss[-10:].mean() < 0.9 * loss[:5].mean()
    assert result.hard_score == score.max() > score[0] + 0.01
    assert result.history.validated[np.argmax(score)] == result.step
    assert np.all(result.params.gamma > bad.gamma)
    # What the bracket loses against the annealed sigmoid, in a mean TPR.
    assert abs(result.soft_score - result.hard_score) < 0.01
    np.testing.assert_allclose(result.history.params[0][0], bad.gamma)


def test_the_kept_score_is_the_mean_tpr_left_of_the_hardest_share(problem):
    result = problem.tune(max_iterations=4)
    pairs, same = problem.validation
    refined = gfa.aggregate(
        problem.features, problem.neighbors, result.params, num_steps=4
    ).features
    scores = metrics.pair_scores(np.asarray(refined), pairs)
    hard = np.sort(scores[~same])[::-1][: round(0.1 * np.count_nonzero(~same))]
    order = np.sign(scores[same][:, None] - hard[None, :])
    assert result.hard_score == pytest.approx(np.mean(order + 1) / 2, abs=1e-6)


def test_annealing_closes_the_gap_between_soft_and_hard(problem):
    gaps = []
    for final_temperature_ratio in (1.0, 0.01):
        seen = []

        def validate(refined, seen=seen):
            seen.append(refined)
            return Validation(len(seen))

        problem.tune(
            init_params=START._replace(temperature=0.2),
            final_temperature_ratio=final_temperature_ratio,
            validation=validate,
            validate_every=20,
        )
        _, hard, soft = seen  # the start, the last step, and that by the other mask
        gaps.append(np.mean(np.linalg.norm(hard - soft, axis=1)))
    assert gaps[1] < 0.1 * gaps[0]


def test_it_stops_early_and_keeps_the_best(problem):
    result = problem.tune(optimizer=optax.sgd(0.0), validate_every=1)
    assert result.step == 0
    assert "nothing better from step 0 to step 10" in result.stopped
    assert result.params == pytest.approx(START)
    np.testing.assert_array_equal(result.history.validated, np.arange(11))


def test_a_gain_below_the_noise_is_none(problem):
    scores = [0.5, 0.503, 0.506, 0.52, 0.524, 0.0]

    def tuned(min_gain):
        left = iter(scores)
        return problem.tune(
            validation=lambda refined: Validation(next(left)),
            max_iterations=4,
            validate_every=1,
            min_gain=min_gain,
        )

    assert [tuned(gain).step for gain in (0.0, 0.005, 0.02, 0.1)] == [4, 3, 4, 0]


def test_a_loss_that_is_not_finite_stops_it_with_the_last_good_parameters(problem):
    def poison(updates, state, params=None):
        nan = jax.tree.map(lambda u: jnp.where(state >= 3, jnp.nan, 0 * u), updates)
        return nan, state + 1

    rising = iter(range(9))
    result = problem.tune(
        optimizer=optax.GradientTransformation(lambda params: jnp.array(0), poison),
        validation=lambda refined: Validation(next(rising)),
        validate_every=1,
    )
    assert "step 3" in result.stopped
    assert "not finite" in result.stopped
    assert result.step == 3
    assert result.params.gamma == pytest.approx(START.gamma, rel=1e-5)
    assert np.all(np.isfinite(np.array(result.params)))
    assert len(result.history.loss) == 3


def test_the_same_seed_gives_the_same_bits_and_progress_is_shown(problem):
    seen, progress = recorded()
    pairs, same = problem.training
    # A pair that repeats another one counts once.
    again = np.concatenate([pairs, pairs[:7, ::-1]]), np.concatenate([same, same[:7]])
    first = problem.tune(seed=3)
    second = problem.tune(again, seed=3, progress=progress)
    other = problem.tune(seed=4)
    assert seen == [(20, "tuning")]
    assert first.params == second.params
    np.testing.assert_array_equal(first.history.loss, second.history.loss)
    assert not np.array_equal(first.history.loss, other.history.loss)


def test_the_best_start_is_descended_from(problem):
    starts = [START._replace(threshold=t) for t in (0.95, 0.4, 0.9)]
    options = {"max_iterations": 2, "optimizer": FAST}
    result = problem.tune(init_params=starts, **options)
    scores = result.history.start_score
    assert scores.argmax() == 1
    alone = problem.tune(init_params=starts[1], **options)
    assert alone.history.start_score.tolist() == [scores[1]]
    assert alone.params == result.params
    np.testing.assert_array_equal(alone.history.loss, result.history.loss)

    # Without steps it is a search among them.
    chosen = problem.tune(init_params=starts, max_iterations=0)
    assert chosen.params == pytest.approx(starts[1])
    assert (chosen.step, chosen.hard_score) == (0, scores[1])


def test_a_function_chooses_by_any_score_and_hands_over_hard_pairs(problem):
    pairs, same = problem.training
    genuine, impostor = pairs[same], pairs[~same]
    options = {
        "max_iterations": 8,
        "validate_every": 2,
        "batch_size": 2 * len(genuine),
        "optimizer": FAST,
    }
    seen = []

    def validate(refined):
        assert refined.shape == problem.features.shape
        np.testing.assert_allclose(np.linalg.norm(refined, axis=1), 1, rtol=1e-5)
        scores = np.einsum("md,md->m", *(refined[side] for side in impostor.T))
        seen.append(impostor[np.argsort(scores)[-50:]])
        return Validation(float(len(seen) == 3), seen[-1])

    result = problem.tune(validation=validate, **options)
    # Start, 2, 4, 6, 8, and the soft mask at the end.
    np.testing.assert_array_equal(result.history.validated, [0, 2, 4, 6, 8])
    assert len(seen) == 6
    assert result.step == 4  # the third evaluation was told to be best
    assert result.history.score.tolist() == [0, 0, 1, 0, 0]
    assert (result.hard_score, result.soft_score) == (1.0, 0.0)

    # The same as learning from the pairs that the first evaluation listed, for two
    # steps.
    listed = np.concatenate([genuine, seen[0]])
    fixed = problem.tune((listed, np.arange(len(listed)) < len(genuine)), **options)
    np.testing.assert_allclose(fixed.history.loss[:2], result.history.loss[:2], 1e-5)

    with pytest.raises(ValueError, match="validation's pairs hold rows"):
        problem.tune(validation=lambda refined: Validation(0.0, np.array([[0, 400]])))


def test_every_update_learns_its_own(problem):
    objective = Objective(num_steps=3, options=gfa.Options(graph="rescore"))
    each = START._replace(gamma=np.full(3, 0.5), threshold=np.full(3, 0.4))
    rising = iter(range(9))
    result = problem.tune(
        init_params=each,
        objective=objective,
        optimizer=FAST,
        max_iterations=5,
        validation=lambda refined: Validation(next(rising)),
    )
    assert result.step == 5
    gamma, threshold, temperature, exponent = result.params
    assert np.shape(gamma) == np.shape(threshold) == (3,)
    assert np.shape(temperature) == np.shape(exponent) == ()
    assert np.ptp(gamma) > 0
    assert np.ptp(threshold) > 0
    assert result.history.params.shape == (5, 3 + 3 + 1 + 1)
    # What comes out goes into `aggregate`, and starts another tuning.
    gfa.aggregate(
        problem.features,
        problem.neighbors,
        result.params,
        num_steps=objective.num_steps,
        options=objective.options,
    )
    again = problem.tune(
        init_params=result.params, objective=objective, max_iterations=0
    )
    np.testing.assert_array_equal(again.params.gamma, gamma)


def test_scaled_adam_moves_t_a_tenth_as_far_and_slows_down():
    optimizer = scaled_adam(0.5, 10)
    assert scaled_adam(0.5, 10) is optimizer
    variables = unconstrain(START)
    inside = optimizer.init(variables)
    for step in range(11):
        ones = jax.tree.map(np.ones_like, variables)
        changes, inside = optimizer.update(ones, inside, variables)
        if step in (0, 10):
            rate = 0.5 if step == 0 else 0.1
            assert float(changes.gamma) == pytest.approx(-rate, rel=1e-4)
            assert float(changes.threshold) == pytest.approx(-rate / 10, rel=1e-4)


def test_for_the_soft_mask_it_is_scored_softly_and_not_annealed(problem):
    result = problem.tune(objective=Objective(options=SOFT), optimizer=FAST)
    assert result.soft_score == result.history.score.max()
    still = problem.tune(
        objective=Objective(options=SOFT), optimizer=optax.sgd(0.0), max_iterations=3
    )
    np.testing.assert_allclose(still.history.params[:, 2], START.temperature, 1e-5)
