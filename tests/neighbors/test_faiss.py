"""`faiss_neighbors`: flat search equals exact search, others come close to it."""

import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import gfa_jax as gfa
from gfa_jax.neighbors import faiss_neighbors, faiss_search
from tests import oracle
from tests.neighbors.agreement import assert_agree, assert_no_repeats, products
from tests.problems import clustered_features, refused

pytest.importorskip("faiss")


def unit_rows(rng, *, num_rows, dim) -> np.ndarray:
    return clustered_features(rng, num_rows=num_rows, dim=dim).astype(np.float32)


def recall(got, want) -> float:
    """The share of the wanted ids that were found."""
    pairs = zip(np.asarray(got.indices), np.asarray(want.indices), strict=True)
    return float(np.mean([np.isin(w, g).mean() for g, w in pairs]))


# --- flat -------------------------------------------------------------------------


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(3, 150),
    dim=st.integers(2, 40),
    k=st.integers(1, 12),
    copies=st.booleans(),
)
def test_flat_agrees_with_the_oracle(seed, num_rows, dim, k, copies):
    rng = np.random.default_rng(seed)
    features = unit_rows(rng, num_rows=num_rows, dim=dim)
    if copies:
        features = features[rng.integers(num_rows, size=num_rows)]
    k = min(k, num_rows - 1)
    got = faiss_neighbors(features, k=k)
    assert isinstance(got.indices, np.ndarray)
    assert got.indices.dtype == np.int32
    assert got.similarity.dtype == np.float32
    assert_agree(features, got, oracle.exact_neighbors(features, k))


def test_more_copies_than_k_leave_the_row_in_its_place():
    # FAISS may return k copies of a row without the row itself among them.
    features = np.full((30, 4), 0.5, np.float32)
    got = faiss_neighbors(features, k=4)
    np.testing.assert_array_equal(got.indices[:, 0], np.arange(30))
    assert_no_repeats(got.indices)
    assert np.all(got.indices >= 0)
    np.testing.assert_array_equal(got.similarity, 1)
    # Equal ones stand by number.
    assert np.all(np.diff(got.indices[:, 1:], axis=1) > 0)


def test_a_row_that_the_index_missed_still_stands_first(rng):
    # Longer rows have larger inner products with a short one than it has itself.
    features = rng.uniform(1, 2, (40, 3)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features[8] = features[7]
    features[7] *= 0.992
    got = faiss_neighbors(features, k=3)
    assert_agree(features, got, oracle.exact_neighbors(features, 3))
    assert got.indices[7, 0] == 7
    assert got.similarity[7, 0] < got.similarity[7, 1]


@pytest.mark.parametrize("name", ["lfw.npz", "cfp_dev.npz"])
def test_flat_agrees_with_exact_on_real_features(real_data, name):
    features = real_data(name)["features"]
    got = faiss_neighbors(features, k=15)
    want = gfa.exact_neighbors(features, k=15)
    assert_agree(features, got, want)
    # The ties are few: both searches are the same almost everywhere.
    assert np.mean(got.indices == np.asarray(want.indices)) > 0.999


# --- other indexes ----------------------------------------------------------------


def test_an_inverted_file_finds_more_the_more_it_probes(rng):
    features = unit_rows(rng, num_rows=2000, dim=16)
    exact = gfa.exact_neighbors(features, k=10)
    few, many, every = (
        faiss_neighbors(features, k=10, factory="IVF20,Flat", search=f"nprobe={probes}")
        for probes in (1, 8, 20)
    )
    assert recall(few, exact) < recall(many, exact) < 1
    assert recall(many, exact) > 0.9
    # With every cell probed nothing is approximate.
    assert_agree(features, every, exact)


def test_slots_that_stay_empty_stand_last(rng):
    # 100 cells for 200 rows: most cells hold fewer rows than are asked for.
    features = unit_rows(rng, num_rows=200, dim=8)
    got = faiss_neighbors(features, k=8, factory="IVF100,Flat", search="nprobe=1")
    empty = got.indices < 0
    assert empty.any()
    assert np.all(got.indices[empty] == -1)
    np.testing.assert_array_equal(np.isneginf(got.similarity), empty)
    # Once empty, empty to the end; what stands before is sorted.
    np.testing.assert_array_equal(empty, np.sort(empty, axis=1))
    others = got.similarity[:, 1:]
    assert np.all(others[:, :-1] >= others[:, 1:])
    np.testing.assert_allclose(
        got.similarity, products(features, got.indices), rtol=0, atol=1e-6
    )
    assert_no_repeats(got.indices)
    np.testing.assert_array_equal(got.indices[:, 0], np.arange(200))


# --- bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 50}, "k is 50 with 50 rows; expected 1 <= k < 50"),
        ({"features": np.zeros(50, np.float32)}, r"shape \(50,\); expected \[N, D\]"),
        (
            {"factory": "Tree"},
            "FAISS refused factory 'Tree' with search '' on 50 rows of 8: could not "
            "parse index string Tree",
        ),
        ({"search": "nprobe=4"}, "search 'nprobe=4' on .* not set parameter nprobe"),
        ({"factory": "IVF2,Flat", "search": "nprobe=x"}, "could not interpret"),
        ({"factory": "IVF100,Flat"}, "Number of training points .50. should be"),
        ({"factory": "PCA4,IVF2,PQ3"}, "multiple of the number of subquantizers"),
    ],
)
def test_bad_input_is_refused_in_one_line(rng, change, message):
    options = {"features": unit_rows(rng, num_rows=50, dim=8), "k": 3} | change
    features = options.pop("features")
    said = refused(message, faiss_neighbors, features, **options)
    # No C++ signature and source file of the machine that built FAISS.
    assert ".cpp" not in said


def test_without_faiss_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"install gfa_jax with the extra") as error:
        faiss_neighbors(np.ones((5, 2), np.float32), k=2)
    assert "exact_neighbors" in str(error.value)
    assert "\n" not in str(error.value)


# --- an index from elsewhere --------------------------------------------------------


def test_an_index_from_elsewhere_is_searched_by_its_ids(rng, tmp_path):
    faiss = pytest.importorskip("faiss")
    rows = unit_rows(rng, num_rows=50, dim=8)
    for metric in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        index = faiss.IndexIDMap(faiss.IndexFlat(8, metric))
        index.add_with_ids(rows, np.arange(50) + 1000)
        faiss.write_index(index, str(tmp_path / "rows.faiss"))
        search = faiss_search(tmp_path / "rows.faiss")
        ids, scores = search(rows[:3].astype(np.float64), 60)
        assert (ids[:, 0] == [1000, 1001, 1002]).all() and (ids[:, 50:] == -1).all()
        expected = np.argsort(-rows[:3] @ rows.T, axis=1)
        assert (ids[:, :5] == 1000 + expected[:, :5]).all() and scores.shape == (3, 60)
    refused("an index of rows of 8 values; got probes of 7", search, rows[:, :7], 1)
    (tmp_path / "none.faiss").write_bytes(b"none")
    refused("FAISS refused to read", faiss_search, tmp_path / "none.faiss")
    refused("No such file", faiss_search, tmp_path / "missing.faiss")
