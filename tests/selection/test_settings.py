"""The settings that a pool gives: the formulas, what does not matter, and odd pools."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import selection
from gfa_jax.refinement import Request
from gfa_jax.refinement.pool import update_rows
from gfa_jax.selection import metric, shared


def make_groups(*, num_groups=40, size=8, dim=32, noise=0.5, seed=0):
    """Makes groups of unit rows around random centers."""
    random = np.random.default_rng(seed)
    centers = np.repeat(random.normal(size=(num_groups, dim)), size, axis=0)
    rows = centers + noise * random.normal(size=centers.shape)
    labels = np.repeat(np.arange(num_groups), size)
    return unit(rows), labels


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def choose(features, **options):
    width = min(selection.WIDTH, len(features) - 1)
    return selection.choose_settings(
        features, gfa.exact_neighbors(features, k=width), **options
    )


def refine(features, settings):
    asked = Request().resolve(settings.neighbors, lambda: settings)
    return np.asarray(update_rows(features, asked, progress=None).features)


def oracle_weights(features, lists, k):
    """Evaluates w_ij of all candidates by the formulas, in float64."""
    rows = features.astype(np.float64)
    num_rows, dim = rows.shape
    centered = rows - rows.mean(axis=0)
    variances, axes = np.linalg.eigh(centered.T @ centered / num_rows)
    shrinkage = min(1, dim / num_rows)
    variances = (1 - shrinkage) * variances / variances.mean() + shrinkage
    views = centered @ axes * variances**-0.25
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    cosines = views @ views.T
    mates = [set(own[1 : k + 1]) for own in lists]
    inside = [
        len(mates[j] & (mates[i] | {i})) for i in range(num_rows) for j in mates[i]
    ]
    chance = (k + 1) / num_rows
    kappa = (np.sum(inside) / k**2 / num_rows - chance) / (1 - chance)
    stranger = 1 - np.eye(num_rows)
    for i, own in enumerate(mates):
        stranger[i, list(own)] = 1 - kappa
    mean = np.average(cosines, axis=1, weights=stranger)[:, None]
    deviation = (cosines - mean) ** 2
    z = (cosines - mean) / np.sqrt(
        np.average(deviation, axis=1, weights=stranger)[:, None]
    )
    z = np.minimum(z, z.T)
    center = 5 + np.log(num_rows / k / 400) / 4
    weights = np.zeros(lists.shape)
    best = np.sort(np.take_along_axis(cosines, lists[:, 1:], axis=1), axis=1)[:, :-3:-1]
    scale = (1 - best).mean(axis=1)
    for i, own in enumerate(lists):
        for column, j in enumerate(own[1:], start=1):
            mine, theirs = set(own[: k + 1]), set(lists[j][: k + 1])
            ratio = (1 - cosines[i, j]) / np.sqrt(scale[i] * scale[j])
            weights[i, column] = (
                1
                / (1 + np.exp(center - z[i, j]))
                * max(cosines[i, j], 0)
                * np.exp(-max(ratio - 1, 0))
                * np.sqrt(len(mine & theirs) / len(mine | theirs))
            )
    return weights


def test_the_weights_are_those_of_the_formula():
    features, _ = make_groups()
    settings = choose(features)
    lists = np.asarray(gfa.exact_neighbors(features, k=selection.WIDTH).indices)
    expected = oracle_weights(features, lists, settings.k)
    assert not settings.dropped.any()
    for row, (own, weights) in enumerate(
        zip(settings.neighbors.indices, settings.weights, strict=True)
    ):
        known = dict(zip(lists[row], expected[row], strict=True))
        counts = own[1:] >= 0
        # float32 products of 32 terms, a sigmoid whose slope is at most a quarter
        np.testing.assert_allclose(
            weights[1:][counts], [known[j] for j in own[1:][counts]], atol=2e-5
        )
        largest = np.sort(expected[row])[::-1][: counts.sum()]
        np.testing.assert_allclose(
            np.sort(weights[1:][counts])[::-1], largest, atol=2e-5
        )
    np.testing.assert_array_equal(settings.weights[:, 0], 1)


@pytest.mark.parametrize("size", [6, 11, 21])
def test_the_neighbourhood_is_as_large_as_the_groups(size):
    features, _ = make_groups(num_groups=1200 // size, size=size, noise=0.4)
    settings = choose(features)
    assert settings.k == max(k for k in shared.SIZES if k <= size - 1)
    assert settings.num_steps == max(1, int(2 + np.log2(settings.k / 5)))


@pytest.mark.parametrize(("num_groups", "size"), [(2, 60), (3, 20), (5, 10), (20, 3)])
def test_few_groups_are_brought_together(num_groups, size):
    features, labels = make_groups(num_groups=num_groups, size=size, dim=128, noise=1.0)
    same = labels[:, None] == labels
    refined = refine(features, choose(features))
    gaps = [
        np.quantile((rows @ rows.T)[same], 0.05) - np.max((rows @ rows.T)[~same])
        for rows in (features, refined)
    ]
    assert gaps[1] > gaps[0] + 0.1


def test_closure_counts_edges_that_stay_inside():
    lists = np.array([[0, 1, 2], [1, 0, 2], [2, 3, 4], [3, 2, 4], [4, 3, -1]], np.int32)
    found = np.asarray(shared.compare(lists, lists, lists, ks=(1, 2)))
    expected = []
    for k in (1, 2):
        for own in lists:
            inside = set(own[: k + 1]) - {-1}
            edges = [m for j in own[1 : k + 1] if j >= 0 for m in lists[j][1 : k + 1]]
            expected.append(sum(m in inside for m in edges) / k**2)
    np.testing.assert_allclose(found.T.ravel(), expected, atol=1e-7)


def test_refining_brings_a_group_together_and_keeps_groups_apart():
    features, labels = make_groups(noise=0.8)
    refined = refine(features, choose(features))
    same = labels[:, None] == labels

    def separation(rows):
        cosines = rows @ rows.T
        return np.mean(cosines[same]) - np.quantile(cosines[~same], 0.999)

    assert separation(refined) > separation(features) + 0.1


@pytest.mark.parametrize("change", ["affine", "mean", "rotation", "order"])
def test_what_must_not_matter_does_not(change):
    features, _ = make_groups(noise=0.7)
    settings = choose(features)
    random = np.random.default_rng(1)
    back = np.arange(len(features))
    if change == "affine":  # a constant column: every cosine becomes (1 + A) / 2
        changed = unit(np.hstack([features, np.ones((len(features), 1))]))
    elif change == "mean":
        # Rows of one length stay of one length only where the vector is orthogonal.
        extra = np.zeros((len(features), 8))
        extra[:, 0] = 2
        changed = unit(np.hstack([features, extra]))
    elif change == "rotation":
        basis, _ = np.linalg.qr(random.normal(size=(32, 32)))
        changed = unit(features @ basis)
    else:
        back = random.permutation(len(features))
        changed = features[back]
    other = choose(changed)
    assert (other.k, other.num_steps) == (settings.k, settings.num_steps)
    np.testing.assert_array_equal(other.dropped, settings.dropped[back])
    sums = settings.weights.sum(axis=1)[back]
    # A column more moves D / N of the shrinkage and the directions it is spread over.
    tolerance = 0.15 if change in ("affine", "mean") else 1e-3
    np.testing.assert_allclose(other.weights.sum(axis=1), sums, atol=tolerance)


@pytest.mark.parametrize("shape", [(64, 8), (120, 64), (600, 32)])
def test_noise_is_left_nearly_as_it_is(shape):
    features = unit(np.random.default_rng(0).normal(size=shape))
    settings = choose(features)
    assert "nearly" in settings.evidence.distrust
    moved = np.sum(refine(features, settings) * features, axis=1)
    assert np.quantile(moved, 0.01) > 0.95


def _odd_pools():
    random = np.random.default_rng(0)
    groups, _ = make_groups(num_groups=10, size=5)
    yield "two rows", unit(random.normal(size=(2, 8)))
    yield "three rows", unit(random.normal(size=(3, 8)))
    yield "all alike", np.repeat(unit(random.normal(size=(1, 8))), 70, axis=0)
    yield (
        "one giant identity",
        unit(random.normal(size=(1, 16)) + 0.3 * random.normal(size=(300, 16))),
    )
    yield "one-hot", np.eye(80, dtype=np.float32)
    yield (
        "one-hot of few classes",
        np.eye(4, dtype=np.float32)[random.integers(0, 4, 90)],
    )
    yield "two columns", unit(random.normal(size=(100, 2)))
    yield "one column", np.sign(random.normal(size=(50, 1))).astype(np.float32)
    yield "copies", np.repeat(groups, 20, axis=0)
    yield "two domains", unit(np.vstack([groups + 0.5, groups[::-1] - 0.5]))
    yield "positive", unit(np.abs(random.normal(size=(64, 8))))


@pytest.mark.parametrize(("name", "features"), list(_odd_pools()))
def test_every_finite_pool_has_a_result(name, features):
    settings = choose(features)
    assert np.isfinite(settings.weights).all(), name
    assert settings.weights.max() <= 1 + 1e-6
    assert 1 <= settings.k < len(features)
    assert settings.num_steps >= 1
    refined = refine(features, settings)
    np.testing.assert_allclose(np.linalg.norm(refined, axis=1), 1, atol=1e-5)


def test_a_crowd_of_distant_rows_is_dropped():
    features, _ = make_groups(num_groups=60, size=10, dim=48, noise=0.3)
    random = np.random.default_rng(2)
    junk = unit(random.normal(size=48) + 0.9 * random.normal(size=(60, 48)))
    pool = np.vstack([features, junk])
    settings = choose(pool)
    assert settings.dropped[-60:].mean() > 0.8
    assert settings.dropped[:-60].mean() < 0.01
    is_dropped = settings.dropped
    others = settings.neighbors.indices[:, 1:]
    assert not np.any(is_dropped[others] & (others >= 0))
    np.testing.assert_array_equal(
        settings.weights[is_dropped, 1:],
        np.zeros_like(settings.weights[is_dropped, 1:]),
    )


@pytest.fixture(scope="module")
def large():
    """More rows than two blocks."""
    features, _ = make_groups(num_groups=290, dim=64)
    neighbors = gfa.exact_neighbors(features, k=selection.WIDTH)
    neighbors = gfa.Neighbors(*map(np.asarray, neighbors))
    return features, neighbors, selection.choose_settings(features, neighbors)


@pytest.mark.parametrize("kind", ["jax", "file"])
def test_arrays_and_files_give_the_same_bits(large, kind, tmp_path):
    features, neighbors, whole = large
    np.save(tmp_path / "features.npy", features)
    given = jnp.asarray(features)
    if kind == "file":
        given = np.load(tmp_path / "features.npy", mmap_mode="r")
    chex.assert_trees_all_equal(selection.choose_settings(given, neighbors), whole)


def test_an_accelerator_chooses_what_the_host_does(large, monkeypatch):
    features, neighbors, whole = large
    monkeypatch.setattr("gfa_jax.selection.settings.is_host", lambda _: False)
    with jax.enable_x64(False):
        found = selection.choose_settings(jnp.asarray(features), neighbors)
    assert found[:3] == whole[:3]
    np.testing.assert_array_equal(found.dropped, whole.dropped)
    assert isinstance(found.weights, jax.Array)
    assert {x.dtype for x in (*found.neighbors, found.weights)} == {
        np.dtype(np.int32),
        np.dtype(np.float32),
    }
    # Sums in another order; two weights that are nearly equal may change places.
    np.testing.assert_allclose(found.weights, whole.weights, atol=1e-6)
    moved = np.asarray(found.neighbors.indices) != whole.neighbors.indices
    assert moved.mean() < 1e-3
    for name in ("evidence", "measured"):
        seen, expected = (jax.tree.leaves(getattr(x, name)) for x in (found, whole))
        for one, other in zip(seen, expected, strict=True):
            if not isinstance(one, str):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_sample_is_that_of_the_seed(monkeypatch):
    monkeypatch.setattr("gfa_jax.selection.settings.SAMPLE_SIZE", 100)
    features, _ = make_groups()
    first, second, other = (choose(features, seed=seed).weights for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_lists_that_do_not_begin_with_their_row_are_refused():
    features, _ = make_groups()
    neighbors = gfa.exact_neighbors(features, k=10, include_self=False)
    with pytest.raises(ValueError, match="place_self"):
        selection.choose_settings(features, neighbors)


def test_the_metric_of_rows_alike_is_the_identity():
    pool = metric.measure_pool(np.ones((5, 3)) / np.sqrt(3))
    np.testing.assert_array_equal(pool.metric, np.eye(3))


def test_settings_read_as_one_line():
    features, _ = make_groups()
    text = repr(choose(features))
    assert "k=7" in text
    assert len(text) < 120


def test_views_have_the_cosines_of_the_metric():
    features, _ = make_groups(num_groups=6, size=4, dim=8)
    pool = metric.measure_pool(features)
    lengths = metric.measure_rows(features, pool).length
    views = np.asarray(metric.pool_views(features))
    for row in range(5):
        cosines = metric.pool_cosines(
            jnp.asarray(features[row]),
            jnp.asarray(features),
            (lengths[row], lengths),
            pool,
        )
        np.testing.assert_allclose(cosines, views @ views[row], atol=1e-5)
