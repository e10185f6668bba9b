"""The threshold without labels against the labels it never sees, and its robustness."""

import jax
import numpy as np
import pytest
from scipy import stats

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.metrics.histogram import bin_edges
from gfa_jax.selection.impostor_pairs import draw_rows
from gfa_jax.selection.impostor_tail import TAILS, fit_tail, match_bulk
from gfa_jax.selection.thresholds import (
    MOST_STEPS,
    _why_threshold,
    bound_impostors,
    suggest,
    suggest_threshold,
)

EDGES = bin_edges(2**11)
NUM_PAIRS = 10**8
FPRS = (1e-6, 1e-5, 1e-4, 1e-3)


def false_edges(pairs, threshold):
    """Impostor edges a row that really exceed the threshold, all pairs counted."""
    scores = pairs.impostor_tail.scores
    assert threshold > pairs.tail_floor  # no pair above it is missing
    return 2 * np.count_nonzero(scores > threshold) / len(pairs.identities)


def exact_threshold(pairs, target):
    """The smallest cosine with at most the target of impostor edges a row."""
    return pairs.impostor_tail.scores[int(target * len(pairs.identities) / 2)]


def genuine_share(labels):
    sizes = np.unique(labels, return_counts=True)[1].astype(float)
    return (sizes * (sizes - 1)).sum() / (len(labels) * (len(labels) - 1))


def suggested(features, **options):
    neighbors = gfa.exact_neighbors(features, k=15)
    return suggest_threshold(features, neighbors, num_resamples=0, **options)


def expected_pairs(distribution, share=1.0):
    return share * NUM_PAIRS * np.diff(distribution.cdf(EDGES))


# --- the fit, on counts whose truth is a formula --------------------------------------


@pytest.mark.parametrize("probability", [1e-4, 1e-5, 1e-6])
def test_the_tail_of_a_gaussian_is_found(probability):
    impostor = stats.norm(0.02, 0.08)
    fit = fit_tail(expected_pairs(impostor), EDGES)
    # The bulk is matched on bins: a hundredth of its scale.
    assert fit.center == pytest.approx(0.02, abs=1e-3)
    assert fit.scale == pytest.approx(0.08, rel=0.01)
    assert fit.misfit < 0.1
    assert fit.threshold(probability) == pytest.approx(
        impostor.isf(probability), abs=0.005
    )


@pytest.mark.parametrize("tail", TAILS)
def test_probability_and_threshold_are_inverse(tail):
    fit = fit_tail(expected_pairs(stats.norm(0, 0.1)), EDGES, tail=tail)
    for probability in (1e-3, 1e-5, 1e-6):
        assert fit.probability(fit.threshold(probability)) == pytest.approx(
            probability, rel=1e-6
        )


def test_a_pareto_tail_falls_short_of_a_gaussian_one():
    pairs = expected_pairs(stats.norm(0, 0.1))
    pareto, gaussian = (fit_tail(pairs, EDGES, tail=tail) for tail in TAILS[::-1])
    assert pareto.threshold(1e-6) < gaussian.threshold(1e-6)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("center", [0.6, 0.75])
def test_genuine_pairs_up_to_a_fifth_hardly_move_it(share, center):
    impostor = stats.norm(0.0, 0.09)
    pairs = expected_pairs(impostor, 1 - share)
    pairs += expected_pairs(stats.norm(center, 0.15), share)
    fit = fit_tail(pairs, EDGES)
    # Half a scale. With .2 about .6 there are more genuine pairs from 3 scales on.
    assert fit.threshold(1e-5 * (1 - share)) == pytest.approx(
        impostor.isf(1e-5), abs=0.045
    )


def test_what_lies_above_the_window_does_not_matter():
    pairs = expected_pairs(stats.norm(0.0, 0.08))
    clump = expected_pairs(stats.norm(0.7, 0.02), 0.01)
    clean, joined = (fit_tail(p, EDGES).threshold(1e-6) for p in (pairs, pairs + clump))
    assert joined == pytest.approx(clean, abs=0.002)


def test_the_bulk_is_matched_under_a_fifth_of_genuine_pairs():
    pairs = expected_pairs(stats.norm(0.05, 0.1), 0.8)
    pairs += expected_pairs(stats.norm(0.6, 0.15), 0.2)
    center, scale = match_bulk(pairs, EDGES)
    assert center == pytest.approx(0.05, abs=0.01)
    assert scale == pytest.approx(0.1, rel=0.05)


