"""Approximate search reaches the recall it promises, or is exact."""

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.neighbors.ivf import calibrated, cells, recall
from tests.neighbors.ivf.test_cells import choose_probes, search

pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def pool():
    return datasets.synthetic_features(num_rows=6000, dim=64, seed=3).features


@pytest.fixture
def no_lower_limit(monkeypatch):
    """Lets a small pool be searched approximately."""
    monkeypatch.setattr(calibrated, "FEWEST_ROWS", 0)


def others_above(neighbors: gfa.Neighbors, threshold: float) -> list[set[int]]:
    indices, similarity = map(np.asarray, neighbors)
    return [
        set(row[1:][cosine[1:] > threshold].tolist())
        for row, cosine in zip(indices, similarity, strict=True)
    ]


def test_the_edges_that_count_are_found(pool, no_lower_limit):
    found, calibration = gfa.approximate_neighbors(pool, k=15, threshold=0.6)
    assert calibration.factory.startswith("IVF")
    assert calibration.recall >= calibration.lower_bound >= 0.99 == calibration.target
    exact = others_above(gfa.exact_neighbors(pool, k=15), 0.6)
    hits = [len(e & f) for e, f in zip(exact, others_above(found, -1), strict=True)]
    total = sum(map(len, exact))
    # All rows, not the sample: the bound holds for the whole at 95 %.
    assert sum(hits) / total >= 0.985
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(6000))
    assert 0 < calibration.num_edges < total


def test_it_is_exact_where_cells_do_not_help(pool, no_lower_limit):
    # Without structure the nearest rows lie in all cells.
    noise = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    found, calibration = gfa.approximate_neighbors(noise, k=10)
    assert (calibration.factory, calibration.recall) == ("Flat", 1.0)
    exact = gfa.exact_neighbors(noise, k=10)
    np.testing.assert_array_equal(found.indices, exact.indices)


