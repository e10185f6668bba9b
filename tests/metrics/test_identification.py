"""Identification against a literal float64 reading of its definition."""

import tracemalloc

import numpy as np
import pytest

from gfa_jax import metrics
from gfa_jax.metrics import retrieval, tpr_intervals
from tests import oracle

TARGETS = (0.0, 0.05, 0.1, 0.3, 1.0)


def literal_dir(scores, wanted, known, targets):
    """DIR at each FPIR: every threshold that a score gives, tried in turn."""
    mated = np.isin(wanted, known)
    best = np.where(mated, -np.inf, scores.max(axis=1))
    thresholds = [np.inf, *np.unique(scores)[::-1]]
    rates = []
    for target in targets:
        reached = 0.0
        for threshold in thresholds:
            if np.mean(best[~mated] >= threshold) > target:
                break
            hits = []
            for row, identity in zip(scores[mated], wanted[mated], strict=True):
                mate = row[known == identity].max()
                other = row[known != identity].max(initial=-np.inf)
                hits.append(mate >= threshold and mate > other)
            reached = np.mean(hits)
        rates.append(reached)
    return rates


def problem(rng, *, levels=None, num_probes=41, num_gallery=30):
    """Features, half of whose people are in the gallery; with `levels` many ties."""
    count = num_probes + num_gallery
    if levels is None:
        rows = oracle.unit_rows(rng.standard_normal((count, 8)))
    else:  # corners of a cube: exact products
        rows = rng.choice([-0.25, 0.25], (count, 16))
    rows = rows.astype(np.float32)
    wanted = rng.integers(0, 16, num_probes)
    return rows[:num_probes], rows[num_probes:], wanted, rng.integers(0, 8, num_gallery)


@pytest.mark.parametrize("levels", [None, 2], ids=["no ties", "ties"])
@pytest.mark.parametrize("block_size", [1, 10, 128])
def test_equals_the_definition(rng, monkeypatch, levels, block_size):
    monkeypatch.setattr(retrieval, "_BLOCK", block_size)
    probes, gallery, wanted, known = problem(rng, levels=levels)
    found = metrics.identify(probes, gallery, wanted, known)
    scores = probes.astype(np.float64) @ gallery.astype(np.float64).T
    points = metrics.dir_at_fpir(found, TARGETS)
    expected = literal_dir(scores, wanted, known, TARGETS)
    np.testing.assert_allclose([point.tpr for point in points], expected, rtol=1e-12)
    assert all(point.fpr <= point.fpr_target for point in points)
    assert points[-1].tpr == found.rank_1


def test_ties_by_hand():
    known = np.array(["a", "b"])
    scores = np.array(
        [
            [0.9, 0.1],  # a, found
            [0.8, 0.8],  # a, as good as b: not found at any threshold
            [0.2, 0.6],  # b, found
            [0.1, 0.6],  # nobody, as good as the last
            [0.3, 0.2],  # nobody
        ]
    )
    found = metrics.identify_scores(scores, np.array(["a", "a", "b", "x", "y"]), known)
    assert found.rank_1 == 2 / 3
    half, all_, none = metrics.dir_at_fpir(found, (0.5, 1.0, 0.0))
    # At .6 one of two strangers passes, and b with it.
    assert (half.tpr, half.fpr, half.threshold) == (2 / 3, 0.5, 0.6)
    assert (all_.tpr, all_.false_accepts) == (2 / 3, 2)
    assert (none.tpr, none.fpr, none.threshold) == (1 / 3, 0.0, 0.9)


def test_cameras_and_unknown_identities_are_left_out():
    known, seen = np.array([1, 1, 2, -1]), np.array([0, 1, 0, 0])
    scores = np.array([[0.9, 0.4, 0.5, 1.0], [0.1, 0.2, 0.3, 1.0], [0.5] * 4])
    found = metrics.identify_scores(
        scores,
        np.array([1, 7, -1]),
        known,
        probe_cameras=np.zeros(3, int),
        gallery_cameras=seen,
    )
    assert found.mated.tolist() == [0.4, -np.inf] and found.other.tolist() == [0.5, 0.3]
    assert found.is_mated.tolist() == [True, False] and found.rank_1 == 0


def test_intervals_repeat_the_probes_of_the_drawn(rng):
    probes, gallery, wanted, known = problem(rng, levels=2)
    scores = probes.astype(np.float64) @ gallery.astype(np.float64).T
    found = metrics.identify_scores(scores, wanted, known)
    resampled = metrics.resample_dir(found, TARGETS, num_resamples=30, seed=5)
    names, codes = np.unique(wanted, return_inverse=True)
    random, expected = np.random.default_rng(5), []
    while len(expected) < 30:
        drawn = random.integers(names.size, size=names.size)
        rows = np.repeat(
            np.arange(len(wanted)), np.bincount(drawn, minlength=99)[codes]
        )
        if len({*np.isin(wanted[rows], known)}) == 2:
            expected.append(literal_dir(scores[rows], wanted[rows], known, TARGETS))
    np.testing.assert_allclose(resampled.tprs, expected, rtol=1e-12)
    gain = metrics.gain_intervals(resampled, resampled)
    assert {(each.lower, each.upper) for each in gain} == {(0, 0)}
    assert all(each.lower <= each.upper for each in tpr_intervals(resampled))


def test_memory_does_not_hold_all_scores(rng):
    probes, gallery, wanted, known = problem(rng, num_probes=4000, num_gallery=2000)
    tracemalloc.start()
    metrics.identify(probes, gallery, wanted, known)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 2000 * 4 / 4


@pytest.mark.parametrize(
    ("wanted", "known", "message"),
    [
        ([1, 1], [1, 2], "2 of 2 probes of known identity have a match"),
        ([3, 4], [1, 2], "0 of 2 probes of known identity have a match"),
        ([1, 3, 4], [1, 2], "got scores of 2 queries; expected 3"),
        ([1, 3], [1, 2, 3], "expected 2 queries with scores of shape"),
        (["1", "3"], [1, 2], "expected integers both, or strings"),
    ],
)
def test_what_cannot_be_measured_is_refused(wanted, known, message):
    with pytest.raises(ValueError, match=message):
        metrics.identify_scores(np.ones((2, 2)), wanted, known)