def test_a_bulk_without_room_for_a_tail_is_refused():
    with pytest.raises(ValueError, match="bins are left for their tail"):
        fit_tail(expected_pairs(stats.norm(0.98, 0.005)), EDGES)


# --- the threshold, against labels it does not see ------------------------------------


@pytest.mark.parametrize(
    ("name", "within"),
    # Measured ratios to the target: LFW 1.3, CFP 2.1, whose tail is not Gaussian.
    [("lfw.npz", 2.0), ("cfp_dev.npz", 3.0)],
)
def test_real_rows_have_about_as_many_false_edges_as_asked(real_data, name, within):
    data = real_data(name)
    pairs = metrics.all_pairs_roc(data["features"], data["labels"], tail_size=2**16)
    found = suggested(data["features"])
    assert found.tail.probability(found.tail_threshold) == pytest.approx(
        0.05 / (len(data["labels"]) - 1), rel=1e-6
    )
    truth = false_edges(pairs, found.tail_threshold)
    assert 0.05 / within < truth < 0.05 * within
    # Likeness asks for more than the tail does, here.
    assert found.threshold > found.tail_threshold
    assert false_edges(pairs, found.threshold) < 0.05


@pytest.mark.parametrize("largest", [8, 20, 60])
def test_real_pools_with_many_genuine_pairs(real_data, largest):
    data = real_data("lfw.npz")
    values, sizes = np.unique(data["labels"], return_counts=True)
    chosen = np.isin(data["labels"], values[np.argsort(-sizes)[:largest]])
    features, labels = data["features"][chosen], data["labels"][chosen]
    # 22 %, 12 % and 5 % of all pairs are genuine.
    assert genuine_share(labels) > {8: 0.2, 20: 0.1, 60: 0.05}[largest]
    found = suggested(features)
    truth = exact_threshold(metrics.all_pairs_roc(features, labels), 0.05)
    assert found.tail_threshold == pytest.approx(truth, abs=0.04)
    assert found.threshold >= found.tail_threshold
    # Likeness, here up to .58, leaves nearly all of the edges.
    similarity = np.asarray(gfa.exact_neighbors(features, k=15).similarity)[:, 1:]
    assert found.edges_per_row > 0.9 * (similarity > truth).sum(axis=1).mean()
    assert found.tail.misfit < 3


@pytest.mark.parametrize(("size", "share"), [(600, 0.18), (150, 0.045), (15, 0.004)])
def test_generated_pools_with_many_genuine_pairs(size, share):
    sample = datasets.synthetic_features(
        num_rows=3000,
        seed=1,
        min_size=size,
        max_size=size + size // 10,
        size_exponent=0.0,
        junk_share=0.0,
    )
    assert genuine_share(sample.labels) > share
    found = suggested(sample.features)
    pairs = metrics.all_pairs_roc(sample.features, sample.labels, tail_size=2**10)
    truth = exact_threshold(pairs, 0.05)
    # Families of look-alikes make the tail heavier than its window shows; likeness
    # makes up for it.
    assert truth - 0.1 < found.tail_threshold < truth + 0.05
    assert found.threshold > truth + 0.03
    neighbors = gfa.exact_neighbors(sample.features, k=15)
    is_edge = np.asarray(neighbors.similarity)[:, 1:] > found.threshold
    is_genuine = (
        sample.labels[np.asarray(neighbors.indices)[:, 1:]] == sample.labels[:, None]
    )
    assert np.count_nonzero(is_edge & ~is_genuine) < 0.01 * len(sample.labels)
    # And most of the genuine candidates stay: of 15 images all are candidates, those of
    # the other pose too.
    kept = np.count_nonzero(is_edge & is_genuine) / np.count_nonzero(is_genuine)
    assert kept > (0.65 if size == 15 else 0.85)


@pytest.mark.parametrize("junk_share", [0.004, 0.02, 0.05, 0.2])
def test_junk_that_clumps_never_lowers_it_nor_costs_genuine_edges(junk_share):
    sample = datasets.synthetic_features(num_rows=3000, seed=1, junk_share=junk_share)
    kept = ~sample.is_junk
    with_junk = suggested(sample.features)
    clean = suggested(sample.features[kept])
    assert with_junk.tail_threshold > clean.tail_threshold - 0.01
    # Junk meets junk at .46 ± .05: the tail may rise to where it shuts the clump out.
    assert with_junk.tail_threshold < 0.46 + 2 * 0.05
    # A fifth of the rows has nearest neighbours at .55 instead of .8.
    assert with_junk.threshold == pytest.approx(clean.threshold, abs=0.03)
    neighbors = gfa.exact_neighbors(sample.features[kept], k=15)
    edges = [
        np.count_nonzero(np.asarray(neighbors.similarity)[:, 1:] > found.threshold)
        for found in (with_junk, clean)
    ]
    assert edges[0] > 0.9 * edges[1]


