"""Every public function refuses every bad argument at the door, with one sentence."""

import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import checks, metrics, sharding, streaming
from gfa_jax.transposed_sums import reverse_neighbors

_N, _K = 24, 4
# What a type checker refuses is what these tests are for.
# pyright: reportArgumentType=false, reportCallIssue=false
_RNG = np.random.default_rng(0)
_ROWS = _RNG.standard_normal((_N, 8)).astype(np.float32)
_ROWS /= np.linalg.norm(_ROWS, axis=1, keepdims=True)
_INDICES = (np.arange(_N)[:, None] + np.arange(_K)) % _N
_COSINES = np.ones((_N, _K), np.float32)
_PARAMS = gfa.Params(0.5, 0.5)
_MESH = {"mesh": sharding.row_mesh(1), "axis_name": "rows"}


def _streamed(features, neighbors, **changes):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "out.npy")
        given = {"num_steps": 1} | changes
        return streaming.aggregate(features, neighbors, _PARAMS, path=path, **given)


def _updates(function):
    def call(features, neighbors, **changes):
        return function(features, neighbors, _PARAMS, **({"num_steps": 1} | changes))

    return call


_UPDATES = {
    "aggregate": _updates(gfa.aggregate),
    "sharding.aggregate": _updates(functools.partial(sharding.aggregate, **_MESH)),
    "aggregate_pmap": _updates(functools.partial(sharding.aggregate_pmap, devices=1)),
    "streaming.aggregate": _streamed,
}
_GRAPHS = _UPDATES | {
    "solve": lambda f, n: gfa.fixed_point.solve(f, n, _PARAMS),
    "cluster": lambda f, n: gfa.cluster(f, n, threshold=0.5),
    "cluster of its own": gfa.cluster,
    "sharding.cluster": lambda f, n: sharding.cluster(f, n, threshold=0.5, **_MESH),
    "choose_settings": gfa.choose_settings,
}
_SEARCHES = {
    "exact": gfa.exact_neighbors,
    "streaming.exact": streaming.exact_neighbors,
    "sharding.exact": functools.partial(sharding.exact_neighbors, **_MESH),
    "faiss": gfa.faiss_neighbors,
    "sharding.faiss": functools.partial(sharding.faiss_neighbors, **_MESH),
    "approximate": gfa.approximate_neighbors,
    "streaming.approximate": streaming.approximate_neighbors,
}


def _with(row: int, value: float) -> np.ndarray:
    return np.where(np.arange(_N)[:, None] == row, np.float32(value), _ROWS)


_BAD_ROWS = {
    "five times": (_ROWS * 5, "row 0 of the features has length 5; expected unit rows"),
    "huge": (_with(3, 1e30), "row 3 of the features has length"),
    "denormal": (_with(4, 1e-40), "row 4 of the features has length"),
    "nan": (_with(5, np.nan), "row 5 of the features has length nan"),
    "infinite": (_with(6, np.inf), "row 6 of the features has length inf"),
    "complex": (_ROWS.astype(complex), "complex128; expected a floating"),
    "objects": (_ROWS.astype(object), "object; expected a floating dtype"),
    "bool": (_ROWS > 0, "features are bool; expected a floating dtype"),
    "text": (_ROWS.astype(str), "expected a floating dtype"),
    "integers": (_ROWS.astype(int), "features are int64; expected a floating"),
    "one row": (_ROWS[0], r"features .*\(8,\)"),
    "no column": (_ROWS[:, :0], r"\(24, 0\).*expected at least one"),
}
_BAD_INDICES = {
    "too large": (_INDICES + 1, r"span \[1, 24\]; expected \[-1, 24\)"),
    "negative": (_INDICES - 2, r"span \[-2, "),
    "wrapped": (_INDICES + 2**32, r"span \[4294967296, "),
    "unsigned": (_INDICES.astype(np.uint64) + 2**63, r"span \[9223372036854775808"),
    "floats": (_INDICES.astype(float), "are float64; expected integers"),
    "bool": (_INDICES > 2, "are bool; expected integers"),
    "fewer": (_INDICES[:-1], "do not fit"),
    "no slot": (_INDICES[:, :0], r"have shape \(24, 0\)"),
}