def test_rows_that_are_all_equal_are_searched(no_lower_limit):
    features = np.full((500, 8), 8**-0.5, np.float32)
    found, calibration = gfa.approximate_neighbors(features, k=6, threshold=0.5)
    # They are all in one cell.
    assert calibration.lower_bound >= 0.99
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(500))
    assert np.all(found.indices >= 0)
    np.testing.assert_allclose(found.similarity, 1, rtol=0, atol=1e-6)
    params = gfa.Params(gamma=0.5, threshold=0.5)
    result = gfa.aggregate(features, found, params, num_steps=2)
    np.testing.assert_allclose(result.features, features, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("no_lower_limit")
def test_one_copy_is_as_good_as_another(pool):
    """Of ten copies the exact search lists some, and cells others."""
    copies = np.repeat(pool[:600], 10, axis=0)
    found, calibration = gfa.approximate_neighbors(copies, k=5)
    assert calibration.factory != "Flat"
    assert calibration.recall == 1.0
    np.testing.assert_allclose(found.similarity, 1, rtol=0, atol=1e-6)


def test_recall_and_its_bound():
    wanted = edges_of([2, 1, 0, 4])
    hits = np.array([1, 1, 1, 1, 1, 1, 0], bool)
    share, bound = recall.estimate(wanted, hits)
    assert share == pytest.approx(6 / 7)
    # Hits less r · edges: 2/7, 1/7, 0, −3/7.
    assert bound == pytest.approx(6 / 7 - 1.645 * np.sqrt(14) / 7 / 7)
    # Three rows without a miss prove nothing.
    assert recall.estimate(wanted, np.ones(7, bool)) == (1.0, 0.0)
    assert recall.estimate(edges_of([0]), hits[:0]) == (1.0, 1.0)


def edges_of(sizes) -> recall.Edges:
    """Edges of rows 0, 1, ...; to whom does not matter."""
    place = np.repeat(np.arange(len(sizes)), sizes)
    return recall.Edges(place, place, np.zeros_like(place), np.ones(len(place)))


def test_the_bound_holds_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        sizes = random.integers(1, 15, 500)
        # Rows differ in how findable their edges are, as those of a poor image do.
        chance = np.repeat(random.beta(30, 1, 500), sizes)
        hits = random.random(len(chance)) < chance
        held += recall.estimate(edges_of(sizes), hits)[1] <= 30 / 31
    assert held / 400 >= 0.92


def test_the_ratio_chosen_is_the_largest_that_will_do():
    random = np.random.default_rng(0)
    wanted = edges_of(random.integers(1, 15, 500))
    ratios = random.random(len(wanted.rows)).astype(np.float32)

    def bound(ratio):
        return recall.estimate(wanted, ratios >= ratio)[1]

    chosen = calibrated._choose_ratio(ratios, wanted, 0.9)
    assert chosen is not None
    assert bound(chosen) >= 0.9 > bound(chosen + 0.01)
    # No sample of 500 rows proves that much, and no ratio below 0 saves anything.
    assert calibrated._choose_ratio(ratios, wanted, 0.999) is None
    assert calibrated._choose_ratio(ratios - 1, wanted, 0.9) is None
    assert calibrated._choose_ratio(ratios[:0], edges_of([0]), 0.9) == 1.0


def test_an_edge_is_found_up_to_its_ratio(pool):
    """The ratio of one side is enough, and no less will do."""
    faiss = pytest.importorskip("faiss")
    centroids = cells.train(faiss, pool, 32)
    rows = np.arange(0, 6000, 60)
    wanted = recall.exact_edges(pool, rows, 8, 0.5)
    ratios = calibrated._least_ratios(pool, centroids, wanted)
    for ratio in (0.3, 0.6, 0.9):
        probes = choose_probes(pool, centroids, ratio)
        best = search(pool, probes, k=8)
        hits = np.any(best.indices[wanted.rows] == wanted.others[:, None], axis=1)
        np.testing.assert_array_equal(hits, ratios >= ratio)
    assert 0 < hits.mean() < 1


def test_a_result_below_its_target_is_not_returned(pool, no_lower_limit, monkeypatch):
    monkeypatch.setattr(calibrated, "_choose_ratio", lambda *_: 1.0)
    found, calibration = gfa.approximate_neighbors(pool, k=15, threshold=0.6)
    assert calibration.factory == "Flat"
    exact = gfa.exact_neighbors(pool, k=15)
    np.testing.assert_array_equal(found.indices, exact.indices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edge_recall": 0.0}, "edge_recall is 0.0"),
        ({"edge_recall": 1.5}, "edge_recall is 1.5"),
        ({"threshold": 2.0}, "threshold is 2; expected"),
        ({"k": 6000}, "k is 6000"),
        ({"features": np.full((9, 2), np.nan)}, "row 0 of the features has length nan"),
    ],
)
def test_bad_input_is_refused(pool, options, message):
    with pytest.raises(ValueError, match=message):
        gfa.approximate_neighbors(**{"features": pool, "k": 5} | options)


def test_the_row_itself_is_first_or_nowhere(pool, no_lower_limit):
    said = []

    def progress(iterable, *, total, desc):
        said.append((desc, total - len(iterable)))
        return iterable

    itself, calibration = gfa.approximate_neighbors(
        pool, k=9, threshold=0.6, progress=progress
    )
    assert said == [("bounds", 0), ("neighbors", 0)]
    assert calibration.factory.startswith("IVF")
    others, _ = gfa.approximate_neighbors(pool, k=8, threshold=0.6, include_self=False)
    np.testing.assert_array_equal(itself.indices[:, 1:], others.indices)
    np.testing.assert_array_equal(itself.indices[:, 0], np.arange(6000))
    assert not np.any(others.indices == np.arange(6000)[:, None])
    kept = others.indices >= 0
    cosines = np.einsum("nd,nkd->nk", pool, pool[others.indices])
    np.testing.assert_allclose(
        others.similarity[kept], cosines[kept], rtol=0, atol=1e-6
    )
