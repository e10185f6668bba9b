"""Loss, validations and parameters are drawn by step, and what was kept."""

from typing import Any

import numpy as np

import gfa_jax as gfa
from gfa_jax.plotting import tuning
from gfa_jax.tuning.loop import History, TuneResult
from tests.plotting.reading import legend_of, points_of


def test_a_tuning_is_drawn_as_it_went():
    path = np.array([[0.5, 0.5, 0.4, 0.02, 1], [0.25, 0.75, 0.2, 0.02, 3]])
    history = History(
        loss=np.array([0.3, 0.2]),
        params=path,
        validated=np.array([0, 2]),
        score=np.array([0.6, 0.7]),
        start_score=np.array([0.6]),
    )
    gamma: Any = np.array([0.25, 0.75])
    params = gfa.Params(gamma, 0.2, 0.02, 3.0)
    result = TuneResult(params, 2, 0.7, 0.69, history, "all steps were made")
    (loss,) = tuning.plot_loss(result).axes
    np.testing.assert_allclose(points_of(loss.lines[0]), [[0, 0.3], [1, 0.2]])
    (validation,) = tuning.plot_validation(result, score="mean TPR").axes
    np.testing.assert_allclose(points_of(validation.lines[0]), [[0, 0.6], [2, 0.7]])
    assert points_of(validation.lines[1])[0, 0] == 2
    assert validation.get_title(loc="left").endswith("+0.1000 over the start")
    (parameters,) = tuning.plot_parameters(result).axes
    ends = [points_of(line)[1, 1] for line in parameters.lines]
    np.testing.assert_allclose(ends, [1, 0.5, 1, 3])  # of [T] values the mean
    assert legend_of(parameters)[0] == "gamma, 0.5 at first"
