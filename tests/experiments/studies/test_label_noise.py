"""What is left out is found by raw cosines; what stays counts as in a list of it."""

import numpy as np
import pytest

from experiments.studies import label_noise
from gfa_jax import datasets, metrics


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=300, dim=32, seed=2, max_size=12)


@pytest.fixture(scope="module")
def renamed(sample):
    """Half of the rows of two people under another name."""
    labels = sample.labels.copy()
    for person in (0, 1):
        rows = np.flatnonzero(labels == person)
        labels[rows[::2]] = labels.max() + 1
    return labels


def test_a_person_of_two_names_is_found(sample, renamed):
    clean = metrics.all_pairs_roc(sample.features, sample.labels)
    above = float(clean.impostor_tail.scores[0])
    raw = metrics.all_pairs_roc(sample.features, renamed)
    found = label_noise.find_same_person(raw, above=above)
    # Every row pair of two names of one person, and no other.
    truth = {
        tuple(sorted(pair))
        for pair in np.argwhere(sample.labels[:, None] == sample.labels).tolist()
        if renamed[pair[0]] != renamed[pair[1]]
    }
    assert truth
    assert {tuple(sorted(pair)) for pair in found.rows.tolist()} == truth
    assert len(found.rows) == len(truth)
    names = {tuple(sorted(renamed[list(pair)].tolist())) for pair in truth}
    assert len(found.identities) == len(names) == 2


def test_the_curve_is_that_of_a_list_without_them(sample, renamed):
    raw = metrics.all_pairs_roc(sample.features, renamed)
    found = label_noise.find_same_person(raw, above=0.6)
    assert len(found.rows)
    curve = label_noise.without(raw, sample.features, found).roc
    first, second = np.triu_indices(300, 1)
    kept = np.ones((300, 300), bool)
    kept[found.rows[:, 0], found.rows[:, 1]] = False
    kept = (kept & kept.T)[first, second]
    scores = metrics.pair_scores(sample.features, np.stack([first, second], axis=1))
    same = renamed[first] == renamed[second]
    expected = metrics.roc_curve(scores[kept], same[kept])
    assert (curve.num_impostor, curve.num_genuine) == (
        expected.num_impostor,
        expected.num_genuine,
    )
    fprs = (1e-4, 1e-3, 1e-2, 0.1)
    for got, wanted in zip(
        metrics.tpr_at_fpr(curve, fprs),
        metrics.tpr_at_fpr(expected, fprs),
        strict=True,
    ):
        assert got.tpr == wanted.tpr
    assert np.all(np.diff(curve.false_accepts) >= 0)


def test_nothing_above_leaves_nothing_out(sample):
    raw = metrics.all_pairs_roc(sample.features, sample.labels)
    found = label_noise.find_same_person(raw, above=1.0)
    assert len(found.rows) == len(found.identities) == 0
    assert label_noise.without(raw, sample.features, found) is raw


def test_a_limit_under_what_was_kept_is_refused(sample):
    raw = metrics.all_pairs_roc(sample.features, sample.labels, tail_size=10)
    with pytest.raises(ValueError, match=r"above is 0\.0; expected 0"):
        label_noise.find_same_person(raw, above=0.0)
