"""The streamed curve against the list of all pairs, which small sets can afford."""

import inspect
import tracemalloc

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from gfa_jax.metrics import (
    AllPairs,
    Roc,
    all_pairs_roc,
    auc,
    restrict_genuine,
    roc_curve,
    tpr_at_fpr,
)
from gfa_jax.metrics.all_pairs import plan_pairs


def list_all(features, labels):
    """Scores, labels and rows of all pairs i < j, in the dtype of the features."""
    rows = np.stack(np.triu_indices(len(features), k=1), axis=1)
    scores = (features @ features.T)[rows[:, 0], rows[:, 1]]
    labels = np.asarray(labels)
    return scores, labels[rows[:, 0]] == labels[rows[:, 1]], rows


def corners_of_a_cube(rng, num_rows, dimensions=64, dtype=np.float32):
    """Unit rows whose dot products are exact in any order of summation, with ties."""
    signs = rng.choice([-1, 1], size=(num_rows, dimensions))
    return (signs / np.sqrt(dimensions)).astype(dtype)


def random_rows(rng, num_rows, dimensions=16):
    features = rng.normal(size=(num_rows, dimensions))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def list_streamed(result: AllPairs):
    """Scores and labels of all pairs, as a result with a whole tail holds them.

    The list of another product of random rows differs in its roundings.
    """
    assert result.genuine is not None and result.tail_floor == -np.inf
    impostor, genuine = result.impostor_tail.scores, result.genuine.scores
    same = np.repeat([False, True], [impostor.size, genuine.size])
    return np.concatenate([impostor, genuine]).astype(np.float64), same


def assert_same_curve(got: Roc, expected: Roc):
    for field, value in zip(Roc._fields, expected, strict=True):
        np.testing.assert_array_equal(getattr(got, field), value, err_msg=field)


def assert_true_points(roc: Roc, scores, same):
    """Every point of the curve counts the accepts at its threshold, start to end."""
    impostor, genuine = np.sort(scores[~same]), np.sort(scores[same])
    for counts, ordered in (
        (roc.false_accepts, impostor),
        (roc.true_accepts, genuine),
    ):
        expected = ordered.size - np.searchsorted(ordered, roc.thresholds)
        np.testing.assert_array_equal(counts, expected)
        assert counts.dtype == np.int64
        assert (counts[0], counts[-1]) == (0, ordered.size)
    assert np.all(np.diff(roc.thresholds) < 0)
    assert (roc.num_impostor, roc.num_genuine) == (impostor.size, genuine.size)


