"""`exact_neighbors` against the dense oracle: the same ids, also among ties."""

import functools
import itertools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import gfa_jax as gfa
from tests import oracle
from tests.conftest import X64
from tests.neighbors.agreement import assert_agree
from tests.problems import clustered_features, quantised_features, refused

TILES = st.sampled_from([32, 64, None])


def oracle_among(features, k, *, include_self, valid) -> oracle.Neighbors:
    """The oracle on the valid rows alone, in the numbers of all rows."""
    rows = np.flatnonzero(valid)
    found = oracle.exact_neighbors(features[rows], k, include_self)
    indices = np.full((len(features), k), -1)
    similarity = np.full((len(features), k), -np.inf)
    if len(rows):
        indices[rows] = np.where(found.indices < 0, -1, rows[found.indices])
        similarity[rows] = found.similarity
    return oracle.Neighbors(indices, similarity)


def assert_equal(got, want) -> None:
    assert got.indices.dtype == jnp.int32
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_array_equal(got.similarity, want.similarity)


# Every shape is compiled anew, which is what an example costs: each runs several
# problems of its shape.
@hypothesis.settings(max_examples=10)
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(3, 150),
    dim=st.integers(1, 8),
    share=st.floats(0, 1),
    tile_size=TILES,
)
def test_equals_the_oracle_with_ties(seed, num_rows, dim, share, tile_size):
    rng = np.random.default_rng(seed)
    others = 1 + round(share * (num_rows - 3))
    options = itertools.product([0.1, 0.5, 0.9, 1.0], [True, False])
    for valid_share, include_self in options:
        features = quantised_features(rng, num_rows=num_rows, dim=dim)
        valid = rng.random(num_rows) < valid_share
        k = others + include_self
        got = gfa.exact_neighbors(
            features, k=k, include_self=include_self, valid=valid, tile_size=tile_size
        )
        want = oracle_among(features, k, include_self=include_self, valid=valid)
        assert got.similarity.dtype == jnp.float32
        assert_equal(got, want)


@pytest.mark.parametrize(("num_rows", "dim", "k"), [(3, 2, 2), (150, 100, 12)])
@pytest.mark.parametrize("include_self", [True, False])
def test_agrees_with_the_oracle(rng, num_rows, dim, k, include_self):
    features = clustered_features(rng, num_rows=num_rows, dim=dim)
    got = gfa.exact_neighbors(features, k=k, include_self=include_self, tile_size=64)
    assert got.similarity.dtype == features.dtype
    want = oracle.exact_neighbors(features, k, include_self)
    assert_agree(features, got, want, atol=1e-14 if X64 else 1e-6)


# --- the corners, all of one shape: 70 rows in three tiles of 32 ----------------------

search = functools.partial(gfa.exact_neighbors, tile_size=32)


@pytest.fixture
def features(rng):
    return quantised_features(rng, num_rows=70, dim=3)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("k", [1, 69])
def test_the_smallest_and_the_largest_k(features, k, include_self):
    got = search(features, k=k, include_self=include_self)
    assert_equal(got, oracle.exact_neighbors(features, k, include_self))


def test_a_short_row_still_stands_first_in_its_own_list():
    # A longer row has a larger inner product with it than it has with itself.
    features = np.array([[1, 0], [127 / 128, 0], [0, 1]], np.float32)
    got = search(features, k=2)
    assert got.indices[1, 0] == 1
    assert got.similarity[1, 0] < got.similarity[1, 1]
    assert_equal(got, oracle.exact_neighbors(features, 2))


def test_nothing_is_nan_where_rows_are_zero(features):
    got = search(np.zeros_like(features), k=4, include_self=False)
    assert_equal(got, oracle.exact_neighbors(np.zeros_like(features), 4, False))
    np.testing.assert_array_equal(got.similarity, 0)


# --- dtypes and transformations ---------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_searched_in_float32(rng, dtype):
    features = jnp.asarray(clustered_features(rng, num_rows=70, dim=3), dtype)
    got = search(features, k=5)
    assert got.similarity.dtype == jnp.float32
    chex.assert_trees_all_equal(got, search(features.astype(jnp.float32), k=5))


