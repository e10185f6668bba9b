"""A crowd of junk is found by its two signs, and cut off from everyone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gfa_jax as gfa
from gfa_jax import datasets, metrics, outliers

_HALVES = (slice(0, 13), slice(13, 20))


def by_definition(indices, similarity, *, threshold, strength, contrast, rank):
    """Evaluates the module's equation row by row, in plain Python."""
    lists = [
        sorted(s for j, s in zip(row, cosines, strict=True) if j not in (-1, i))[::-1]
        for i, (row, cosines) in enumerate(zip(indices, similarity, strict=True))
    ]
    nearest = [cosines[0] for cosines in lists if cosines and cosines[0] > threshold]
    if not nearest:
        return [False] * len(lists)
    typical = np.median(nearest)
    return [
        bool(cosines)
        and cosines[0] < strength * typical
        and cosines[:rank][-1] > contrast * cosines[0]
        for cosines in lists
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([-1.0, 0.2, 0.6, 1.0]),
    strength=st.floats(0, 1),
    contrast=st.floats(0, 1),
    rank=st.integers(2, 9),
)
def test_outliers_are_those_of_the_equation(seed, threshold, strength, contrast, rank):
    rng = np.random.default_rng(seed)
    indices = rng.integers(-1, 12, (12, 6)).astype(np.int32)
    similarity = rng.uniform(-0.2, 1, (12, 6)).astype(np.float32)
    options = {
        "threshold": threshold,
        "strength": np.float32(strength),
        "contrast": np.float32(contrast),
        "rank": rank,
    }
    found = gfa.find_outliers(gfa.Neighbors(indices, similarity), **options)
    np.testing.assert_array_equal(found, by_definition(indices, similarity, **options))


def test_isolated_rows_have_no_edges_but_to_themselves():
    indices = np.array([[0, 1, 2], [1, 0, -1], [2, 1, 0]], np.int32)
    similarity = np.array([[1, 0.9, 0.8], [1, 0.9, -np.inf], [1, 0.7, 0.8]], np.float32)
    cut = gfa.isolate(
        gfa.Neighbors(indices, similarity), np.array([False, False, True])
    )
    np.testing.assert_array_equal(cut.indices, [[0, 1, -1], [1, 0, -1], [2, -1, -1]])
    np.testing.assert_array_equal(
        cut.similarity,
        np.array(
            [[1, 0.9, -np.inf], [1, 0.9, -np.inf], [1, -np.inf, -np.inf]], np.float32
        ),
    )
    assert cut.indices.dtype == jnp.int32


def test_an_isolated_row_stays_where_it_is_and_moves_nobody(rng):
    features = rng.standard_normal((30, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    neighbors = gfa.exact_neighbors(features, k=6)
    is_outlier = np.arange(30) % 7 == 3
    params = gfa.Params(0.5, -1.0)
    cut = gfa.isolate(neighbors, is_outlier)
    refined = gfa.aggregate(features, cut, params, num_steps=3).features
    # Normalising a unit row again may move its last bit.
    np.testing.assert_allclose(
        refined[is_outlier], features[is_outlier], rtol=0, atol=2e-7
    )
    elsewhere = np.where(is_outlier[:, None], -features, features)
    moved = gfa.aggregate(elsewhere, cut, params, num_steps=3).features
    np.testing.assert_array_equal(moved[~is_outlier], refined[~is_outlier])


def test_junk_is_found_and_no_longer_spoils_the_strictest_column():
    sample = datasets.synthetic_features(num_rows=8000, seed=0)
    neighbors = gfa.exact_neighbors(sample.features, k=15)
    is_outlier = np.asarray(gfa.find_outliers(neighbors, threshold=0.45))
    # What the definition is for: most junk, and few of the others.
    assert is_outlier[sample.is_junk].mean() > 0.6
    assert is_outlier[~sample.is_junk].mean() < 0.05

    def tpr(candidates):
        features = sample.features
        if candidates is not None:
            params = gfa.Params(0.5, 0.45)
            features = gfa.aggregate(features, candidates, params, num_steps=4).features
        roc = metrics.all_pairs_roc(features, sample.labels).roc
        return metrics.tpr_at_fpr(roc, (1e-5,))[0].tpr

    raw, plain = tpr(None), tpr(neighbors)
    guarded = tpr(gfa.isolate(neighbors, is_outlier))
    assert plain < raw < guarded


def test_nobody_is_an_outlier_where_no_row_has_a_neighbour():
    lonely = gfa.Neighbors(np.arange(5, dtype=np.int32)[:, None], np.ones((5, 1)))
    assert not np.any(gfa.find_outliers(lonely, threshold=0.5))


def test_it_can_be_compiled(rng):
    similarity = rng.uniform(0, 1, (20, 5)).astype(np.float32)
    indices = rng.integers(-1, 20, (20, 5)).astype(np.int32)
    neighbors = gfa.Neighbors(jnp.asarray(indices), jnp.asarray(similarity))
    compiled = jax.jit(gfa.find_outliers)(neighbors, threshold=0.4)
    np.testing.assert_array_equal(compiled, gfa.find_outliers(neighbors, threshold=0.4))


def test_a_rank_that_compares_nothing_is_refused():
    neighbors = gfa.Neighbors(np.zeros((2, 2), np.int32), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="rank is 1; expected at least 2"):
        gfa.find_outliers(neighbors, threshold=0.5, rank=1)


def test_parts_of_the_rows_give_what_all_of_them_give(rng):
    indices = rng.integers(-1, 20, (20, 5)).astype(np.int32)
    similarity = rng.uniform(0, 1, (20, 5)).astype(np.float32)
    neighbors = gfa.Neighbors(indices, similarity)
    parts = [gfa.Neighbors(*(x[rows] for x in neighbors)) for rows in _HALVES]
    near = [
        outliers.measure_nearness(part, first_row=rows.start)
        for part, rows in zip(parts, _HALVES, strict=True)
    ]
    joined = outliers.Nearness(*map(np.concatenate, zip(*near, strict=True)))
    is_outlier = outliers.judge_nearness(
        joined, threshold=0.5, strength=1.0, contrast=0.3
    )
    expected = gfa.find_outliers(neighbors, threshold=0.5, strength=1.0, contrast=0.3)
    assert 0 < np.sum(expected) < 20
    np.testing.assert_array_equal(is_outlier, expected)
    cut = [
        gfa.isolate(part, is_outlier, first_row=rows.start)
        for part, rows in zip(parts, _HALVES, strict=True)
    ]
    for joined, whole in zip(
        map(np.concatenate, zip(*cut, strict=True)),
        gfa.isolate(neighbors, is_outlier),
        strict=True,
    ):
        np.testing.assert_array_equal(joined, whole)
