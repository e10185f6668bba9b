"""Where the learning starts, what it looks at, and how it goes on after a kill."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest

import gfa_jax as gfa
from gfa_jax.tuning import Validation, scaled_adam, tune
from gfa_jax.tuning.objective import Objective
from tests.tuning.test_loop import FAST, START, Problem

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def problem():
    return Problem()


def same_result(first, second):
    for one, other in zip(
        jax.tree.leaves((first.params, first.history)),
        jax.tree.leaves((second.params, second.history)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert first[1:4] == second[1:4]
    assert first.stopped == second.stopped


# --- starts and looks -----------------------------------------------------------------


def test_the_best_start_is_descended_from(problem):
    starts = [START._replace(threshold=t) for t in (0.95, 0.4, 0.9)]
    result = problem.tune(
        init_params=starts, validation=problem.validation, num_steps=2, optimizer=FAST
    )
    scores = result.history.start_score
    assert scores.argmax() == 1
    alone = problem.tune(
        init_params=starts[1],
        validation=problem.validation,
        num_steps=2,
        optimizer=FAST,
    )
    assert alone.history.start_score.tolist() == [scores[1]]
    assert alone.params == result.params
    np.testing.assert_array_equal(alone.history.loss, result.history.loss)

    # Without steps it is a search among them; without validation by their own pairs.
    chosen = problem.tune(
        init_params=starts, validation=problem.validation, num_steps=0
    )
    assert chosen.params == pytest.approx(starts[1])
    assert chosen.step == 0
    assert chosen.hard_score == scores[1]
    assert problem.tune(init_params=starts, num_steps=0).params.threshold == 0.4
    assert problem.tune(num_steps=0).history.start_score.size == 0


def test_validate_chooses_by_any_score_and_hands_over_hard_pairs(problem):
    pairs, same = problem.training
    genuine, impostor = pairs[same], pairs[~same]
    seen = []

    def validate(refined):
        assert refined.shape == problem.features.shape
        np.testing.assert_allclose(np.linalg.norm(refined, axis=1), 1, rtol=1e-5)
        scores = np.einsum("md,md->m", *(refined[side] for side in impostor.T))
        seen.append(impostor[np.argsort(scores)[-50:]])
        return Validation(float(len(seen) == 3), seen[-1])

    result = problem.tune(
        validate=validate,
        num_steps=8,
        validate_every=2,
        batch_size=2 * len(genuine),
        optimizer=FAST,
    )
    # Start, 2, 4, 6, 8, and the soft mask at the end.
    np.testing.assert_array_equal(result.history.validated, [0, 2, 4, 6, 8])
    assert len(seen) == 6
    assert result.step == 4  # the third look was told to be best
    assert result.history.score.tolist() == [0, 0, 1, 0, 0]
    assert (result.hard_score, result.soft_score) == (1.0, 0.0)

    # The same as learning from the pairs that the first look listed, for two steps.
    fixed = tune(
        problem.features,
        problem.neighbors,
        np.concatenate([genuine, seen[0]]),
        np.arange(len(genuine) + 50) < len(genuine),
        init_params=START,
        num_steps=8,
        batch_size=2 * len(genuine),
        optimizer=FAST,
    )
    np.testing.assert_allclose(fixed.history.loss[:2], result.history.loss[:2], 1e-5)

    def bad(refined):
        return Validation(float(len(seen)), np.array([[0, 400]]))

    with pytest.raises(ValueError, match="validate's pairs hold rows"):
        problem.tune(validate=bad, num_steps=2)
    with pytest.raises(ValueError, match="expected one of them"):
        problem.tune(validate=validate, validation=problem.validation)


def test_what_is_frozen_stays(problem):
    frozen = ("temperature", "exponent")
    result = problem.tune(
        objective=Objective(frozen=frozen),
        optimizer=optax.adamw(0.1, weight_decay=0.5),
        final_sharpness=1.0,
        num_steps=3,
    )
    gamma, threshold, temperature, exponent = np.ptp(result.history.params, axis=0)
    assert min(gamma, threshold) > 1e-3
    # One rounding on the way to the variables and back.
    assert max(temperature, exponent) < 1e-6


def test_every_update_learns_its_own(problem):
    result = problem.tune(
        objective=Objective(num_updates=3, per_step=True, graph="rescore"),
        optimizer=FAST,
        num_steps=5,
    )
    gamma, threshold, temperature, exponent = result.params
    assert np.shape(gamma) == np.shape(threshold) == (3,)
    assert np.shape(temperature) == np.shape(exponent) == ()
    assert np.ptp(gamma) > 0
    assert np.ptp(threshold) > 0
    assert result.history.params.shape == (5, 3 + 3 + 1 + 1)
    # What comes out goes into `aggregate`, and starts another tuning.
    options = {"num_steps": 3, "graph": "rescore"}
    gfa.aggregate(problem.features, problem.neighbors, result.params, **options)
    again = problem.tune(
        init_params=result.params,
        objective=Objective(num_updates=3, per_step=True, graph="rescore"),
        num_steps=0,
    )
    np.testing.assert_array_equal(again.params.gamma, gamma)
    # A fixed graph has one threshold.
    fixed = problem.tune(objective=Objective(num_updates=3, per_step=True), num_steps=1)
    assert np.shape(fixed.params.gamma) == (3,)
    assert np.shape(fixed.params.threshold) == ()


def test_scaled_adam_moves_t_a_tenth_as_far_and_slows_down():
    optimizer = scaled_adam(0.5, 10)
    assert scaled_adam(0.5, 10) is optimizer
    state = gfa_variables()
    inside = optimizer.init(state)
    for step in range(11):
        ones = jax.tree.map(np.ones_like, state)
        changes, inside = optimizer.update(ones, inside, state)
        if step in (0, 10):
            rate = 0.5 if step == 0 else 0.1
            assert float(changes.gamma) == pytest.approx(-rate, rel=1e-4)
            assert float(changes.threshold) == pytest.approx(-rate / 10, rel=1e-4)


def gfa_variables():
    from gfa_jax.tuning.objective import init

    return init(START, optimizer=optax.sgd(0.1)).variables


# --- checkpoints ----------------------------------------------------------------------


class StopError(Exception):
    """Ends a run from within, as a kill would."""


def stopping(after):
    def progress(iterable, *, total, desc):
        for number, item in enumerate(iterable):
            if number == after:
                raise StopError
            yield item

    return progress


def test_it_goes_on_with_the_same_bits(problem, tmp_path):
    options = {
        "validation": problem.validation,
        "num_steps": 12,
        "validate_every": 3,
        "init_params": [START, START._replace(threshold=0.45)],
        "objective": Objective(num_updates=2, per_step=True),
    }
    whole = problem.tune(**options)
    folder = tmp_path / "run"
    for after in (4, 5):  # steps 0–3, then 3–7: the second goes on from the first
        with pytest.raises(StopError):
            problem.tune(**options, checkpoint=folder, progress=stopping(after))
    seen = []

    def progress(iterable, *, total, desc):
        seen.append(total)
        return iterable

    same_result(problem.tune(**options, checkpoint=folder, progress=progress), whole)
    assert seen == [6]
    # Once it is through, it repeats what follows the last checkpoint.
    same_result(problem.tune(**options, checkpoint=folder), whole)


def test_early_stopping_and_hard_pairs_survive_a_stop(problem, tmp_path):
    pairs, same = problem.training
    impostor = pairs[~same]

    def validate(refined):
        scores = np.einsum("md,md->m", *(refined[side] for side in impostor.T))
        return Validation(-float(refined[0, 0]), impostor[np.argsort(scores)[-40:]])

    options = {"validate": validate, "validate_every": 2, "patience": 2}
    whole = problem.tune(**options)
    with pytest.raises(StopError):
        problem.tune(**options, checkpoint=tmp_path / "a", progress=stopping(3))
    same_result(problem.tune(**options, checkpoint=tmp_path / "a"), whole)
    with pytest.raises(ValueError, match="validate is another function"):
        problem.tune(
            **options | {"validate": lambda refined: Validation(0.5)},
            checkpoint=tmp_path / "a",
        )


def test_the_checkpoint_of_another_run_is_refused(problem, tmp_path):
    options = {"num_steps": 4, "validate_every": 2, "validation": problem.validation}
    problem.tune(**options, checkpoint=tmp_path / "run")
    pairs, same = problem.validation
    for change in (
        {"seed": 1},
        {"num_steps": 5},
        {"batch_size": 256},
        {"init_params": START._replace(gamma=0.6)},
        {"objective": Objective(loss="contrastive")},
        {"optimizer": optax.adam(0.2)},
        {"validation": (pairs[1:], same[1:])},
    ):
        with pytest.raises(ValueError, match="is of other inputs, options or versions"):
            problem.tune(**options | change, checkpoint=tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot make the checkpoint folder"):
        problem.tune(**options, checkpoint=tmp_path / "file")


def test_without_orbax_it_names_what_to_install(problem, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax", None)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"gfa_jax\[train\]"):
        problem.tune(checkpoint=tmp_path / "run")


_KILLED = """
import sys, time
import jax
jax.config.update("jax_enable_x64", {x64})
from tests.tuning.test_loop import Problem

def slow(iterable, *, total, desc):
    for item in iterable:
        yield item
        time.sleep(0.2)

Problem().tune(num_steps=40, validate_every=2, checkpoint=sys.argv[1], progress=slow)
"""


def test_it_survives_sigkill(problem, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _KILLED.format(x64=jax.config.read("jax_enable_x64")),
            folder,
        ],
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
    )
    try:
        # A folder of another name is not finished yet.
        while not [f for f in folder.glob("*") if f.name.isdigit()]:
            assert process.poll() is None, "it ended before its first checkpoint"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    options = {"num_steps": 40, "validate_every": 2}
    seen = []

    def progress(iterable, *, total, desc):
        seen.append(total)
        return iterable

    resumed = problem.tune(**options, checkpoint=folder, progress=progress)
    assert seen[0] < 40
    same_result(resumed, problem.tune(**options))
