"""The containers are pytrees, and `check_params` knows their ranges."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax.checks import check_params


@pytest.mark.parametrize(
    "params",
    [
        gfa.Params(0.0, -1.0),
        gfa.Params(1.0, 1.0),
        gfa.Params(0, 0, 1, 0),
        gfa.Params(0.5, 0.5, 100.0, 100.0),
        gfa.Params(jnp.float32(0.5), np.float64(0.5), jnp.array(0.1), jnp.array(2)),
    ],
)
def test_params_in_their_ranges_pass(params):
    check_params(params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 1.001}, r"gamma is 1.001; expected a value in \[0, 1\]"),
        ({"gamma": jnp.float32(2)}, r"gamma is 2; expected"),
        ({"threshold": -1.5}, r"threshold is -1.5; expected a value in \[-1, 1\]"),
        ({"temperature": 0.0}, "temperature is 0; expected a value above 0"),
        ({"exponent": -1}, r"exponent is -1; expected a value in \[0, inf\)"),
    ]
    + [
        ({name: float("nan")}, f"{name} is nan; expected a value")
        for name in gfa.Params._fields
    ],
)
def test_params_outside_their_ranges_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check_params(gfa.Params(0.5, 0.5)._replace(**change))


def test_traced_params_pass_and_the_others_are_still_checked():
    def traced_gamma(gamma, threshold):
        check_params(gfa.Params(gamma, threshold))
        return gamma

    for transform in (jax.jit, jax.grad, jax.vmap):
        argument = jnp.array([7.0]) if transform is jax.vmap else 7.0
        wrapped = transform(lambda g: traced_gamma(g, 0.5))
        assert np.all(wrapped(argument) == (1 if transform is jax.grad else 7))
        with pytest.raises(ValueError, match="threshold is 2"):
            transform(lambda g: traced_gamma(g, 2.0))(argument)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": "firm"}, "mask is 'firm'; expected one of hard, soft"),
        ({"weighting": "none"}, "weighting is 'none'; expected one of"),
        ({"graph": "new"}, "graph is 'new'; expected one of fixed, rescore"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_options_are_refused_where_they_are_made(change, message):
    with pytest.raises(ValueError, match=message):
        gfa.Options(**change)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(gfa.PAPER, **change)


def test_the_verbs_of_neighbors():
    indices = np.array([[0, 1, 2], [1, 0, -1], [2, 1, 0]], np.int32)
    similarity = np.array([[1, 0.9, 0.8], [1, 0.9, -np.inf], [1, 0.7, 0.8]], np.float32)
    neighbors = gfa.Neighbors(indices, similarity)
    np.testing.assert_array_equal(neighbors.first(2).indices, indices[:, :2])
    np.testing.assert_array_equal(neighbors.first(2).similarity, similarity[:, :2])
    is_other = [[0, 1, 1], [0, 1, 0], [0, 1, 1]]
    np.testing.assert_array_equal(neighbors.is_other(), is_other)
    part = gfa.Neighbors(indices[1:], similarity[1:])
    np.testing.assert_array_equal(part.is_other(first_row=1), is_other[1:])
    is_dropped = np.array([False, False, True])
    cut = neighbors.drop(is_dropped)
    np.testing.assert_array_equal(cut.indices, [[0, 1, -1], [1, 0, -1], [2, -1, -1]])
    lost = np.isinf(cut.similarity)
    np.testing.assert_array_equal(lost, np.asarray(cut.indices) < 0)
    assert cut.indices.dtype == jnp.int32
    np.testing.assert_array_equal(
        part.drop(is_dropped, first_row=1).indices, cut.indices[1:]
    )
