"""Every clusterer on an easy problem; those written here by a second path too."""

import numpy as np
import pytest

import gfa_jax as gfa
from experiments.studies.clusterers import (
    CLUSTERERS,
    Clusterer,
    Problem,
    tuning,
    whispers,
)
from experiments.studies.clusterers import problem as problems
from experiments.studies.clusterers.rank_order import rank_order_distances
from gfa_jax import datasets, metrics

PACKAGES = {
    "kmeans": "faiss",
    "dbscan": "sklearn",
    "hdbscan": "sklearn",
    "whispers": "numba",
    "infomap": "infomap",
    "infomap_refined": "infomap",
}


def as_problem(features, labels, k=30) -> Problem:
    neighbors = gfa.exact_neighbors(features, k=k)
    on_host = gfa.Neighbors(*(np.asarray(column) for column in neighbors))
    return Problem(features, on_host, len(np.unique(labels)), seed=0)


@pytest.fixture(scope="module")
def easy():
    """Frontal images of good contrast: every clusterer should do well somewhere."""
    sample = datasets.synthetic_features(
        num_rows=1000, dim=64, seed=4, junk_share=0.0, max_size=60
    )
    frontal = sample.pose == 0
    labels = sample.labels[frontal]
    return as_problem(sample.features[frontal], labels), labels


