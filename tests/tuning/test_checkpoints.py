"""How an unfinished `tune` goes on after a kill, with the same bits."""

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

from gfa_jax.tuning import Objective, Validation
from tests.problems import StoppedError, interrupt_after, recorded
from tests.tuning.test_loop import START, Problem

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


def test_it_goes_on_with_the_same_bits(problem, tmp_path):
    options = {
        "max_iterations": 12,
        "validate_every": 3,
        "init_params": [
            START._replace(gamma=np.array([0.5, 0.4]), threshold=t) for t in (0.4, 0.45)
        ],
        "objective": Objective(num_steps=2),
    }
    whole = problem.tune(**options)
    options["checkpoint"] = tmp_path / "run.npz"
    for after in (4, 5):  # steps 0–3, then 3–7: the second goes on from the first
        with pytest.raises(StoppedError):
            problem.tune(**options, progress=interrupt_after(after))
    calls, progress = recorded()
    same_result(problem.tune(**options, progress=progress), whole)
    assert calls == [(6, "tuning")]
    # Once it is through, it repeats what follows the last checkpoint.
    same_result(problem.tune(**options), whole)


def test_early_stopping_and_hard_pairs_survive_a_stop(problem, tmp_path):
    pairs, same = problem.training
    impostor = pairs[~same]

    def validate(refined):
        scores = np.einsum("md,md->m", *(refined[side] for side in impostor.T))
        return Validation(-float(refined[0, 0]), impostor[np.argsort(scores)[-40:]])

    options = {"validation": validate, "validate_every": 1, "optimizer": optax.sgd(0.0)}
    whole = problem.tune(**options)
    assert "nothing better" in whole.stopped
    options["checkpoint"] = tmp_path / "run.npz"
    with pytest.raises(StoppedError):
        problem.tune(**options, progress=interrupt_after(3))
    same_result(problem.tune(**options), whole)


def test_the_checkpoint_of_another_run_is_refused(problem, tmp_path):
    options = {"max_iterations": 4, "validate_every": 2}
    options["checkpoint"] = tmp_path / "run.npz"
    problem.tune(**options)
    pairs, same = problem.validation
    for change in (
        {"seed": 1},
        {"max_iterations": 5},
        {"batch_size": 256},
        {"init_params": START._replace(gamma=0.6)},
        {"objective": Objective(loss="contrastive")},
        {"optimizer": optax.adam(0.2)},
        {"validation": (pairs[1:], same[1:])},
    ):
        with pytest.raises(ValueError, match="is of other inputs, options or versions"):
            problem.tune(**options | change)


_KILLED = """
import sys, time
import jax
jax.config.update("jax_enable_x64", {x64})
from tests.tuning.test_loop import Problem

def slow(iterable, *, total, desc):
    for item in iterable:
        yield item
        time.sleep(0.2)

options = {{"max_iterations": 40, "validate_every": 2}}
Problem().tune(**options, checkpoint=sys.argv[1], progress=slow)
"""


def test_it_survives_sigkill(problem, tmp_path):
    path = tmp_path / "run.npz"
    code = _KILLED.format(x64=jax.config.read("jax_enable_x64"))
    process = subprocess.Popen(
        [sys.executable, "-c", code, path],
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
    )
    try:
        while not path.exists():
            assert process.poll() is None, "it ended before its first checkpoint"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    options = {"max_iterations": 40, "validate_every": 2}
    calls, progress = recorded()
    resumed = problem.tune(**options, checkpoint=path, progress=progress)
    assert calls[0][0] < 40
    same_result(resumed, problem.tune(**options))