@pytest.mark.parametrize("num_rows", [3, 64, 101, 200])
@pytest.mark.parametrize("block_size", [1, 7, 64, 100, 1000])
def test_whole_tail_gives_the_curve_of_the_list(rng, num_rows, block_size):
    if block_size == 1 and num_rows > 64:
        num_rows = 33  # one program call a pair: enough rows to cross blocks
    features = corners_of_a_cube(rng, num_rows)
    labels = rng.integers(0, max(2, num_rows // 4), size=num_rows)
    labels[:3] = 0, 1, 0
    scores, same, rows = list_all(features, labels)
    result = all_pairs_roc(features, labels, block_size=block_size)
    assert_same_curve(result.roc, roc_curve(scores, same))
    assert result.tail_floor == -np.inf
    for kept, chosen in ((result.impostor_tail, ~same), (result.genuine, same)):
        assert kept is not None
        assert sorted(map(tuple, kept.rows)) == sorted(map(tuple, rows[chosen]))
        i, j = kept.rows.T
        np.testing.assert_array_equal(
            kept.scores, np.sum(features[i] * features[j], axis=1)
        )
        assert np.all(np.diff(kept.scores) <= 0)
    _, identities = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(result.identities, identities)


@pytest.mark.parametrize("num_rows", [101, 150])
@pytest.mark.parametrize("block_size", [16, 101])
@pytest.mark.parametrize("tail_size", [1, 37, 1000, 5000])
@pytest.mark.parametrize("make", [corners_of_a_cube, random_rows])
def test_short_tail_is_complete_above_its_floor_and_true_below(
    rng, num_rows, block_size, tail_size, make
):
    features = make(rng, num_rows)
    labels = rng.integers(0, 25, size=num_rows)
    whole = all_pairs_roc(features, labels, block_size=block_size)
    scores, same = list_streamed(whole)
    result = all_pairs_roc(features, labels, block_size=block_size, tail_size=tail_size)
    floor = result.tail_floor
    impostor = np.sort(scores[~same])[::-1]
    first_left_out = impostor[tail_size] if tail_size < impostor.size else -np.inf
    assert floor == first_left_out
    np.testing.assert_array_equal(
        result.impostor_tail.scores, impostor[impostor > floor]
    )

    assert_true_points(result.roc, scores, same)
    exact = roc_curve(scores, same)
    num_above = np.count_nonzero(exact.thresholds > floor)
    assert num_above == np.count_nonzero(result.roc.thresholds > floor)
    for got, expected in zip(result.roc[:3], exact[:3], strict=True):
        np.testing.assert_array_equal(got[:num_above], expected[:num_above])


def test_scores_of_random_rows(rng):
    features = random_rows(rng, 101).astype(np.float32)
    labels = rng.integers(0, 25, size=101)
    scores, same, _ = list_all(features.astype(np.float64), labels)
    got, got_same = list_streamed(all_pairs_roc(features, labels, block_size=30))
    for kind in (False, True):
        expected = np.sort(scores[same == kind])[::-1]
        # float32 sums of 16 products of unit rows; TF32 would be off by 3e-4.
        np.testing.assert_allclose(got[got_same == kind], expected, atol=3e-7)


@pytest.mark.parametrize("genuine_size", [10, 2**24])
def test_stated_error_bounds_below_the_floor(rng, genuine_size):
    # All around one direction: their cosines fill few bins, of many scores each.
    features = np.eye(16)[0] + 0.005 * rng.normal(size=(150, 16))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(0, 10, size=150)
    scores, same = list_streamed(all_pairs_roc(features, labels))
    exact = roc_curve(scores, same)
    result = all_pairs_roc(features, labels, tail_size=20, genuine_size=genuine_size)
    assert (result.genuine is None) == (genuine_size == 10)
    _, impostor, genuine = result.histogram
    pairs = exact.num_impostor * exact.num_genuine
    assert abs(auc(result.roc) - auc(exact)) <= np.sum(impostor * genuine) / (2 * pairs)
    one_bin = genuine.max() / exact.num_genuine
    targets = np.linspace(0, 1, 41)
    lost = []
    for got, best in zip(
        tpr_at_fpr(result.roc, targets), tpr_at_fpr(exact, targets), strict=True
    ):
        lost.append(best.tpr - got.tpr)
        assert got.fpr <= got.fpr_target
        assert got.tpr >= np.mean(scores[same] >= best.threshold + 2 / 2**16)
    assert min(lost) >= 0
    assert 0 < max(lost) <= one_bin


def test_more_genuine_pairs_than_are_kept_gives_true_points_at_edges(rng):
    features = corners_of_a_cube(rng, 90)
    labels = rng.integers(0, 3, size=90)
    scores, same, _ = list_all(features, labels)
    result = all_pairs_roc(
        features, labels, block_size=32, genuine_size=int(same.sum()) - 1
    )
    assert result.genuine is None
    assert_true_points(result.roc, scores, same)
    # The scores are multiples of 1/32, the edges too: no point is missing.
    assert_same_curve(result.roc, roc_curve(scores, same))
    kept = all_pairs_roc(features, labels, genuine_size=int(same.sum()))
    assert kept.genuine is not None


def test_histogram_is_that_of_the_list(rng):
    features = corners_of_a_cube(rng, 77)
    labels = rng.integers(0, 9, size=77)
    scores, same, _ = list_all(features, labels)
    histogram = all_pairs_roc(features, labels, block_size=20).histogram
    for counts, chosen in ((histogram.impostor, ~same), (histogram.genuine, same)):
        # np.histogram counts a score of 1 in the last bin too.
        expected, edges = np.histogram(scores[chosen], bins=2**16, range=(-1, 1))
        np.testing.assert_array_equal(counts, expected)
        np.testing.assert_array_equal(histogram.edges, edges)


def test_constant_scores(rng):
    features = np.tile(random_rows(rng, 1), (40, 1)).astype(np.float32)
    labels = np.arange(40) // 2
    whole = all_pairs_roc(features, labels)
    short = all_pairs_roc(features, labels, tail_size=5)
    for result in (whole, short):
        assert (result.roc.false_accepts[-1], result.roc.true_accepts[-1]) == (760, 20)
        assert auc(result.roc) == 0.5
        assert result.roc.thresholds.size == 2
    # Ties at the floor leave together.
    assert whole.impostor_tail.scores.size == 760
    assert short.impostor_tail.scores.size == 0


@pytest.mark.parametrize("beyond", [-1.0, -1 - 2.0**-23])
def test_floors_at_and_beyond_minus_one(beyond):
    features = np.array([[1.0, 0], [beyond, 0], [-1 - 2.0**-22, 0], [1, 0]])
    result = all_pairs_roc(features, [0, 1, 2, 0], tail_size=1)
    top = result.impostor_tail.scores.item()
    assert result.tail_floor == beyond
    assert result.roc.thresholds.tolist() == [np.inf, top, 1, beyond]
    assert result.roc.false_accepts.tolist() == [0, 1, 1, 5]
    assert result.roc.true_accepts.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "device", "memmap", "order"])
