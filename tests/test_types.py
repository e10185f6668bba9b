"""The containers are pytrees, and the checks know their ranges."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax.checks import check_params
from gfa_jax.types import (
    at_step,
    check_flag,
    check_integer,
    check_mask,
    check_number,
    track,
)


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
        ({"include_self": 1}, "include_self is 1; expected True or False"),
        ({"renormalize": "no"}, "renormalize is 'no'"),
    ],
)
def test_options_are_refused_where_they_are_made(change, message):
    with pytest.raises(ValueError, match=message):
        gfa.Options(**change)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(gfa.PAPER, **change)


def test_options_are_constants():
    with pytest.raises(dataclasses.FrozenInstanceError):
        gfa.PAPER.mask = "soft"  # pyright: ignore[reportAttributeAccessIssue]
    assert len({gfa.PAPER, dataclasses.replace(gfa.PAPER), gfa.Options()}) == 2
    assert gfa.Options(block_size=1).block_size == 1
    usual = ("hard", "affinity", "fixed", True, True, None)
    assert dataclasses.astuple(gfa.Options()) == usual


@pytest.mark.parametrize(
    ("check", "good", "bad", "message"),
    [
        (
            lambda x: check_integer("k", x, least=2),
            (2, 3, np.int8(5), jnp.int32(2)),
            (1, True, np.True_, 2.0, "2", None),
            "k is .*; expected a(n integer|t least 2)",
        ),
        (
            lambda x: check_number("x", x, -1.0, 2.0),
            (-1, 2.0, np.float16(0), jnp.bfloat16(1), np.array([0, 2])),
            (-1.1, 2.1, np.nan, np.inf, True, "1", 1j, np.array([0, 3])),
            r"x is .*; expected a value in \[-1, 2\]",
        ),
        (
            lambda x: check_number("x", x, math.ulp(0.0), 1.0),
            (1e-300, 1),
            (0, 1.5, -np.inf),
            r"x is .*; expected a value in \(0, 1\]",
        ),
        (
            lambda x: check_number("x", x, 3.0),
            (3, 1e308),
            (2.9, np.inf),
            r"x is .*; expected a value in \[3, inf\)",
        ),
        (lambda x: check_flag("f", x), (True, np.False_), (1, 0, None), "f is "),
        (
            lambda x: check_mask("m", x, 2),
            (np.ones(2, bool), jnp.zeros(2, bool)),
            (np.ones(2), np.ones(1, bool), np.ones(3, bool), np.ones((2, 2), bool)),
            r"m has shape .*; expected \(2,\) bool",
        ),
    ],
)
def test_the_checks_know_what_is_good(check, good, bad, message):
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(ValueError, match=message):
            check(value)


def test_parameters_of_a_step_and_a_loop_without_a_bar():
    params = gfa.Params(0.5, jnp.array([0.25, 0.75]))
    assert at_step(params, 1) == (0.5, 0.75, 0.05, 3.0)
    assert track(None, [3], desc="x") == [3]
    seen = track(lambda items, **given: (items, given), [3, 4], desc="x")
    assert seen == ([3, 4], {"total": 2, "desc": "x"})


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
    lost = np.isneginf(cut.similarity)
    np.testing.assert_array_equal(lost, np.asarray(cut.indices) < 0)
    assert cut.indices.dtype == jnp.int32
    np.testing.assert_array_equal(
        part.drop(is_dropped, first_row=1).indices, cut.indices[1:]
    )