@pytest.mark.parametrize("name", list(CLUSTERERS))
def test_finds_the_people_of_an_easy_sample(easy, name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    problem, labels = easy
    before = problem.features.copy()
    tried = tuning.tune(CLUSTERERS[name], problem, labels, trials=12, seed=0)
    assert len(tried) == min(
        12, np.prod([len(v) for v in CLUSTERERS[name].space.values()])
    )
    setting = tuning.best(tried)
    found = CLUSTERERS[name].cluster(problem, **setting)
    assert found.shape == labels.shape
    assert found.dtype.kind == "i"
    # k-means with the true count splits large people; no other rule should.
    least = 0.75 if name == "kmeans" else 0.9
    assert metrics.cluster_scores(labels, found).bcubed.f_score > least
    again = CLUSTERERS[name].cluster(problem, **setting)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(problem.features, before)


def test_the_graph_is_symmetric_and_without_loops():
    features = np.eye(3, dtype=np.float32)
    neighbors = gfa.Neighbors(
        np.array([[0, 1], [1, 2], [2, -1]], np.int32),
        np.array([[1, 0.6], [1, 0.4], [1, -np.inf]], np.float32),
    )
    problem = Problem(features, neighbors, 3, seed=0)
    links = problems.graph(problem, k=2, threshold=0.5).toarray()
    expected = np.zeros((3, 3), np.float32)
    expected[0, 1] = expected[1, 0] = np.float32(0.6)
    np.testing.assert_array_equal(links, expected)


def literal_rank_order(lists: list[list[int]], a: int, b: int, k: int) -> float:
    """D of the module's equation, from the lists alone."""

    def place(row, other):
        return lists[row].index(other) if other in lists[row] else k

    def directed(row, other):
        reach = min(place(row, other), k - 1)
        return sum(c not in lists[other] for c in lists[row] if place(row, c) <= reach)

    return (directed(a, b) + directed(b, a)) / min(place(a, b), place(b, a), k)


@pytest.mark.parametrize("k", [2, 5, 8])
def test_rank_order_distances_equal_a_literal_reading(k):
    rng = np.random.default_rng(k)
    num_rows = 25
    indices = np.stack([rng.permutation(num_rows)[:k] for _ in range(num_rows)])
    indices[:20, 0] = np.arange(20)  # most rows list themselves, and first
    for row in range(20):
        repeats = np.flatnonzero(indices[row, 1:] == row) + 1
        indices[row, repeats] = -1
    indices[rng.random(indices.shape) < 0.1] = -1
    lists = [
        [row, *(int(j) for j in listed if j >= 0 and j != row)][:k]
        for row, listed in enumerate(indices)
    ]
    distances = rank_order_distances(indices)
    for row, listed in enumerate(indices):
        for slot, other in enumerate(listed):
            if other < 0 or other == row or other not in lists[row]:
                assert distances[row, slot] == np.inf
            else:
                expected = literal_rank_order(lists, row, int(other), k)
                assert distances[row, slot] == expected


def test_whispers_sweep_equals_a_literal_reading(easy):
    problem, _ = easy
    links = problems.graph(problem, k=15, threshold=0.3)
    order = np.random.default_rng(1).permutation(len(problem.features))
    labels = np.arange(len(order))
    weights = np.zeros(len(order))
    changed = whispers.sweep(
        links.indptr, links.indices, links.data, order, labels, weights
    )
    expected = {row: row for row in range(len(order))}
    table = links.todok()
    heard: dict[int, dict[int, float]] = {row: {} for row in expected}
    for (row, other), weight in table.items():
        heard[int(row)][int(other)] = float(weight)
    for row in order.tolist():
        total = {expected[row]: 0.0}
        for other, weight in heard[row].items():
            total[expected[other]] = total.get(expected[other], 0.0) + weight
        expected[row] = max(total, key=total.__getitem__)
    assert changed
    np.testing.assert_array_equal(labels, list(expected.values()))
    np.testing.assert_array_equal(weights, 0)


def test_whispers_stay_apart_without_links_and_settle():
    pytest.importorskip("numba")
    features = np.eye(4, dtype=np.float32)
    problem = as_problem(features, np.arange(4), k=2)
    alone = whispers.cluster(problem, k=2, threshold=0.5, num_sweeps=3)
    np.testing.assert_array_equal(alone, np.arange(4))
    features = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    problem = as_problem(features, np.arange(6), k=3)
    pairs = whispers.cluster(problem, k=3, threshold=0.5, num_sweeps=9)
    assert len(set(pairs[:3])) == len(set(pairs[3:])) == 1
    assert pairs[0] != pairs[3]


def test_infomap_leaves_rows_without_links_alone():
    pytest.importorskip("infomap")
    problem = as_problem(np.eye(4, dtype=np.float32), np.arange(4), k=2)
    labels = CLUSTERERS["infomap"].cluster(problem, k=2, threshold=0.5)
    np.testing.assert_array_equal(labels, [-1] * 4)


def test_settings_are_drawn_without_repeats_and_again_the_same():
    space = {"a": (1, 2, 3), "b": ("x", "y")}
    everything = tuning.settings(space, trials=100, seed=0)
    assert len(everything) == 6
    drawn = tuning.settings(space, trials=4, seed=0)
    assert len({tuple(cell.items()) for cell in drawn}) == 4
    assert all(cell in everything for cell in drawn)
    assert drawn == tuning.settings(space, trials=4, seed=0)
    assert drawn != tuning.settings(space, trials=4, seed=1)


def test_the_setting_is_chosen_on_one_problem_and_scored_on_the_other():
    def by_sign(problem, *, flip):
        return (problem.features[:, 0] * (-1 if flip else 1) > 0.9).astype(int)

    def problem(signs):
        features = np.array(signs, np.float32)[:, None]
        return Problem(features, gfa.Neighbors(features, features), 2, seed=0)

    clusterer = Clusterer("sign", by_sign, {"flip": (False, True)})
    first = problem([1, 1, -1, 0]), np.array([0, 0, 1, 1])
    second = problem([1, -1, -1]), np.array([0, 0, 0])
    outcome = tuning.compete(clusterer, first, second, trials=2, seed=0)
    assert outcome.setting == {"flip": False}
    assert outcome.tried[0][1] == 1
    assert outcome.scores.num_clusters == 2
    assert outcome.scores.bcubed.precision == 1
    assert outcome.seconds >= 0


def test_a_missing_package_is_named():
    with pytest.raises(ImportError, match=r"needs no_such_package.*'\.\[clusters\]'"):
        problems.need("no_such_package", "clusters")


def test_mutual_candidates_list_each_other(rng):
    indices = np.array([[0, 1, 2], [1, 0, -1], [2, 3, 1], [3, 2, -1]])
    similarity = rng.random(indices.shape).astype(np.float32)
    problem = problems.Problem(np.eye(4), gfa.Neighbors(indices, similarity), 2, 0)
    found = problems.nearest(problem, 3, mutual=True)
    expected = [[0, 1, -1], [1, 0, -1], [2, 3, -1], [3, 2, -1]]
    np.testing.assert_array_equal(found.indices, expected)