def test_kinds_of_features_agree(rng, kind, tmp_path):
    # Multiples of 1/8 are exact in every dtype, so is each sum of 64 products.
    features = corners_of_a_cube(rng, 70)
    labels = rng.integers(0, 12, size=70)
    expected = all_pairs_roc(features, labels, block_size=32)
    if kind == "memmap":
        np.save(tmp_path / "features.npy", features)
        given = np.load(tmp_path / "features.npy", mmap_mode="r")
    else:
        given = {
            "float16": features.astype(np.float16),
            "bfloat16": features.astype(ml_dtypes.bfloat16),
            "device": jnp.asarray(features),
            "order": np.asfortranarray(features),
        }[kind]
    got = all_pairs_roc(given, labels, block_size=32)
    assert_same_curve(got.roc, expected.roc)


def test_labels_may_be_strings_and_the_order_of_rows_is_free(rng):
    features = corners_of_a_cube(rng, 60)
    labels = rng.integers(0, 9, size=60)
    expected = all_pairs_roc(features, labels)
    names = np.array([f"person {label}" for label in labels])
    assert_same_curve(all_pairs_roc(features, names).roc, expected.roc)
    shuffled = rng.permutation(60)
    got = all_pairs_roc(features[shuffled], labels[shuffled].tolist(), block_size=17)
    assert_same_curve(got.roc, expected.roc)


def test_zero_rows_score_zero(rng):
    features = corners_of_a_cube(rng, 9)
    features[4] = 0
    result = all_pairs_roc(features, [0, 0, 1, 1, 2, 2, 3, 3, 4])
    rows, scores = result.impostor_tail.rows, result.impostor_tail.scores
    assert np.all(scores[(rows == 4).any(axis=1)] == 0)


