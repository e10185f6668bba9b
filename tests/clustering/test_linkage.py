"""Average linkage against SciPy's, against a literal reading, and by hand."""

import hypothesis
import numpy as np
from hypothesis import strategies as st
from scipy.cluster import hierarchy

from gfa_jax import Neighbors
from gfa_jax.clustering import cluster, linkage
from tests.clustering.problems import as_neighbors, circle, everyone, reorder

SEEDS = st.integers(0, 2**32 - 1)


def random_problem(seed: int, num_rows: int, k: int) -> tuple[np.ndarray, Neighbors]:
    """Rows around a few centres, no two cosines alike; candidates at random."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((4, 6))[rng.integers(4, size=num_rows)]
    features = features + rng.standard_normal((num_rows, 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    indices = rng.integers(0, num_rows, (num_rows, k))
    indices[rng.random(indices.shape) < 0.2] = -1
    return features.astype(np.float32), as_neighbors(indices)


def test_pairs_sorted_a_few_rows_at_a_time_are_those_of_all(rng, monkeypatch):
    indices = rng.integers(-1, 50, (50, 6))
    survives = (indices >= 0) & (indices != np.arange(50)[:, None])
    given = indices, rng.random((50, 6)), survives
    want = linkage.unique_pairs(*given)
    monkeypatch.setattr(linkage, "_SORTED_AT_ONCE", 40)
    for got, expected in zip(linkage.unique_pairs(*given), want, strict=True):
        np.testing.assert_array_equal(got, expected)


def partition(labels) -> set[frozenset[int]]:
    labels = np.asarray(labels)
    groups = (np.flatnonzero(labels == label).tolist() for label in np.unique(labels))
    return set(map(frozenset, groups))


def literal(features, neighbors, threshold) -> set[frozenset[int]]:
    """The rounds as the module states them, over sets, in float64."""
    features = features.astype(np.float64)

    def mean(first, second):
        return np.mean([features[i] @ features[j] for i in first for j in second])

    groups = [frozenset([row]) for row in range(len(features))]
    adjacent = {
        frozenset([groups[i], groups[j]])
        for i, listed in enumerate(neighbors.indices)
        for j in listed
        if j >= 0 and j != i and features[i] @ features[j] >= threshold
    }
    while True:
        value = {pair: mean(*pair) for pair in adjacent}
        adjacent = {pair for pair in adjacent if value[pair] >= threshold}
        if not adjacent:
            return set(groups)
        best = {
            group: max(
                (pair for pair in adjacent if group in pair),
                key=value.__getitem__,
                default=None,
            )
            for group in groups
        }
        joins = [p for p in adjacent if all(best[group] == p for group in p)]
        renamed = {group: group for group in groups}
        for pair in joins:
            renamed |= dict.fromkeys(pair, frozenset().union(*pair))
        groups = list(set(renamed.values()))
        adjacent = {
            pair
            for pair in (frozenset(renamed[g] for g in pair) for pair in adjacent)
            if len(pair) == 2
        }


@hypothesis.given(seed=SEEDS, threshold=st.floats(-0.2, 0.9))
def test_is_the_classical_one_where_every_row_lists_every_row(seed, threshold):
    features, _ = random_problem(seed, 20, 1)
    result = cluster(features, everyone(20), threshold=threshold, method="average")
    above = np.triu_indices(20, 1)
    distances = 1 - (features.astype(np.float64) @ features.T.astype(np.float64))[above]
    tree = hierarchy.linkage(distances, "average")
    # A mean on the threshold may round to either side of it.
    hypothesis.assume(np.abs(tree[:, 2] - (1 - threshold)).min() > 1e-5)
    expected = hierarchy.fcluster(tree, 1 - threshold, "distance")
    assert partition(result.labels) == partition(expected)


@hypothesis.given(
    seed=SEEDS,
    num_rows=st.sampled_from([2, 7, 20]),
    threshold=st.sampled_from([-0.5, 0.1, 0.3, 0.6]),
)
def test_equals_a_literal_reading(seed, num_rows, threshold):
    features, neighbors = random_problem(seed, num_rows, 3)
    result = cluster(features, neighbors, threshold=threshold, method="average")
    expected = literal(features, neighbors, threshold)
    assert partition(result.labels) == expected
    sizes = sorted(map(len, expected), reverse=True)
    np.testing.assert_array_equal(result.sizes, sizes)


@hypothesis.given(seed=SEEDS)
def test_does_not_depend_on_the_order_of_the_rows(seed):
    features, neighbors = random_problem(seed, 20, 3)
    order = np.random.default_rng(seed).permutation(20)
    moved = reorder(neighbors, order)
    options = {"threshold": 0.3, "method": "average"}
    one = cluster(features, neighbors, **options).labels
    other = cluster(features[order], moved, **options).labels
    assert partition(one[order]) == partition(other)


def test_one_wrong_pair_does_not_join_two_people():
    # Two people of five rows each, 18° apart where they are closest, 38° on average.
    features = circle(0, 5, 10, 15, 20, 38, 43, 48, 53, 58)
    neighbors = everyone(10)
    single = cluster(features, neighbors, threshold=0.9)
    average = cluster(features, neighbors, threshold=0.9, method="average")
    assert single.num_clusters == 1
    assert partition(average.labels) == {frozenset(range(5)), frozenset(range(5, 10))}


def test_copies_of_one_row_are_one_cluster():
    features = np.repeat(circle(0, 90), 12, axis=0)
    # A chain: every row lists the next, and all cosines within a person are equal.
    chain = as_neighbors(np.append(np.arange(1, 24), -1)[:, None])
    result = cluster(features, chain, threshold=0.99, method="average")
    np.testing.assert_array_equal(result.labels, np.repeat([0, 1], 12))
    np.testing.assert_allclose(result.confidence, 1, rtol=0, atol=1e-3)


def test_nothing_to_join_and_everything_to_join():
    features = circle(0, 5, 10, 15)
    for threshold, count in ((1.0, 4), (-1.0, 1)):
        result = cluster(features, everyone(4), threshold=threshold, method="average")
        assert result.num_clusters == count
    empty = as_neighbors(np.full((4, 2), -1))
    result = cluster(features, empty, threshold=-1.0, method="average")
    np.testing.assert_array_equal(result.labels, np.arange(4))
    np.testing.assert_array_equal(result.confidence, np.zeros(4))


def test_blocks_of_pairs_do_not_show(monkeypatch):
    features, neighbors = random_problem(5, 40, 6)
    options = {"threshold": 0.2, "method": "average"}
    whole = cluster(features, neighbors, **options)
    monkeypatch.setattr(linkage, "_BLOCK_PAIRS", 3)
    in_parts = cluster(features, neighbors, **options)
    np.testing.assert_array_equal(whole.labels, in_parts.labels)


def test_inputs_are_untouched_and_progress_is_called():
    features, neighbors = random_problem(1, 20, 3)
    before = features.copy(), np.array(neighbors.indices)
    said = []

    def progress(iterable, *, total, desc):
        said.append(desc)
        return iterable

    cluster(features, neighbors, threshold=0.2, method="average", progress=progress)
    assert said == ["similarities", "joins"]
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(neighbors.indices, before[1])


def test_real_faces(real_data):
    """Above components by more than a point, each at the best of a few thresholds."""
    import gfa_jax as gfa
    from gfa_jax import metrics

    stored = real_data("cfp_dev.npz")
    rows = slice(0, 1400)
    features, identities = stored["features"][rows], stored["labels"][rows]
    neighbors = gfa.exact_neighbors(features, k=15)

    def best(method, thresholds):
        return max(
            metrics.cluster_scores(
                identities,
                cluster(features, neighbors, threshold=t, method=method).labels,
            ).bcubed.f_score
            for t in thresholds
        )

    assert (
        best("average", (0.2, 0.25, 0.3)) > best("components", (0.45, 0.5, 0.55)) + 0.01
    )
