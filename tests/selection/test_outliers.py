"""A crowd is found by its two signs, and cut off from everyone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.selection import outliers

_HALVES = (slice(0, 13), slice(13, 20))


def by_definition(indices, similarity, *, threshold, strength, crowd, rank):
    """Evaluates the module's equation row by row, in plain Python."""
    lists = [
        sorted(
            (
                (-cosine, slot, j)
                for slot, (j, cosine) in enumerate(zip(row, cosines, strict=True))
                if j not in (-1, i)
            )
        )
        for i, (row, cosines) in enumerate(zip(indices, similarity, strict=True))
    ]
    nearest = [-row[0][0] if row else -np.inf for row in lists]
    if not any(cosine > threshold for cosine in nearest):
        return [False] * len(lists)
    typical = np.median([cosine for cosine in nearest if cosine > threshold])
    is_far = [-np.inf < cosine < strength * typical for cosine in nearest]
    return [
        far and np.mean([is_far[j] for _, _, j in row[:rank]]) >= crowd
        for far, row in zip(is_far, lists, strict=True)
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([-1.0, 0.2, 0.6, 1.0]),
    strength=st.floats(0, 1),
    crowd=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    rank=st.sampled_from([1, 2, 4, 9]),
)
def test_outliers_are_those_of_the_equation(seed, threshold, strength, crowd, rank):
    rng = np.random.default_rng(seed)
    indices = rng.integers(-1, 12, (12, 6)).astype(np.int32)
    similarity = rng.uniform(-0.2, 1, (12, 6)).astype(np.float32)
    options = {
        "threshold": threshold,
        "strength": np.float32(strength),
        "crowd": crowd,
        "rank": rank,
    }
    found = gfa.find_outliers(gfa.Neighbors(indices, similarity), **options)
    np.testing.assert_array_equal(found, by_definition(indices, similarity, **options))


def test_isolated_rows_have_no_edges_but_to_themselves():
    indices = np.array([[0, 1, 2], [1, 0, -1], [2, 1, 0]], np.int32)
    similarity = np.array([[1, 0.9, 0.8], [1, 0.9, -np.inf], [1, 0.7, 0.8]], np.float32)
    cut = gfa.selection.isolate(
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
    cut = gfa.selection.isolate(neighbors, is_outlier)
    refined = gfa.aggregate(features, cut, params, num_steps=3).features
    # Normalising a unit row again may move its last bit.
    np.testing.assert_allclose(
        refined[is_outlier], features[is_outlier], rtol=0, atol=2e-7
    )
    elsewhere = np.where(is_outlier[:, None], -features, features)
    moved = gfa.aggregate(elsewhere, cut, params, num_steps=3).features
    np.testing.assert_array_equal(moved[~is_outlier], refined[~is_outlier])


def test_a_crowd_of_poor_images_is_told_from_hard_images_of_people(rng):
    people = np.repeat(np.eye(20, 128), 20, axis=0)
    crowd = np.eye(128)[[20] * 20]
    # Cosines of about .83 among images of a person and .5 in the crowd; one image a
    # person is as far from the others as rows of the crowd from each other.
    spread = np.concatenate([np.full(400, 0.45), np.full(20, 1.0)])
    spread[:400:20] = 1.2
    features = np.concatenate([people, crowd])
    features += spread[:, None] * rng.standard_normal((420, 128)) / np.sqrt(128)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    neighbors = gfa.exact_neighbors(features.astype(np.float32), k=15)
    far = outliers.find_far(outliers.measure_nearest(neighbors), threshold=0.4)
    np.testing.assert_array_equal(np.flatnonzero(far[:400]), np.arange(0, 400, 20))
    is_outlier = gfa.find_outliers(neighbors, threshold=0.4)
    np.testing.assert_array_equal(is_outlier, np.arange(420) >= 400)


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
    guarded = tpr(gfa.selection.isolate(neighbors, is_outlier))
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


def test_a_rank_without_neighbours_is_refused():
    neighbors = gfa.Neighbors(np.zeros((2, 2), np.int32), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="rank is 0; expected at least 1"):
        gfa.find_outliers(neighbors, threshold=0.5, rank=0)


def test_parts_of_the_rows_give_what_all_of_them_give(rng):
    indices = rng.integers(-1, 20, (20, 5)).astype(np.int32)
    similarity = rng.uniform(0, 1, (20, 5)).astype(np.float32)
    neighbors = gfa.Neighbors(indices, similarity)
    parts = [gfa.Neighbors(*(x[rows] for x in neighbors)) for rows in _HALVES]
    nearest = [
        outliers.measure_nearest(part, first_row=rows.start)
        for part, rows in zip(parts, _HALVES, strict=True)
    ]
    is_far = outliers.find_far(np.concatenate(nearest), threshold=0.5, strength=1)
    is_outlier = np.concatenate(
        [
            outliers.find_crowded(part, is_far, crowd=0.5, first_row=rows.start)
            for part, rows in zip(parts, _HALVES, strict=True)
        ]
    )
    expected = gfa.find_outliers(neighbors, threshold=0.5, strength=1, crowd=0.5)
    assert 0 < np.sum(expected) < 20
    np.testing.assert_array_equal(is_outlier, expected)
    cut = [
        gfa.selection.isolate(part, is_outlier, first_row=rows.start)
        for part, rows in zip(parts, _HALVES, strict=True)
    ]
    for joined, whole in zip(
        map(np.concatenate, zip(*cut, strict=True)),
        gfa.selection.isolate(neighbors, is_outlier),
        strict=True,
    ):
        np.testing.assert_array_equal(joined, whole)
