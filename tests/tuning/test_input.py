"""What `tune` refuses, and what it says."""

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax.tuning import Objective, tune
from tests.tuning.test_loop import START, Problem


@pytest.fixture(scope="module")
def problem():
    return Problem()


def test_bad_pairs_are_refused(problem):
    pairs, same = problem.training

    def refused(message, pairs=pairs, same=same, **options):
        with pytest.raises(ValueError, match=message):
            problem.tune((pairs, same), **options)

    refused("0 genuine and", same=np.zeros_like(same))
    refused("and 0 impostor", same=np.ones_like(same))
    refused("expected integers", pairs=pairs.astype(float))
    refused("expected bool", same=same.astype(int))
    refused("expected bool", same=same[1:])
    refused("hold rows from", pairs=pairs + 400)
    itself = np.concatenate([pairs, [[5, 5]]])
    refused("join a row with itself", itself, np.append(same, True))
    both = np.concatenate([pairs, pairs[:1, ::-1]])
    refused("a genuine and an impostor", both, np.append(same, ~same[0]))
    refused("rows are in both", validation=(pairs[::2], same[::2]))
    identities = np.zeros(len(problem.features), int)
    refused("1 identities are in both", identities=identities)
    refused("identities have shape", identities=identities[1:])


def test_a_pool_where_no_edge_survives_names_a_threshold_that_would(problem):
    others = np.asarray(problem.neighbors.similarity)[:, 1:]
    for threshold in (others.max(), 0.999):
        with pytest.raises(ValueError, match="no candidate exceeds") as refusal:
            problem.tune(init_params=START._replace(threshold=threshold))
        assert f"{np.median(others):.3f}" in str(refusal.value)
    result = problem.tune(
        init_params=START._replace(threshold=float(np.median(others))), max_iterations=2
    )
    assert result.step == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iterations": -1}, "max_iterations is -1"),
        ({"max_iterations": 2.5}, "max_iterations is 2.5; expected an integer"),
        ({"batch_size": True}, "batch_size is True; expected an integer"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"min_gain": "0"}, "min_gain is '0'"),
        ({"batch_size": 7}, "expected an even number"),
        ({"validate_every": 0}, "validate_every is 0"),
        ({"min_gain": -1.0}, "min_gain is -1"),
        ({"final_temperature_ratio": 1.5}, r"ratio is 1.5; .* in \(0, 1\]"),
        ({"final_temperature_ratio": np.nan}, "final_temperature_ratio is nan"),
        ({"init_params": gfa.Params(2.0, 0.4)}, "gamma is 2"),
        ({"init_params": gfa.Params(0.0, 0.4)}, "expected a start"),
        ({"init_params": []}, "init_params is empty"),
        ({"init_params": [0.5]}, "init_params are of type float"),
        ({"init_params": [START, START._replace(gamma=2.0)]}, "gamma is 2"),
        ({"init_params": START._replace(gamma=np.full(3, 0.5))}, "or 4 of them"),
        (
            {"init_params": [START, START._replace(gamma=np.full(4, 0.5))]},
            "differ in shape",
        ),
        ({"objective": Objective(num_steps=0)}, "num_steps is 0"),
        ({"objective": Objective()._replace(num_steps=2.0)}, "num_steps is 2.0"),
        ({"objective": Objective()._replace(loss="hinge")}, "loss is 'hinge'"),
        ({"objective": Objective(fpr_high=0.0)}, "fpr_high 0"),
        ({"objective": Objective(fpr_low=0.1)}, "fpr_low is 0.1"),
    ],
)
def test_bad_options_are_refused(problem, options, message):
    with pytest.raises(ValueError, match=message):
        problem.tune(**options)


def test_a_pool_that_does_not_fit_is_refused(problem):
    indices, similarity = map(np.asarray, problem.neighbors)
    features = np.asarray(problem.features)
    wrapped = np.where(indices == 7, 2**32 + 7, indices.astype(np.int64))
    for neighbors, message in (
        ((indices, similarity), "of type tuple"),
        (gfa.Neighbors(indices[1:], similarity[1:]), "do not fit"),
        (gfa.Neighbors(wrapped, similarity), "span .* 4294967303"),
        (gfa.Neighbors(indices + 1, similarity), "expected \\[-1, 400\\)"),
        (gfa.Neighbors(indices, similarity[:, 1:]), "that of the indices"),
        (gfa.Neighbors(indices[:, :1], similarity[:, :1]), "a larger k"),
    ):
        with pytest.raises(ValueError, match=message):
            run(problem, features, neighbors)
    for rows, message in (
        (3 * features, "expected unit rows"),
        (np.where(features == features[5, 0], np.nan, features), "row 5"),
        (features.astype(int), "floating"),
    ):
        with pytest.raises(ValueError, match=message):
            run(problem, rows, problem.neighbors)


def run(problem, features, neighbors):
    training, validation = problem.training, problem.validation
    tune(features, neighbors, *training, init_params=START, validation=validation)
