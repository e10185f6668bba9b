"""Clusters, curves and FAISS over shards. Run by `test_eight_devices.py`, on eight."""

import functools

import jax
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import metrics, sharding
from gfa_jax.sharding.exchange import EXCHANGES
from tests import oracle
from tests.problems import clustered_features, recorded, refused
from tests.sharding.meshes import TOLERANCE, mesh


def dyadic_rows(rng, num_rows: int, dim: int = 64) -> np.ndarray:
    """Unit rows whose cosines are exact in any order of summation, with ties.

    Some signs of a few centers are turned, so that rows of one center are similar.
    """
    centers = rng.choice([-1, 1], size=(num_rows // 6, dim))
    rows = centers[rng.integers(len(centers), size=num_rows)]
    turned = rng.random(rows.shape) < 0.12
    return (np.where(turned, -rows, rows) / np.sqrt(dim)).astype(np.float32)


# --- clusters -------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(
    ("threshold", "options"),
    [
        (0.5, {}),
        (0.5, {"max_size": 7}),
        (0.375, {"max_size": 5, "min_size": 2}),
        (-0.25, {}),
        (1.0, {}),
    ],
)
def test_clusters_are_those_of_one_device(rng, exchange, threshold, options):
    features = dyadic_rows(rng, 93)
    neighbors = gfa.exact_neighbors(features, k=6)
    want = gfa.cluster(features, neighbors, threshold=threshold, **options)
    got = sharding.cluster(
        features,
        neighbors,
        threshold=threshold,
        mesh=mesh(),
        exchange=exchange,
        axis_name="rows",
        **options,
    )
    np.testing.assert_array_equal(got.labels, want.labels)
    np.testing.assert_array_equal(got.sizes, want.sizes)
    np.testing.assert_allclose(got.confidence, want.confidence, rtol=0, atol=1e-6)
    if threshold == 0.5:
        assert 1 < got.num_clusters < 93


def test_clusters_of_rows_placed_beforehand(rng):
    features = clustered_features(rng, num_rows=61, dim=8)
    neighbors = gfa.exact_neighbors(features, k=5)
    spread = functools.partial(sharding.shard_rows, mesh=mesh(), axis_name="rows")
    placed = gfa.Neighbors(
        spread(neighbors.indices, fill=-1), spread(neighbors.similarity)
    )
    got = sharding.cluster(
        spread(features),
        placed,
        threshold=0.8,
        mesh=mesh(),
        num_rows=61,
        axis_name="rows",
    )
    want = gfa.cluster(features, neighbors, threshold=0.8)
    np.testing.assert_array_equal(got.labels, want.labels)
    np.testing.assert_allclose(got.confidence, want.confidence, atol=TOLERANCE)


def test_bad_clusterings_are_refused(rng):
    features = clustered_features(rng, num_rows=61, dim=8)
    neighbors = gfa.exact_neighbors(features, k=5)
    run = functools.partial(sharding.cluster, mesh=mesh(), axis_name="rows")
    refused("threshold is 2", run, features, neighbors, threshold=2)
    refused("do not fit", run, features[0], neighbors, threshold=0.5)
    refused("length", run, features * 2, neighbors, threshold=0.5)


# --- all pairs ------------------------------------------------------------------------


@pytest.mark.parametrize("num_devices", [1, 3, 8])
@pytest.mark.parametrize("tail_size", [40, 2**20])
@pytest.mark.parametrize("genuine_size", [1, 2**20])
def test_the_curve_is_that_of_one_device(rng, num_devices, tail_size, genuine_size):
    features = dyadic_rows(rng, 120)
    labels = rng.integers(0, 15, size=120)
    options = {
        "tail_size": tail_size,
        "genuine_size": genuine_size,
        "block_size": 32,
    }
    want = metrics.all_pairs_roc(features, labels, **options)
    got = sharding.all_pairs_roc(features, labels, mesh=mesh(num_devices), **options)
    for name in ("roc", "histogram"):
        for ours, theirs in zip(getattr(got, name), getattr(want, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert got.tail_floor == want.tail_floor
    assert (got.genuine is None) == (want.genuine is None) == (genuine_size == 1)
    pairs = [(want.impostor_tail, got.impostor_tail)]
    if want.genuine is not None and got.genuine is not None:
        pairs.append((want.genuine, got.genuine))
    for theirs, ours in pairs:
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        mine, other = (
            p.rows[np.lexsort((*p.rows.T, p.scores))] for p in (ours, theirs)
        )
        np.testing.assert_array_equal(mine, other)


def test_more_devices_than_tiles_and_progress(rng):
    features, labels = dyadic_rows(rng, 30), np.arange(30) // 2
    calls = []

    def progress(iterable, *, total, desc):
        calls.append((len(list(iterable)), total, desc))
        return iterable

    got = sharding.all_pairs_roc(
        features, labels, mesh=mesh(), block_size=16, progress=progress
    )
    want = metrics.all_pairs_roc(features, labels)
    np.testing.assert_array_equal(got.roc.false_accepts, want.roc.false_accepts)
    np.testing.assert_array_equal(got.roc.true_accepts, want.roc.true_accepts)
    assert calls == [(1, 1, "all pairs")]


def test_bad_pairs_are_refused(rng):
    with pytest.raises(ValueError, match="0 genuine"):
        sharding.all_pairs_roc(dyadic_rows(rng, 12), np.arange(12), mesh=mesh())


# --- FAISS ----------------------------------------------------------------------------


def test_flat_indexes_find_the_exact_neighbors(rng):
    pytest.importorskip("faiss")
    features = dyadic_rows(rng, 150)
    got = sharding.faiss_neighbors(features, k=9, mesh=mesh(3), axis_name="rows")
    want = oracle.exact_neighbors(features, 9)
    # The lists of an index break ties by its own rule, where they end.
    np.testing.assert_array_equal(got.similarity, want.similarity)
    cosines = np.einsum("nd,nkd->nk", features, features[np.asarray(got.indices)])
    np.testing.assert_array_equal(cosines, got.similarity)
    whole = gfa.faiss_neighbors(features, k=9)
    np.testing.assert_array_equal(got.similarity, whole.similarity)


def test_an_inverted_file_a_process(rng):
    pytest.importorskip("faiss")
    features = clustered_features(rng, num_rows=602, dim=8).astype(np.float32)
    spread = sharding.shard_rows(features, mesh=mesh(), axis_name="rows")
    calls, progress = recorded()
    got = sharding.faiss_neighbors(
        spread,
        mesh=mesh(),
        num_rows=602,
        progress=progress,
        axis_name="rows",
        k=4,
        factory="IVF4,Flat",
        search="nprobe=4",
    )
    assert isinstance(got.indices, jax.Array)
    assert got.indices.shape == (608, 4)
    np.testing.assert_array_equal(got.indices[602:], -1)
    np.testing.assert_array_equal(got.indices[:602, 0], np.arange(602))
    assert {s.data.shape for s in got.indices.addressable_shards} == {(76, 4)}
    # Every cell of every index is searched: nothing is missed.
    want = gfa.exact_neighbors(features, k=4)
    np.testing.assert_array_equal(got.indices[:602], want.indices)
    assert calls == [(1, "neighbors")]


def test_bad_indexes_are_refused(rng):
    pytest.importorskip("faiss")
    features = clustered_features(rng, num_rows=61, dim=8)
    run = functools.partial(sharding.faiss_neighbors, mesh=mesh(), axis_name="rows")
    refused("k is 61 with 61 rows", run, features, k=61)
    refused("FAISS refused factory 'Nonsense'", run, features, k=3, factory="Nonsense")


# --- rows of a process ----------------------------------------------------------------


def test_rows_of_this_process(rng):
    rows = rng.standard_normal((61, 2)).astype(np.float32)
    where = sharding.Layout(mesh(), "rows", 61)
    assert where.own == range(61)
    placed = where.place_own(rows)
    assert placed.shape == (64, 2)
    np.testing.assert_array_equal(where.take_own(placed), rows)
    np.testing.assert_array_equal(placed[61:], 0)
    with pytest.raises(ValueError, match="got 60 rows in process 0; expected the 61"):
        where.place_own(rows[:60])
    assert sharding.gather_bytes(b"abc") == [b"abc"]
    with pytest.raises(ValueError, match=r"^broken$"):
        sharding.collective_errors("broken")
    sharding.collective_errors(None)


def test_some_devices_of_each_process():
    assert sharding.row_mesh(per_process=3).size == 3
    with pytest.raises(ValueError, match="9 devices asked; expected 1 to 8"):
        sharding.row_mesh(per_process=9)