def test_products_run_at_full_precision():
    # A GPU multiplies in TF32 unless told, which a CPU test cannot see otherwise.
    features = jnp.zeros((64, 4), jnp.float32)
    lowered = jax.jit(functools.partial(gfa.exact_neighbors, k=3)).lower(features)
    products = [x for x in lowered.as_text().splitlines() if "dot_general" in x]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in x for x in products)


def test_jit_and_vmap_give_the_same(rng):
    pools = np.stack([quantised_features(rng, num_rows=70, dim=3) for _ in range(3)])
    valid = rng.random((3, 70)) < 0.8

    def search_among(features, valid):
        return search(features, k=5, valid=valid)

    batched = jax.vmap(search_among)(pools, valid)
    for b in range(3):
        single = jax.tree.map(lambda x, b=b: x[b], batched)
        want = oracle_among(pools[b], 5, include_self=True, valid=valid[b])
        assert_equal(single, want)
        assert_equal(jax.jit(search_among)(pools[b], valid[b]), want)


def test_progress_goes_round_the_blocks_and_changes_no_bit(rng):
    features = clustered_features(rng, num_rows=70, dim=3)
    calls, seen = [], []

    def progress(iterable, *, total, desc):
        calls.append((total, desc))
        for i in iterable:
            yield i
            seen.append(i)

    chex.assert_trees_all_equal(
        search(features, k=5), search(features, k=5, progress=progress)
    )
    assert calls == [(3, "neighbors")]
    assert seen == [0, 1, 2]


def test_memory_holds_no_affinity_of_all_pairs():
    num_rows, dim, k, tile = 20_000, 16, 8, 1024
    features = jax.ShapeDtypeStruct((num_rows, dim), jnp.float32)
    run = functools.partial(gfa.exact_neighbors, k=k, tile_size=tile)
    analysis = jax.jit(run).lower(features).compile().memory_analysis()
    assert analysis is not None
    # As documented, with each carried twice: a tile, the lists and the features.
    # All pairs would be 1.6 GB.
    documented = 4 * (tile * tile + num_rows * 2 * k + num_rows * dim)
    assert analysis.temp_size_in_bytes < 2 * documented


# --- bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 8}, r"k is 8 with 8 rows; expected 1 <= k < 8"),
        ({"features": np.zeros((0, 2), np.float32)}, "expected at least one row"),
        ({"features": np.zeros(8, np.float32)}, r"shape \(8,\); expected \[N, D\]"),
        ({"features": np.zeros((8, 2), np.int32)}, "int32; expected a floating dtype"),
        ({"tile_size": 0}, "tile_size is 0; expected at least 32"),
        ({"tile_size": 48}, "tile_size is 48; expected a multiple of 32"),
        ({"valid": np.ones(7, bool)}, r"valid has .*\(7,\).*expected \(8,\) bool"),
    ],
)
def test_bad_input_is_refused(change, message):
    options = {"features": np.eye(8, dtype=np.float32), "k": 3} | change
    features = options.pop("features")
    refused(message, gfa.exact_neighbors, features, **options)


# --- real features ----------------------------------------------------------------


@pytest.mark.parametrize("include_self", [True, False])
def test_real_features_agree_with_the_oracle(real_data, include_self):
    features = real_data("cfp_dev.npz")["features"][:2000]
    got = gfa.exact_neighbors(features, k=15, include_self=include_self)
    want = oracle.exact_neighbors(features, 15, include_self)
    assert_agree(features, got, want)


def test_cosines_of_copies_are_not_beyond_one():
    rows = np.random.default_rng(0).normal(size=(50, 128))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    copies = np.repeat(rows.astype(np.float32), 2, axis=0)
    cosines = np.asarray(gfa.exact_neighbors(copies, k=3).similarity)
    assert cosines.max() == 1
    assert np.isfinite(np.arccos(cosines)).all()
