"""`cluster` against a union-find oracle, and by hand."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import gfa_jax as gfa
from gfa_jax.clustering import Clusters, cluster, scores
from gfa_jax.metrics.clustering import cluster_scores
from tests.clustering import problems as oracle
from tests.clustering.problems import (
    STEP,
    as_neighbors,
    circle,
    everyone,
    problems,
    reorder,
)
from tests.problems import recorded

OPTIONS = st.fixed_dictionaries(
    {
        "threshold": st.integers(-64, 64).map(lambda level: level * STEP),
        "max_size": st.none() | st.integers(4, 12),
        "min_size": st.integers(1, 4),
    }
)


def assert_same(result: Clusters, expected: Clusters) -> None:
    for got, want in zip(result, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def partition(labels: np.ndarray) -> np.ndarray:
    """Which rows are together: [N, N], whatever the numbers."""
    return (labels[:, None] == labels[None, :]) & (labels >= 0)[:, None]


@hypothesis.settings(max_examples=200)
@hypothesis.given(problem=problems(), options=OPTIONS)
def test_equals_the_union_find_oracle(problem, options):
    num_rows = len(problem.features)
    scored = oracle.edges(problem, options["threshold"])
    pieces = oracle.cut(range(num_rows), scored, options["max_size"])
    labels = oracle.number(pieces, num_rows, options["min_size"])

    result = cluster(*problem, **options)

    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.sizes, np.bincount(labels[labels >= 0]))
    assert result.num_clusters == labels.max() + 1
    assert result.labels.dtype == np.int32
    assert result.sizes.dtype == np.int64
    assert result.confidence.dtype == problem.features.dtype
    all_labelled = oracle.number(pieces, num_rows, 1)
    expected = np.where(labels < 0, 0, oracle.confidence(problem, all_labelled))
    np.testing.assert_allclose(result.confidence, expected, rtol=0, atol=1e-5)


@hypothesis.given(problem=problems(), options=OPTIONS, seed=st.integers(0, 2**32 - 1))
def test_does_not_depend_on_the_order_of_the_rows(problem, options, seed):
    num_rows = len(problem.features)
    order = np.random.default_rng(seed).permutation(num_rows)
    permuted = reorder(problem.neighbors, order)
    result = cluster(*problem, **options)
    moved = cluster(problem.features[order], permuted, **options)
    np.testing.assert_array_equal(
        partition(moved.labels), partition(result.labels[order])
    )
    np.testing.assert_array_equal(moved.sizes, result.sizes)
    # The slots keep their order, so the sums do too.
    np.testing.assert_array_equal(moved.confidence, result.confidence[order])


@hypothesis.given(problem=problems(), options=OPTIONS)
def test_whether_a_row_lists_itself_makes_no_difference(problem, options):
    itself = np.arange(len(problem.features))[:, None]
    listed = np.hstack([itself, problem.neighbors.indices])
    assert_same(
        cluster(problem.features, as_neighbors(listed), **options),
        cluster(*problem, **options),
    )


def test_a_pair_on_the_threshold_stays():
    features = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]], np.float32)
    neighbors = as_neighbors([[1], [0]])
    assert cluster(features, neighbors, threshold=0.5).num_clusters == 1
    above = np.nextafter(np.float32(0.5), np.float32(1))
    assert cluster(features, neighbors, threshold=above).num_clusters == 2


def test_one_direction_is_enough():
    neighbors = as_neighbors([[1], [-1], [1], [2]])
    features = circle(0, 1, 2, 3)
    np.testing.assert_array_equal(
        cluster(features, neighbors, threshold=0.9).labels, [0, 0, 0, 0]
    )


def test_rows_of_small_clusters_have_no_label():
    features = circle(0, 90, 91, 180, 181, 182)
    result = cluster(features, everyone(6), threshold=0.99, min_size=2)
    np.testing.assert_array_equal(result.labels, [-1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(result.sizes, [3, 2])
    assert result.confidence[0] == 0
    none = cluster(features, everyone(6), threshold=0.99, min_size=4)
    np.testing.assert_array_equal(none.labels, np.full(6, -1))
    assert none.num_clusters == 0
    np.testing.assert_array_equal(none.confidence, np.zeros(6))


def test_a_large_component_alone_gets_a_higher_threshold():
    # Two groups that a bridge of 20 degrees joins, and a pair as far apart.
    features = circle(0, 3, 6, 26, 29, 32, 150, 170)
    run = functools.partial(
        cluster, features, everyone(8), threshold=np.cos(np.radians(21))
    )
    whole = run()
    np.testing.assert_array_equal(whole.labels, [0, 0, 0, 0, 0, 0, 1, 1])
    split = run(max_size=5)
    np.testing.assert_array_equal(split.labels, [0, 0, 0, 1, 1, 1, 2, 2])
    assert_same(run(max_size=6), whole)


def test_equal_similarities_are_cut_together():
    # A ring of equal links: any choice among them would depend on the order.
    features = np.eye(4, dtype=np.float32)
    ring = as_neighbors([[1], [2], [3], [0]])
    assert cluster(features, ring, threshold=0.0, max_size=4).num_clusters == 1
    assert cluster(features, ring, threshold=0.0, max_size=3).num_clusters == 4


@pytest.mark.parametrize("num_rows", [5, 8, 21])
def test_blocks_and_parts_do_not_show(rng, monkeypatch, num_rows):
    problem = oracle.Problem(
        oracle.lattice_features(rng, num_rows),
        as_neighbors(rng.integers(-1, num_rows, (num_rows, 4))),
    )
    options = {"threshold": 0.5, "max_size": 5}
    whole = cluster(*problem, **options)
    monkeypatch.setattr(scores, "_PART", 8)
    seen, progress = recorded()
    assert_same(cluster(*problem, progress=progress, **options), whole)
    assert seen == [(-(-num_rows // 8), "similarities")]


def test_takes_device_arrays_and_half_precision():
    features = circle(0, 5, 90, 95)
    expected = cluster(features, everyone(4), threshold=0.9)
    neighbors = gfa.Neighbors(*map(jnp.asarray, everyone(4)))
    assert_same(cluster(jnp.asarray(features), neighbors, threshold=0.9), expected)
    half = cluster(features.astype(jnp.bfloat16), neighbors, threshold=0.9)
    np.testing.assert_array_equal(half.labels, expected.labels)
    assert half.confidence.dtype == np.float32


def test_neighborhoods_are_never_all_in_memory():
    num_rows, k, dim = 8192, 16, 64
    compiled = scores._score_part.lower(
        jax.ShapeDtypeStruct((num_rows, dim), jnp.float32),
        jax.ShapeDtypeStruct((num_rows, k), jnp.int32),
        0,
        size=num_rows,
    ).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    # The similarities twice (blocks, then whole), and a block or two; all
    # neighbourhoods would be 33 MB.
    assert analysis.temp_size_in_bytes < 2 * num_rows * k * 4 + 4 * 2**20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.01}, r"threshold is 1.01; expected a value in \[-1, 1\]"),
        ({"threshold": -1.01}, "threshold is -1.01"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"min_size": 0}, "min_size is 0; expected at least 1"),
        ({"max_size": 0}, "max_size is 0; expected at least 1"),
        ({"max_size": 2, "min_size": 3}, "max_size is 2; expected .* which is 3"),
        ({"method": "complete"}, "'complete'; expected one of persistent, components"),
        ({"method": "persistent"}, "'persistent' and threshold is 0.5; expected"),
        ({"method": "leiden"}, "'leiden' and threshold is 0.5; expected"),
        ({"method": "average", "threshold": None}, "threshold is None; expected"),
        ({"method": "average", "max_size": 2}, "max_size is 2; expected None"),
        ({"features": np.zeros(4, np.float32)}, "do not fit"),
        ({"features": circle(0, 1, 2)}, r"features \(3, 2\) and .*do not fit"),
        ({"features": np.zeros((4, 2), np.int32)}, "expected a floating dtype"),
        ({"features": 2 * circle(0, 1, 2, 3)}, "row 0 .* length 2; expected unit"),
        ({"features": circle(0, 1, np.nan, 3)}, "row 2 .* length nan"),
        ({"indices": np.zeros(4, np.int32)}, "do not fit"),
        ({"indices": np.zeros((4, 0), np.int32)}, "at least one row and one cand"),
        ({"indices": np.zeros((4, 2), np.float32)}, "expected integers"),
        ({"indices": np.full((4, 2), 4)}, r"span \[4, 4\]; expected \[-1, 4\)"),
        ({"indices": np.full((4, 2), -2)}, r"span \[-2, -2\]"),
        (
            {
                "features": np.zeros((0, 2), np.float32),
                "indices": np.zeros((0, 2), np.int32),
            },
            "at least one row",
        ),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {
        "features": circle(0, 1, 2, 3),
        "indices": everyone(4).indices,
        "threshold": 0.5,
    }
    arguments |= change
    features, indices = arguments.pop("features"), arguments.pop("indices")
    with pytest.raises(ValueError, match=message):
        cluster(features, gfa.Neighbors(indices, indices), **arguments)


def test_real_faces(real_data):
    # 250 people of 14 images: K = 15 others, the whole file.
    data = real_data("cfp_dev.npz")
    features, labels = data["features"], data["labels"]
    neighbors = gfa.exact_neighbors(features, k=16)
    raw = cluster_scores(labels, cluster(features, neighbors, threshold=0.5).labels)
    # Figures of an independent implementation, printed to three digits.
    assert raw.pairwise.f_score == pytest.approx(0.784, abs=0.01)
    assert raw.bcubed.f_score == pytest.approx(0.813, abs=0.01)
    refined = gfa.aggregate(features, neighbors, gfa.Params(0.5, 0.35), num_steps=5)
    run = functools.partial(cluster, refined.features, neighbors, threshold=0.8)
    better = run()
    assert cluster_scores(labels, better.labels).bcubed.f_score > 0.85
    capped = run(max_size=30)
    assert capped.sizes[0] <= 30 < better.sizes[0]
    assert cluster_scores(labels, capped.labels).pairwise.f_score > 0.83


@pytest.mark.parametrize("method", ["components", "average"])
@pytest.mark.parametrize("dim", [3, 100])
def test_equal_rows_are_together_at_threshold_1(method, dim):
    features = np.full((6, dim), np.float32(1 / np.sqrt(dim)))
    features[4:, 0] *= -1
    found = cluster(features, everyone(6), threshold=1, method=method)
    np.testing.assert_array_equal(found.labels, [0, 0, 0, 0, 1, 1])