@pytest.mark.parametrize(("dim", "above"), [(32, 0.08), (64, 0.05)])
def test_few_dimensions_leave_it_on_the_safe_side(dim, above):
    sample = datasets.synthetic_features(num_rows=800, dim=dim, seed=1, max_size=20)
    truth = exact_threshold(metrics.all_pairs_roc(sample.features, sample.labels), 0.05)
    found = suggested(sample.features)
    assert truth - 0.02 < found.tail_threshold < truth + above
    assert found.threshold >= found.tail_threshold


def test_counts_that_are_no_tail_and_background_are_told_by_their_misfit(sample):
    pairs = expected_pairs(stats.norm(0.0, 0.1))
    assert fit_tail(pairs, EDGES).misfit < 1
    spike = expected_pairs(stats.norm(0.4, 0.01), 0.02)
    tail = fit_tail(pairs + spike, EDGES)
    assert tail.misfit > 3
    found = suggested(sample.features)
    assert "Do not trust it" in _why_threshold(found._replace(tail=tail))
    assert "Do not trust it" not in _why_threshold(found)


# --- likeness -------------------------------------------------------------------------


def test_likeness_is_a_share_of_the_typical_nearest_cosine(sample):
    neighbors = gfa.exact_neighbors(sample.features, k=5)
    nearest = np.asarray(neighbors.similarity)[:, 1].astype(float)
    for likeness in (0.5, 0.9):
        found = suggested(sample.features, likeness=likeness)
        typical = np.median(nearest[nearest > found.tail_threshold])
        center = found.tail.center
        assert found.typical_nearest == pytest.approx(typical, rel=1e-6)
        assert found.likeness_threshold == pytest.approx(
            center + likeness * (typical - center), rel=1e-6
        )
        assert found.threshold == max(found.tail_threshold, found.likeness_threshold)


def test_likeness_is_measured_from_the_center_of_the_impostors(sample):
    # One direction in all rows, as of features that were not centred.
    shift = np.sqrt(0.5, dtype=np.float32)
    shifted = np.hstack([shift * sample.features, np.full((1500, 1), shift)])
    whole, plain = suggested(shifted), suggested(sample.features)
    # Every cosine a is now (1 + a) / 2, and so is t.
    assert whole.threshold == pytest.approx((1 + plain.threshold) / 2, abs=0.01)


def test_a_pool_of_strangers_leaves_t_to_the_tail(rng):
    lone = rng.standard_normal((600, 512)).astype(np.float32)
    lone /= np.linalg.norm(lone, axis=1, keepdims=True)
    found = suggested(lone, false_edges_per_row=1e-4)
    assert found.threshold == found.tail_threshold
    assert np.isnan(found.likeness_threshold) and np.isnan(found.typical_nearest)


# --- the interval, the sample, the seed -----------------------------------------------


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=1500, dim=64, seed=3, junk_share=0.0)