@pytest.mark.parametrize("bad", _BAD_INDICES)
@pytest.mark.parametrize("function", _GRAPHS)
def test_candidates_that_are_not_of_the_rows_are_refused(function, bad):
    indices, message = _BAD_INDICES[bad]
    with pytest.raises(ValueError, match=message):
        _GRAPHS[function](_ROWS, gfa.Neighbors(indices, _COSINES))


@pytest.mark.parametrize("function", _GRAPHS)
def test_an_array_of_indices_is_not_neighbors(function):
    with pytest.raises(ValueError, match="ndarray; expected gfa_jax"):
        _GRAPHS[function](_ROWS, _INDICES)


@pytest.mark.parametrize("bad", _BAD_ROWS)
@pytest.mark.parametrize("function", [*_GRAPHS, *_SEARCHES])
def test_rows_that_have_no_cosines_are_refused(function, bad):
    if "faiss" in function or "approximate" in function:
        pytest.importorskip("faiss")
    rows, message = _BAD_ROWS[bad]
    with pytest.raises(ValueError, match=message):
        if function in _SEARCHES:
            _SEARCHES[function](rows, k=3)
        else:
            _GRAPHS[function](rows, gfa.Neighbors(_INDICES, _COSINES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 2.5}, "k is 2.5; expected an integer"),
        ({"k": True}, "k is True; expected an integer"),
        ({"k": "3"}, "k is '3'; expected an integer"),
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"k": _N}, "k is 24 with 24 rows"),
    ],
)
@pytest.mark.parametrize("function", _SEARCHES)
def test_searches_refuse_options_of_other_kinds(function, change, message):
    if "faiss" in function or "approximate" in function:
        pytest.importorskip("faiss")
    with pytest.raises(ValueError, match=message):
        _SEARCHES[function](_ROWS, **({"k": 3} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 2.5}, "num_steps is 2.5; expected an integer"),
        ({"num_steps": -1}, "num_steps is -1; expected at least 0"),
        ({"weights": -_COSINES}, r"weights is -1; expected a value in \[0, inf\)"),
        ({"weights": _COSINES * np.nan}, "weights is nan"),
        ({"weights": _COSINES > 0}, "weights are bool"),
        ({"weights": _COSINES[:, :2]}, "weights have shape"),
        ({"options": {"mask": "hard"}}, "options are of type dict"),
    ],
)
@pytest.mark.parametrize("function", _UPDATES)
def test_updates_refuse_options_of_other_kinds(function, change, message):
    with pytest.raises(ValueError, match=message):
        _UPDATES[function](_ROWS, gfa.Neighbors(_INDICES, _COSINES), **change)


