"""Rankings against a literal float64 reading of the rules, and scikit-learn's AP."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from gfa_jax import metrics
from gfa_jax.metrics import retrieval
from tests import oracle


def rank_literally(scores, wanted, known, *, cameras=None, own=None, market=False):
    """One query: sort, drop what the rules drop, walk down the list."""
    order = sorted(
        range(len(known)),
        # The worst ranking that the scores allow: a match behind its equals.
        key=lambda g: (-scores[g], known[g] == wanted),
    )
    hits = []
    for g in order:
        if g == own or (market and known[g] == -1):
            continue
        if cameras and known[g] == wanted and cameras[0] == cameras[1][g]:
            continue
        hits.append(known[g] == wanted and not (market and known[g] == 0))
    total = sum(hits)
    if total == 0:
        return 0.0, 0, 0
    precision = sum(sum(hits[: n + 1]) / (n + 1) for n, hit in enumerate(hits) if hit)
    return precision / total, hits.index(True) + 1, total


def problem(rng, *, num_queries=23, num_gallery=60, levels=None):
    """Features with exact products, and ties where `levels` is given."""
    if levels is None:
        features = oracle.unit_rows(rng.standard_normal((num_queries + num_gallery, 8)))
    else:
        # Corners of a cube: products are multiples of 1/8 in any arithmetic.
        features = rng.choice([-0.25, 0.25], (num_queries + num_gallery, 16))
    identities = rng.integers(0, 9, num_queries + num_gallery)
    cameras = rng.integers(1, 4, num_queries + num_gallery)
    return [
        (column[:num_queries], column[num_queries:])
        for column in (features.astype(np.float32), identities, cameras)
    ]


def check(rankings, expected):
    found = rankings.average_precision, rankings.first_rank, rankings.num_matches
    for found_, column in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(found_, column, rtol=1e-12)


@pytest.mark.parametrize("levels", [None, 8], ids=["no ties", "ties"])
@pytest.mark.parametrize("block_size", [1, 10, 128])
def test_market_rules(rng, monkeypatch, levels, block_size):
    monkeypatch.setattr(retrieval, "_BLOCK", block_size)
    features, identities, cameras = problem(rng, levels=levels)
    found = metrics.rank_gallery(
        *features,
        identities[0],
        # A distractor is nobody's match.
        np.where(identities[1] == 0, -2, identities[1]),
        query_cameras=cameras[0],
        gallery_cameras=cameras[1],
    )
    scores = features[0].astype(np.float64) @ features[1].T.astype(np.float64)
    expected = [
        rank_literally(
            scores[q],
            identities[0][q],
            identities[1].tolist(),
            cameras=(cameras[0][q], cameras[1]),
            market=True,
        )
        for q in range(len(scores))
    ]
    check(found, expected)
    # Distractors among the queries find nobody and are skipped.
    nobody = identities[0] == 0
    assert nobody.any() and not found.counted[nobody].any() and found.counted.any()
    counted = [each for each in expected if each[2]]
    assert metrics.mean_average_precision(found) == pytest.approx(
        np.mean([ap for ap, _, _ in counted])
    )
    np.testing.assert_allclose(
        metrics.cmc(found, (1, 5, 10)),
        [np.mean([rank <= r for _, rank, _ in counted]) for r in (1, 5, 10)],
    )


def test_every_row_a_query(rng):
    features, identities, _ = problem(rng, num_queries=1)
    rows, labels = features[1], identities[1].astype(str)
    found = metrics.rank_gallery(
        jnp.asarray(rows), rows, labels, labels, own_rows=np.arange(len(rows))
    )
    scores = rows.astype(np.float64) @ rows.T.astype(np.float64)
    expected = [
        rank_literally(scores[q], labels[q], labels.tolist(), own=q)
        for q in range(len(rows))
    ]
    check(found, expected)
    # Without ties the average precision is scikit-learn's.
    for q in range(len(rows)):
        others = np.arange(len(rows)) != q
        if found.num_matches[q]:
            known = average_precision_score(
                labels[others] == labels[q], scores[q, others]
            )
            assert found.average_precision[q] == pytest.approx(known, abs=1e-12)


@given(
    matches=st.lists(st.integers(-3, 3), min_size=1, max_size=8),
    others=st.lists(st.integers(-3, 3), max_size=12),
    seed=st.integers(0, 99),
)
def test_ties_do_not_depend_on_the_order(matches, others, seed):
    rng = np.random.default_rng(seed)
    scores = np.array(matches + others, np.float64)
    known = [1] * len(matches) + [2] * len(others)
    expected = rank_literally(scores, 1, known)
    shuffled = rng.permutation(matches), rng.permutation(others)
    found = metrics.rank_scores([np.concatenate(shuffled)], [1], known)
    check(found, [expected])
    # No order of the tied rows is worse: the best one is at least as good.
    best = average_precision_score(np.array(known) == 1, scores)
    assert found.average_precision[0] <= best + 1e-12


def test_precision_at_a_rank_by_hand():
    # Matches of the first query at ranks 1, 3 and 4, the second has none, the third
    # has one at rank 2, behind its equal; -inf stands last and inf first.
    scores = np.array(
        [
            [np.inf, 0.9, 0.8, 0.7, 0.1, -np.inf],
            [1.0, 0.9, 0.8, 0.7, 0.6, 0.5],
            [0.1, 0.5, 0.2, 0.1, 0.5, 0.1],
        ]
    )
    rankings = metrics.rank_scores(scores, [1, 7, 3], [1, 2, 1, 1, 3, 2])
    np.testing.assert_array_equal(rankings.ranks, [1, 3, 4, 2])
    np.testing.assert_array_equal(rankings.first_rank, [1, 0, 2])
    first = 1 + 2 / 3 + 3 / 4
    whole = metrics.mean_average_precision(rankings)
    assert whole == pytest.approx((first / 3 + 1 / 2) / 2)
    for k, want in ((1, (1, 0)), (2, (1 / 2, 1 / 2)), (3, ((1 + 2 / 3) / 3, 1 / 2))):
        got = metrics.mean_average_precision(rankings, k=k)
        assert got == pytest.approx(np.mean(want)), k
    assert metrics.mean_average_precision(rankings, k=99) == pytest.approx(whole)
    # R = 3 keeps ranks 1 and 3 of the first; R = 1 keeps none of the third.
    assert metrics.map_at_r(rankings) == pytest.approx((1 + 2 / 3) / 3 / 2)
    with pytest.raises(ValueError, match="k is 0; expected at least 1"):
        metrics.mean_average_precision(rankings, k=0)


@pytest.mark.parametrize(
    "scores", [[[1.0, 2.0]], [[1.0, np.nan]] * 2, [[1.0]] * 2, [[1.0, 2.0]] * 3]
)
def test_scores_that_do_not_fit_are_refused(scores):
    with pytest.raises(ValueError, match="queries"):
        metrics.rank_scores(scores, [1, 2], [1, 2])


def test_features_that_are_all_alike_gain_nothing():
    rows = np.tile(np.array([1, 0], np.float32), (10, 1))
    labels = np.arange(10) // 2
    found = metrics.rank_gallery(rows, rows, labels, labels, own_rows=np.arange(10))
    np.testing.assert_array_equal(found.first_rank, 9)
    assert metrics.mean_average_precision(found) == pytest.approx(1 / 9)


def test_intervals(rng):
    ranks = rng.integers(1, 30, 400)  # of the one match of each query
    ranks[200:] = 2  # the second half of the people are all alike
    identities = np.repeat(np.arange(80), 5)
    rankings = metrics.Rankings(ranks, np.ones(400, int))
    resample = functools.partial(metrics.bootstrap_rankings, num_resamples=400, seed=3)
    found = resample(rankings, identities, (1, 10))
    low, high = found[0]
    assert low < metrics.mean_average_precision(rankings) < high
    sums = (1 / ranks).reshape(80, 5).mean(axis=1)
    # Identities of equal size: the error of the mean over 80 people, within the
    # noise of 400 draws.
    assert high - low == pytest.approx(2 * 1.96 * sums.std() / np.sqrt(80), rel=0.15)
    for bounds, value in zip(found[1:], metrics.cmc(rankings, (1, 10)), strict=True):
        assert bounds[0] <= value <= bounds[1]
    np.testing.assert_array_equal(found, resample(rankings, identities, (1, 10)))


def test_gain_on_the_same_draws(rng):
    before = metrics.Rankings(rng.integers(1, 30, 400), np.ones(400, int))
    after = before._replace(ranks=np.ones(400, int))
    identities = np.repeat(np.arange(80), 5)
    options = {"ranks": (1, 10), "num_resamples": 50, "seed": 3}
    found = metrics.bootstrap_rankings(after, identities, before=before, **options)
    # All are 1 afterwards: the gain is what was missing, draw by draw.
    own = metrics.bootstrap_rankings(before, identities, **options)
    np.testing.assert_allclose(found, 1 - own[:, ::-1], rtol=1e-9)
    other = after._replace(num_matches=np.full(400, 2))
    with pytest.raises(ValueError, match="same queries in the same gallery"):
        metrics.bootstrap_rankings(other, identities, before=before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.ones((2, 3), np.float32)}, "columns"),
        ({"queries": np.ones((2, 2), np.float32)}, "expected unit rows"),
        ({"query_identities": [1]}, r"expected integers or strings of shape \(2,\)"),
        ({"gallery_identities": [1.0, 2.0, 3.0]}, "of the gallery are float64"),
        ({"query_identities": [7, 8]}, "identities of both numbered alike"),
        (
            {"query_cameras": [1, 1], "gallery_cameras": [1, 1, 1]},
            "each match is of the query's own camera",
        ),
        ({"query_identities": ["1", "2"]}, "expected integers both, or strings"),
        ({"query_cameras": [1, 2]}, "cameras of one side only"),
        ({"own_rows": [0, 3]}, "expected -1 to 2"),
        ({"own_rows": [0]}, r"expected integers of shape \(2,\)"),
    ],
)
def test_refused(change, message):
    unit = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    arguments = {
        "queries": unit[:2],
        "gallery": unit,
        "query_identities": [1, 2],
        "gallery_identities": [1, 2, 1],
    }
    with pytest.raises(ValueError, match=message):
        metrics.rank_gallery(**(arguments | change))


def test_ranks_and_draws_are_checked():
    rankings = metrics.Rankings(np.ones(2, int), np.ones(2, int))
    for ranks in ([], [0], np.array([1.5])):
        with pytest.raises(ValueError, match="expected integers from 1"):
            metrics.cmc(rankings, ranks)
    with pytest.raises(ValueError, match="num_resamples is 0"):
        metrics.bootstrap_rankings(rankings, [1, 2], num_resamples=0)
    with pytest.raises(ValueError, match="identities are"):
        metrics.bootstrap_rankings(rankings, [1, 2, 3])
