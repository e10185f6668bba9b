"""Learning how frames are pooled, with the parameters of the aggregation after it."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfa_jax as gfa
from gfa_jax.tuning import Frames, Objective, PooledParams, Validation, tune
from gfa_jax.tuning.objective import Batch, loss_and_gradient, unconstrain
from tests.conftest import X64
from tests.tuning.test_loop import pairs_among

PEOPLE, VIDEOS, LENGTH, DIM = 30, 6, 5, 16
START = PooledParams(0.5, 0.4, 0.05, 3.0, 0.5)


class Videos:
    """Videos of people; of the frames of each, the short ones are the noisy ones."""

    def __init__(self):
        rng = np.random.default_rng(0)
        people = rng.normal(size=(PEOPLE, DIM))
        people /= np.linalg.norm(people, axis=1, keepdims=True)
        self.labels = np.repeat(np.arange(PEOPLE), VIDEOS)
        self.segments = np.repeat(np.arange(len(self.labels)), LENGTH)
        quality = rng.uniform(0.3, 1.5, len(self.segments))
        noise = rng.normal(size=(len(quality), DIM)) / np.sqrt(DIM)
        frames = people[self.labels[self.segments]] + noise * (1.5 / quality[:, None])
        frames *= (quality / np.linalg.norm(frames, axis=1))[:, None]
        self.frames = Frames(
            frames.astype(np.float64 if X64 else np.float32), self.segments
        )
        self.neighbors = gfa.exact_neighbors(self.pooled(1.0), k=8)
        self.pairs, self.same = pairs_among(
            self.labels, np.arange(len(self.labels)), rng, num_impostor=3000
        )

    def pooled(self, power):
        return gfa.pool(
            self.frames.features,
            self.segments,
            num_segments=len(self.labels),
            method="norm_power",
            power=power,
        )

    def tune(self, features=None, **options):
        rising = iter(range(9))
        options = {
            "init_params": START,
            "validation": lambda refined: Validation(next(rising)),
            "max_iterations": 20,
            "batch_size": 512,
        } | options
        features = self.frames if features is None else features
        return tune(features, self.neighbors, self.pairs, self.same, **options)


@pytest.fixture(scope="module")
def videos():
    return Videos()


@pytest.mark.skipif(not X64, reason="1e-6 needs float64")
def test_the_slope_in_the_power_is_that_of_finite_differences(videos):
    objective = Objective(num_steps=2)
    variables = unconstrain(START, dtype=np.float64)

    def evaluate(power):
        return loss_and_gradient(
            variables._replace(power=power),
            Batch(
                videos.frames,
                videos.neighbors.indices,
                videos.pairs[videos.same][:100],
                videos.pairs[~videos.same][:300],
            ),
            objective=objective,
        )

    power = variables.power
    assert power is not None
    slope = evaluate(power)[1].power
    assert slope is not None
    assert abs(float(slope)) > 1e-4
    step = 1e-5
    low, high = (float(evaluate(power + s)[0]) for s in (-step, step))
    # Central differences err by step² and by rounding / step.
    assert float(slope) == pytest.approx((high - low) / (2 * step), rel=1e-5)


def test_it_learns_to_count_the_clear_frames(videos):
    result = videos.tune(optimizer=optax.adam(0.2), max_iterations=25, batch_size=4096)
    assert isinstance(result.params, PooledParams)
    assert result.params.power > 2 * START.power
    assert result.history.params.shape == (25, 5)
    assert result.history.params[0, -1] == pytest.approx(START.power, rel=1e-5)
    assert result.history.loss[-1] < result.history.loss[0]


def test_what_is_scored_is_pooled_and_refined(videos):
    seen = []

    def validate(refined):
        seen.append(refined)
        return Validation(0.0)

    result = videos.tune(max_iterations=0, validation=validate)
    assert result.params == pytest.approx(START)
    want = gfa.aggregate(
        videos.pooled(START.power),
        videos.neighbors,
        gfa.Params(*START[:4]),
        num_steps=4,
    )
    # The first by the hard mask; float32 is normalised in another order.
    np.testing.assert_allclose(seen[0], want.features, atol=1e-5)


def test_bad_input_says_what_was_expected(videos):
    rows = jnp.asarray(videos.pooled(1.0))
    for features, start in ((rows, START), (videos.frames, gfa.Params(*START[:4]))):
        with pytest.raises(ValueError, match="expected PooledParams with Frames"):
            videos.tune(features, init_params=start)
    with pytest.raises(ValueError, match="one kind"):
        videos.tune(init_params=[START, gfa.Params(*START[:4])])
    with pytest.raises(ValueError, match=r"power 0\.0; expected a start"):
        videos.tune(init_params=START._replace(power=0.0))
    lacking = Frames(videos.frames.features, np.minimum(videos.segments, 100))
    with pytest.raises(ValueError, match="have no row of positive weight"):
        videos.tune(lacking)