def test_the_interval_holds_t_and_narrows_with_more_rows(rng):
    directions = rng.standard_normal((2000, 64), np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    widths = []
    for rows in (250, 2000):
        features = directions[:rows]
        neighbors = gfa.exact_neighbors(features, k=5)
        found = suggest_threshold(features, neighbors, num_resamples=15)
        low, high = found.interval
        # Draws have their own windows, so t may lie a little outside.
        assert low - 0.01 < found.threshold < high + 0.01
        widths.append(high - low)
    assert 0 < widths[1] < widths[0]


def test_a_sample_of_rows_agrees_with_all_of_them(sample):
    whole = suggested(sample.features)
    part = suggested(sample.features, sample_size=750, seed=5)
    assert part.tail.pairs.sum() == 750 * 749 / 2
    assert whole.tail.pairs.sum() == 1500 * 1499 / 2
    # A quarter of the pairs; intervals of 750 rows are about .05 wide.
    assert part.tail_threshold == pytest.approx(whole.tail_threshold, abs=0.05)
    # Nearest neighbours are read of all rows in either case.
    assert part.threshold == pytest.approx(whole.threshold, abs=0.01)


def test_the_drawn_rows_alone_give_the_bits_of_all_of_them(sample):
    neighbors = gfa.exact_neighbors(sample.features, k=5)
    rows = draw_rows(1500, sample_size=400, seed=3)
    assert len(np.unique(rows)) == 400
    whole, drawn = (
        suggest_threshold(features, neighbors, sample_size=400, num_resamples=5, seed=3)
        for features in (sample.features, sample.features[rows])
    )
    assert whole[:4] + whole[5:] == drawn[:4] + drawn[5:]
    bound = bound_impostors(sample.features, sample_size=400, seed=3)
    assert bound == whole.tail_threshold
    with pytest.raises(ValueError, match="got 400 of 1500 rows"):
        suggest(sample.features[rows], neighbors)


def test_updates_may_be_made_elsewhere(sample):
    neighbors = gfa.exact_neighbors(sample.features, k=10)
    asked = []

    def updates(k, params):
        asked.append((k, params))
        nearest = gfa.Neighbors(*(column[:, :k] for column in neighbors))
        return gfa.aggregate(
            sample.features, nearest, params, num_steps=MOST_STEPS
        ).residual

    here = suggest(sample.features, neighbors)
    elsewhere = suggest(sample.features, neighbors, updates=updates)
    assert (elsewhere.params, elsewhere.k) == (here.params, here.k)
    assert (elsewhere.num_steps, elsewhere.text) == (here.num_steps, here.text)
    assert asked[-1] == (here.k, here.params)


def test_the_same_seed_gives_the_same_bits_and_order_does_not_matter(sample, rng):
    neighbors = gfa.exact_neighbors(sample.features, k=5)
    first, second = (
        suggest_threshold(sample.features, neighbors, num_resamples=5, seed=7)
        for _ in range(2)
    )
    assert first[:4] + first[5:] == second[:4] + second[5:]
    shuffled = suggested(sample.features[rng.permutation(1500)])
    # The counts are the same but for the rounding of products at bin edges.
    assert shuffled.threshold == pytest.approx(first.threshold, abs=1e-4)


def test_more_false_edges_lower_it_and_edges_are_counted(sample):
    neighbors = gfa.exact_neighbors(sample.features, k=15)
    last = 1.0
    for target in (0.01, 0.1, 1.0):
        found = suggested(sample.features, false_edges_per_row=target, likeness=0)
        assert found.false_edges_per_row == pytest.approx(target, rel=1e-6)
        assert found.threshold == found.tail_threshold
        assert found.threshold < last
        last = found.threshold
        similarity = np.asarray(neighbors.similarity)[:, 1:]
        assert found.edges_per_row == (similarity > last).sum(axis=1).mean()


def test_half_precision_is_taken_and_progress_is_shown(sample):
    seen = []

    def progress(iterable, *, total, desc):
        seen.append(desc)
        return iterable

    neighbors = gfa.exact_neighbors(sample.features, k=5)
    found = suggest_threshold(
        sample.features.astype(np.float16),
        neighbors,
        num_resamples=2,
        progress=progress,
    )
    assert seen == ["all pairs", "resamples"]
    assert found.threshold == pytest.approx(
        suggested(sample.features).threshold, abs=5e-3
    )


# --- all settings together ------------------------------------------------------------


def test_suggest_follows_its_rules(sample):
    neighbors = gfa.exact_neighbors(sample.features, k=40)
    result = suggest(sample.features, neighbors)
    found = suggest_threshold(sample.features, neighbors)
    assert result.params.threshold == result.threshold.threshold == found.threshold

    edges = (np.asarray(neighbors.similarity) > found.threshold)[:, 1:].sum(axis=0)
    np.testing.assert_array_equal(result.column_edges, [0, *edges])
    # K is the least that keeps 99 %; the row itself is column 0.
    shares = np.cumsum(edges) / edges.sum()
    assert shares[result.k - 2] >= 0.99 > shares[result.k - 3]

    nearest = gfa.Neighbors(*(column[:, : result.k] for column in neighbors))
    residual = np.asarray(
        gfa.aggregate(
            sample.features, nearest, result.params, num_steps=MOST_STEPS
        ).residual
    )
    np.testing.assert_array_equal(result.residual, residual)
    assert np.all(np.diff(residual) < 0)
    assert residual[result.num_steps - 1] <= 0.1 * residual[0]
    assert np.all(residual[: result.num_steps - 1] > 0.1 * residual[0])
    for word in ("t = ", "K = ", "gamma = ", "T = "):
        assert word in result.text


def test_gamma_shrinks_where_rows_swing(sample):
    # Without itself among its neighbours a mutual pair swaps places at gamma = 1.
    pairs = np.repeat(sample.features[:100], 2, axis=0)
    noise = np.random.default_rng(0).standard_normal(pairs.shape).astype(np.float32)
    pairs = pairs + 0.05 * noise
    pairs /= np.linalg.norm(pairs, axis=1, keepdims=True)
    neighbors = gfa.exact_neighbors(pairs, k=1, include_self=False)
    swinging = suggest(pairs, neighbors, include_self=False)
    assert swinging.params.gamma == 0.5
    assert swinging.k == 1


def gains(features, labels, *, is_isolated, fprs):
    """TPR of the suggested refinement over that of the raw features."""
    neighbors = gfa.exact_neighbors(features, k=50)
    result = suggest(features, neighbors)
    if is_isolated:
        is_outlier = gfa.find_outliers(neighbors, threshold=result.params.threshold)
        neighbors = gfa.selection.isolate(neighbors, is_outlier)
    nearest = gfa.Neighbors(*(column[:, : result.k] for column in neighbors))
    refined = gfa.aggregate(
        features, nearest, result.params, num_steps=result.num_steps
    ).features
    before, after = (
        [p.tpr for p in metrics.tpr_at_fpr(metrics.all_pairs_roc(f, labels).roc, fprs)]
        for f in (features, np.asarray(refined))
    )
    return np.subtract(after, before)


# The second network was not looked at while the rules were made.
@pytest.mark.parametrize("name", ["features", "features_alt"])
def test_the_suggestion_beats_raw_features_on_real_sets(real_data, name):
    data = real_data("cfp_dev.npz")
    features = data[name].astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = gains(features, data["labels"], is_isolated=True, fprs=FPRS)
    assert found.min() > -0.01
    assert found.max() > 0.1


@pytest.mark.parametrize(("seed", "junk_share"), [(11, 0.0), (12, 0.005), (13, 0.05)])
def test_the_suggestion_with_outliers_isolated_beats_raw_features(seed, junk_share):
    sample = datasets.synthetic_features(
        num_rows=2000, seed=seed, max_size=60, junk_share=junk_share
    )
    # Two million pairs: 20 false accepts at 1e-5.
    found = gains(sample.features, sample.labels, is_isolated=True, fprs=FPRS[1:])
    assert found.min() > -0.01
    assert found.max() > 0.1


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"false_edges_per_row": 0}, "false_edges_per_row is 0"),
        ({"false_edges_per_row": np.nan}, "false_edges_per_row is nan"),
        ({"tail": "heavy"}, "tail is 'heavy'"),
        ({"likeness": 1.5}, "likeness is 1.5"),
        ({"sample_size": 3}, "sample_size is 3"),
        ({"num_resamples": -1}, "num_resamples is -1"),
    ],
)
def test_bad_options_are_refused(sample, options, message):
    neighbors = gfa.exact_neighbors(sample.features, k=5)
    with pytest.raises(ValueError, match=message):
        suggest_threshold(sample.features, neighbors, **options)


def test_bad_features_and_neighbors_are_refused(sample):
    features = sample.features
    neighbors = gfa.exact_neighbors(features, k=5)
    with pytest.raises(ValueError, match="got 50 rows"):
        suggest_threshold(features[:50], neighbors)
    with pytest.raises(ValueError, match="has length 3"):
        suggest_threshold(3 * features, neighbors)
    with pytest.raises(ValueError, match=r"expected both \[1500, K\]"):
        suggest_threshold(features, jax.tree.map(lambda x: x[1:], neighbors))
    with pytest.raises(ValueError, match="max_steps is 0"):
        suggest(features, neighbors, max_steps=0)


def test_a_pool_where_no_edge_survives_says_so(rng):
    lone = np.linalg.qr(rng.standard_normal((400, 400)))[0].astype(np.float32)
    lone += 0.01 * rng.standard_normal(lone.shape).astype(np.float32)
    lone /= np.linalg.norm(lone, axis=1, keepdims=True)
    neighbors = gfa.exact_neighbors(lone, k=5)
    with pytest.raises(ValueError, match="no candidate exceeds the suggested"):
        suggest(lone, neighbors, false_edges_per_row=1e-6)