def test_progress_sees_every_tile(rng):
    seen = []

    def progress(iterable, *, total, desc):
        for item in iterable:
            seen.append((item, total, desc))
            yield item

    features = corners_of_a_cube(rng, 50)
    labels = np.arange(50) // 5
    shown = all_pairs_roc(features, labels, block_size=20, progress=progress)
    assert len(seen) == 6 and {rest[1:] for rest in seen} == {(6, "all pairs")}
    assert_same_curve(shown.roc, all_pairs_roc(features, labels).roc)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(10, int)}, "make 45 genuine and 0 impostor pairs"),
        ({"labels": np.arange(10)}, "make 0 genuine and 45 impostor pairs"),
        (
            {"features": np.empty((0, 4)), "labels": np.empty(0, int)},
            "at least one row and column",
        ),
        ({"labels": np.zeros(9, int)}, "of shape \\(9,\\); expected .* \\(10,\\)"),
        ({"labels": np.zeros((10, 1), int)}, "shape \\(10, 1\\); expected"),
        ({"labels": np.zeros(10)}, "expected integers or strings"),
        ({"features": np.full((10, 4), 0.6)}, "row 0 of the features has length 1.2"),
        (
            {"features": np.full((10, 4), np.nan)},
            "row 0 of the features has length nan",
        ),
        ({"features": np.ones(10)}, "expected \\[N, D\\]"),
        ({"features": np.ones((10, 1), int)}, "expected a floating dtype"),
        ({"block_size": 0}, "block_size is 0; expected at least 1"),
        ({"tail_size": 0}, "tail_size is 0; expected at least 1"),
        ({"genuine_size": 0}, "genuine_size is 0; expected at least 1"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    good = {"features": np.full((10, 4), 0.5), "labels": np.arange(10) // 2}
    with pytest.raises(ValueError, match=message):
        all_pairs_roc(**{**good, **change})


def test_sizes_that_are_not_given_and_rows_that_are_not_known(rng):
    for function in (all_pairs_roc, plan_pairs):
        given = inspect.signature(function).parameters
        sizes = given["tail_size"].default, given["genuine_size"].default
        assert sizes == (2**20, 2**24)
    result = all_pairs_roc(corners_of_a_cube(rng, 5), [4, 4, 7, -1, 7])
    np.testing.assert_array_equal(result.identities, [0, 0, 1, -1, 1])


@pytest.mark.parametrize("tail_size", [50, 2**22])
def test_restricting_the_genuine_pairs(rng, tail_size):
    features = corners_of_a_cube(rng, 90)
    labels = rng.integers(0, 12, size=90)
    keep = labels % 3 == 0
    scores, same, rows = list_all(features, labels)
    left = ~same | keep[rows].all(axis=1)
    result = restrict_genuine(
        all_pairs_roc(features, labels, tail_size=tail_size), keep
    )
    # Scores and edges are multiples of 1/32: no point is missing below the floor.
    assert_same_curve(result.roc, roc_curve(scores[left], same[left]))
    expected = np.histogram(scores[left & same], bins=2**16, range=(-1, 1))[0]
    np.testing.assert_array_equal(result.histogram.genuine, expected)


def test_bad_restrictions_are_refused(rng):
    features, labels = corners_of_a_cube(rng, 9), np.arange(9) // 3
    result = all_pairs_roc(features, labels)
    with pytest.raises(ValueError, match="keep is int64 of shape \\(9,\\)"):
        restrict_genuine(result, labels)
    with pytest.raises(ValueError, match="keep is bool of shape \\(8,\\)"):
        restrict_genuine(result, np.ones(8, bool))
    with pytest.raises(ValueError, match="leaves none of 9 genuine pairs"):
        restrict_genuine(result, np.arange(9) % 3 == 0)
    with pytest.raises(ValueError, match="larger genuine_size"):
        restrict_genuine(all_pairs_roc(features, labels, genuine_size=1), labels == 0)


def test_memory_does_not_grow_with_the_square_of_the_rows(rng):
    features = random_rows(rng, 4000).astype(np.float32)
    labels = np.arange(4000) // 4
    block, device_bytes = 256, []

    def progress(iterable, **_):
        for item in iterable:
            device_bytes.append(sum(array.nbytes for array in jax.live_arrays()))
            yield item

    before = sum(array.nbytes for array in jax.live_arrays())
    all_pairs_roc(features, labels, block_size=block)  # compiles outside the count
    tracemalloc.start()
    all_pairs_roc(
        features, labels, block_size=block, tail_size=2**12, progress=progress
    )
    host_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Four tiles on the device, and a group of eight blocks of rows and two others.
    limit = 4 * block**2 * (4 + 2) + 10 * features[:block].nbytes
    assert max(device_bytes) - before <= limit
    # The scores of all pairs are 32 MB, and their row numbers 64 MB more.
    assert host_bytes < 8e6