_FOUND = gfa.Neighbors(_INDICES, _COSINES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gfa.Options(include_self="no"), "include_self is 'no'"),
        (lambda: gfa.Options(renormalize=0), "renormalize is 0"),
        (lambda: gfa.Options(block_size=1.5), "block_size is 1.5"),
        (lambda: gfa.aggregate(_ROWS, _FOUND, (0.5, 0.5), num_steps=1), "type tuple"),
        (lambda: checks.check_params(gfa.Params(0.5, 0.5, exponent=np.inf)), "is inf"),
        (lambda: checks.check_params(gfa.Params("a", 0.5)), "gamma is 'a'"),
        (lambda: checks.check_params(gfa.Params(0.5j, 0.5)), "gamma is 0.5j"),
        (lambda: _FOUND.drop(np.arange(_N)), "is_dropped has .* expected .* bool"),
        (lambda: gfa.exact_neighbors(_ROWS, k=3, include_self="no"), "is 'no'"),
        (lambda: gfa.approximate_neighbors(_ROWS, k=3, include_self=1), "is 1"),
        (lambda: gfa.exact_neighbors(_ROWS, k=3, valid=np.ones(_N)), "valid has"),
        (lambda: gfa.exact_neighbors(_ROWS, k=3, tile_size=32.0), "tile_size is 32"),
        (lambda: reverse_neighbors(_INDICES + 1), r"indices span \[1, 24\]"),
        (lambda: reverse_neighbors(_INDICES * 1.0), "indices are float64"),
        (lambda: gfa.cluster(_ROWS, _FOUND, threshold=7), "threshold is 7"),
        (lambda: gfa.cluster(_ROWS, _FOUND, min_size=1.5), "min_size is 1.5"),
        (lambda: gfa.pool(_with(1, np.nan), np.zeros(_N, int), num_segments=1), "nan"),
        (lambda: gfa.pool(_ROWS, np.zeros(_N, int), num_segments=1.0), "num_segments"),
        (lambda: metrics.pair_scores(_ROWS > 0, [[0, 1]]), "features are bool"),
        (lambda: gfa.refine(_with(1, np.nan)), "rows 1"),
    ],
)
def test_options_and_values_of_other_kinds_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_reverse_of_other_candidates_is_refused():
    weights, other = _COSINES, np.roll(_INDICES, 1, axis=0)
    aggregate = functools.partial(
        gfa.aggregate, _ROWS, _FOUND, _PARAMS, num_steps=1, weights=weights
    )
    same = aggregate(reverse=reverse_neighbors(_INDICES)).features
    np.testing.assert_allclose(same, aggregate().features, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="lists other candidates"):
        aggregate(reverse=reverse_neighbors(other))


@pytest.mark.parametrize("function", _UPDATES)
def test_a_candidate_that_is_listed_again_counts_once(function):
    once = np.concatenate([_INDICES, np.full_like(_INDICES, -1)], axis=1)
    twice = np.concatenate([_INDICES, _INDICES[:, ::-1]], axis=1)
    similarity = np.ones(once.shape, np.float32)
    got, want = (
        np.asarray(_UPDATES[function](_ROWS, gfa.Neighbors(x, similarity)).features)
        for x in (twice, once)
    )
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32, np.float64])
def test_rounded_rows_zero_rows_and_rows_of_any_byte_order_pass(dtype):
    rows = np.concatenate([_ROWS[1:], np.zeros((1, 8))]).astype(dtype)
    checks.check_rows(rows)
    found = gfa.exact_neighbors(rows, k=_K)
    gfa.aggregate(rows, found, _PARAMS, num_steps=1)
    if dtype is np.float32:
        swapped = gfa.exact_neighbors(rows.astype(">f4"), k=_K)
        np.testing.assert_array_equal(swapped.indices, found.indices)


def test_traced_values_pass_and_never_wrap():
    """Only shapes and dtypes are known then; a number beyond int32 is no candidate."""
    update = functools.partial(gfa.aggregate, params=_PARAMS, num_steps=1)

    @jax.jit
    def traced(features, indices):
        return update(features, gfa.Neighbors(indices, _COSINES)).features

    assert np.isfinite(traced(_ROWS, _INDICES)).all()
    assert np.isnan(traced(_with(1, np.nan), _INDICES)).any()
    if jax.config.read("jax_enable_x64"):
        wrapped = traced(_ROWS, _wrap())
        empty = _wrap() % 2**32
        empty[0, 1] = -1
        np.testing.assert_array_equal(wrapped, traced(_ROWS, empty))
    with pytest.raises(ValueError, match="are float"):
        traced(_ROWS, _INDICES * 1.0)
    concrete = jax.jit(lambda f: update(f, _FOUND).features)  # candidates are read
    np.testing.assert_array_equal(concrete(_ROWS), traced(_ROWS, _INDICES))


def _wrap() -> np.ndarray:
    indices = _INDICES.copy()
    indices[0, 1] += 2**32
    return indices
