"""Cuts by identity, settings chosen on known rows only, pseudo-labels into a set."""

import numpy as np
import pytest

import gfa_jax as gfa
from experiments.training import pseudo_labeling, recipes, splits, study, trainer
from gfa_jax import datasets


def cut(seed=0, share=0.5, identities=40):
    return splits.split_identities(
        identities, share=share, test_share=0.25, choosing_share=0.2, seed=seed
    )


def test_parts_are_disjoint_and_a_larger_share_holds_the_smaller_one():
    split = cut()
    assert [len(part) for part in split] == [12, 3, 15, 10]
    assert sorted(np.concatenate(split)) == list(range(40))
    assert set(split.training) | set(split.test) == set(range(40))
    small, large = cut(share=0.3), cut(share=0.6)
    assert set(small.labelled) < set(large.labelled)
    np.testing.assert_array_equal(small.test, large.test)
    assert cut(seed=1).test.tolist() != small.test.tolist()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"share": 0.05}, "first"),
        ({"share": 0.97}, "unlabelled"),
        ({"identities": 6}, "first"),
    ],
)
def test_parts_of_fewer_than_two_are_refused(options, part):
    with pytest.raises(ValueError, match=f"in the part '{part}'"):
        cut(**options)


def test_scores_of_known_rows_are_those_of_counting():
    rng = np.random.default_rng(4)
    clusters = rng.integers(7, size=60)
    identities = np.where(rng.random(60) < 0.5, rng.integers(9, size=60), -1)
    right = joined = possible = 0
    for i in np.flatnonzero(identities >= 0):
        for j in range(60):
            if i != j:
                together = clusters[i] == clusters[j]
                joined += together
                right += together and identities[i] == identities[j]
                possible += identities[i] == identities[j]
    scores = pseudo_labeling.known_scores(clusters, identities)
    assert scores == (right / joined, right / possible)
    alone = pseudo_labeling.known_scores(np.arange(60), identities)
    assert alone == (1.0, 0.0)


@pytest.fixture(scope="module")
def pool():
    sample = datasets.synthetic_features(
        num_rows=500, dim=32, seed=3, max_size=12, junk_share=0.0
    )
    known = np.where(sample.labels % 3 == 0, sample.labels, -1)
    return sample.features, known, sample.labels


def test_the_best_setting_of_the_grid_is_chosen(pool):
    features, known, _ = pool
    method = pseudo_labeling.Method(k=8)
    grid = {"thresholds": (0.4, 0.6), "merge_thresholds": (0.6, 0.8, 0.95)}
    best = pseudo_labeling.choose(features, known, method, **grid)
    neighbors = gfa.exact_neighbors(features, k=8)
    scores = {}
    for t in grid["thresholds"]:
        refined = gfa.aggregate(
            features, neighbors, gfa.Params(0.5, t), num_steps=4
        ).features
        for t_s in grid["merge_thresholds"]:
            clusters = gfa.cluster(refined, neighbors, threshold=t_s)
            found = pseudo_labeling.known_scores(clusters.labels, known)
            scores[t, t_s] = found.f_score
    assert scores[best.threshold, best.merge_threshold] == max(scores.values())
    assert best.scores.f_score == max(scores.values()) > 0.5


def test_the_ablation_chooses_among_as_many_settings_and_does_not_refine(pool):
    features, _, _ = pool
    spread = pseudo_labeling.spread_settings((0.2, 0.4), (0.5, 0.7, 0.9))
    assert len(spread) == 6 and spread[0] == 0.2 and spread[-1] == 0.9
    method = pseudo_labeling.Method(k=8, num_steps=0)
    made = pseudo_labeling.make_clusters(
        features, method, threshold=0.2, merge_threshold=0.6
    )
    neighbors = gfa.exact_neighbors(features, k=8)
    expected = gfa.cluster(features, neighbors, threshold=0.6)
    np.testing.assert_array_equal(made.labels, expected.labels)


def options(confidence):
    return study.Options(
        recipe=recipes.Recipe(),
        first_steps=1,
        second_steps=1,
        method=pseudo_labeling.Method(),
        thresholds=(0.5,),
        merge_thresholds=(0.8,),
        confidence=confidence,
        min_confidence=0.5,
        min_size=2,
        test_share=0.3,
        choosing_share=0.2,
        fprs=(1e-3,),
        checkpoint_every=1,
    )


@pytest.mark.parametrize("confidence", study.CONFIDENCES)
def test_pseudo_labels_join_the_labelled_as_the_option_says(pool, rng, confidence):
    features, _, truth = pool
    method = pseudo_labeling.Method(k=8)
    clusters = pseudo_labeling.make_clusters(
        features, method, threshold=0.5, merge_threshold=0.8
    )
    chosen = options(confidence)
    labels = study.select(clusters, chosen, first_label=3)
    images = rng.integers(256, size=(500, 8, 8)).astype(np.uint8)
    labelled = trainer.TrainingSet(
        images[:4], np.array([0, 1, 2, 2]), np.ones(4, np.float32), 3
    )
    joined = study.add_pseudo_labels(labelled, images, labels, chosen)
    assert joined.num_classes == 3 + labels.num_classes
    assert set(joined.labels) == set(range(joined.num_classes))
    np.testing.assert_array_equal(joined.images[4:], images[labels.rows])
    confident = clusters.confidence[labels.rows]
    if confidence == "weight":
        np.testing.assert_allclose(joined.weights[4:], confident)
    else:
        assert (joined.weights == 1).all()
    assert (confident.min() >= 0.5) == (confidence == "drop")
    found = pseudo_labeling.describe(labels, clusters, truth)
    assert found["rows"] == len(labels.rows) and 0.5 < found["precision"] <= 1
