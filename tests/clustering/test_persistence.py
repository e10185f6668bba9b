"""Clusters that persist: against every cut of a small tree, and by hand."""

import functools
import sys
import types
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.clustering import cluster, persistence
from gfa_jax.clustering.linkage import Tree, average_linkage
from gfa_jax.metrics.clustering import cluster_scores
from tests.clustering.problems import everyone, reorder
from tests.clustering.test_linkage import partition, random_problem

SEEDS = st.integers(0, 2**32 - 1)


def tree_of(seed: int, num_rows: int) -> Tree:
    features, neighbors = random_problem(seed, num_rows, 3)
    indices = np.asarray(neighbors.indices, np.int32)
    cosines = np.einsum("nd,nkd->nk", features, features[indices])
    is_other = (indices >= 0) & (indices != np.arange(num_rows)[:, None])
    return average_linkage(
        features, indices, cosines, is_other & (cosines > 0), threshold=0.0
    )


def best_cut(tree: Tree, spread: float, center: float) -> float:
    """The largest objective over all ways to cut, by trying each."""
    num_rows = tree.num_rows

    def height(node):
        if node < num_rows:
            return 1.0
        join = node - num_rows
        below = map(height, tree.children[join].tolist())
        return min(float(tree.height[join]), *below)

    def posterior(value, size):
        wanted = center - 1 + 2 / max(size, 2)
        return 1 / (1 + np.exp(-(value / spread - wanted) / 3))

    def rows(node):
        if node < num_rows:
            return 1
        return sum(map(rows, tree.children[node - num_rows].tolist()))

    def cuts(node, above):
        level = posterior(height(node), rows(node))
        yield rows(node) * max(level - above, 0)
        if node >= num_rows:
            left, right = tree.children[node - num_rows].tolist()
            for one in cuts(left, level):
                for other in cuts(right, level):
                    yield one + other

    nodes = set(range(num_rows + len(tree.children)))
    tops = nodes - set(tree.children.ravel().tolist())
    floor = posterior(persistence.FLOOR * spread, np.inf)
    return sum(max(cuts(top, floor)) for top in tops)


def objective(tree: Tree, chosen: np.ndarray, spread: float, center: float) -> float:
    """What the clusters chosen are worth, from the equation."""
    num_rows = tree.num_rows
    height = np.append(np.ones(num_rows), tree.height.astype(float))
    size = np.append(np.ones(num_rows), np.zeros(len(tree.children)))
    above = np.full(len(height), 1 / (1 + np.exp((center - 1 - persistence.FLOOR) / 3)))
    for join, below in enumerate(tree.children):
        node = num_rows + join
        height[node] = min(height[node], *height[below])
        size[node] = size[below].sum()
    wanted = center - 1 + 2 / np.maximum(size, 2)
    level = 1 / (1 + np.exp((wanted - height / spread) / 3))
    for join, below in enumerate(tree.children):
        above[below] = level[num_rows + join]
    nodes = np.unique(chosen)
    return float(np.sum(size[nodes] * np.maximum(level[nodes] - above[nodes], 0)))


@hypothesis.given(seed=SEEDS, num_rows=st.integers(1, 9), spread=st.floats(0.02, 0.5))
def test_no_other_cut_persists_longer(seed, num_rows, spread):
    tree = tree_of(seed, num_rows)
    chosen = persistence.choose_clusters(tree, spread=spread, center=5.0)
    got = objective(tree, chosen, spread, 5.0)
    assert got == pytest.approx(best_cut(tree, spread, 5.0), abs=1e-9)
    # A cluster is all that lies below one node.
    for node in np.unique(chosen):
        below, open_nodes = set(), [node]
        while open_nodes:
            top = open_nodes.pop()
            if top < num_rows:
                below.add(top)
            else:
                open_nodes += tree.children[top - num_rows].tolist()
        assert below == set(np.flatnonzero(chosen == node).tolist())


@hypothesis.given(seed=SEEDS)
def test_does_not_depend_on_the_order_of_the_rows(seed):
    features, neighbors = random_problem(seed, 30, 4)
    order = np.random.default_rng(seed).permutation(30)
    moved = reorder(neighbors, order)
    one = cluster(features, neighbors).labels
    assert partition(one[order]) == partition(cluster(features[order], moved).labels)


@pytest.fixture(scope="module")
def pool():
    """Twenty people of 2 to 20 rows, some close and some far apart."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 21, 20)
    centers = rng.standard_normal((20, 64))
    labels = np.repeat(np.arange(20), sizes)
    noise = rng.uniform(0.05, 0.3, 20)[labels, None]
    rows = centers[labels] + noise * rng.standard_normal((len(labels), 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), labels


def test_people_of_any_size_and_density_are_found(pool):
    features, labels = pool
    found = cluster(features, gfa.exact_neighbors(features, k=15))
    assert partition(found.labels) == partition(labels)
    assert found.confidence.min() > 0.3


@pytest.mark.parametrize(
    ("method", "package"),
    [("infomap", "infomap"), ("leiden", "leidenalg"), ("hdbscan", "sklearn")],
)
def test_other_packages_by_name(pool, monkeypatch, method, package):
    features, labels = pool
    near = gfa.exact_neighbors(features, k=15)
    pytest.importorskip(package)
    seen: Any = types.SimpleNamespace(spread=0.1, center=5.0)
    run = functools.partial(cluster, evidence=seen, method=method)
    found = run(features, near)
    assert cluster_scores(labels, found.labels).bcubed.f_score > 0.8
    assert found.sizes.sum() == len(labels)
    apart = gfa.Neighbors(np.full((9, 1), -1), np.zeros((9, 1)))
    if method != "hdbscan":  # which reads no candidates
        assert run(features[:9], apart).num_clusters == 9
    names = (package, "sklearn.cluster")
    monkeypatch.setattr("sys.modules", sys.modules | dict.fromkeys(names, None))
    with pytest.raises(
        ImportError, match=r"needs .*; pip install 'gfa_jax\[clusters\]'"
    ):
        cluster(features, near, method=method)


def test_a_change_of_all_cosines_alike_changes_nothing(pool):
    features, labels = pool
    moved = np.hstack([features, np.ones((len(features), 1), np.float32)])
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    neighbors = gfa.exact_neighbors(moved, k=15)
    assert partition(cluster(moved, neighbors).labels) == partition(labels)


def test_what_was_seen_of_the_raw_features_is_read(pool):
    features = pool[0]
    near = everyone(len(features))
    # Where strangers spread as wide as mates, nothing stands out.
    wide = types.SimpleNamespace(spread=10.0, center=5.0)
    apart = cluster(features, near, evidence=wide)  # pyright: ignore[reportArgumentType]
    assert apart.num_clusters == len(features)


def test_no_number_is_needed_as_a_pool_grows():
    scores = []
    for num_rows in (2_000, 8_000):
        sample = datasets.synthetic_features(num_rows=num_rows, dim=128, seed=3)
        neighbors = gfa.exact_neighbors(sample.features, k=57)
        result = gfa.choose_settings(sample.features, neighbors)
        refined = gfa.aggregate(
            sample.features,
            result.neighbors,
            gfa.Params(result.gamma, -1.0),
            num_steps=result.num_steps,
            weights=result.weights,
        ).features
        found = cluster(refined, neighbors, evidence=result.evidence)
        scores.append(cluster_scores(sample.labels, found.labels).bcubed.f_score)
    assert min(scores) > 0.7 and scores[1] > scores[0] - 0.05
