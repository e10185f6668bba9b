"""`gfa.Refiner` is an estimator of scikit-learn; later rows move against the pool."""

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import parametrize_with_checks

import gfa_jax as gfa
from gfa_jax import datasets, metrics

SAMPLE = datasets.synthetic_features(num_rows=1500, dim=48, seed=1)
LATER = np.random.default_rng(0).random(1500) < 0.3
POOL = SAMPLE.features[~LATER]


@pytest.fixture(scope="module")
def refiner():
    return gfa.Refiner().fit(POOL)


# Each exclusion with its reason.
_EXCLUDED = {
    "check_estimators_dtypes": "it makes a row of zeros, which has no cosine",
}


@parametrize_with_checks(
    [gfa.Refiner()], expected_failed_checks=lambda refiner: _EXCLUDED
)
def test_it_is_an_estimator(estimator, check):
    check(estimator)


def test_it_gives_what_refine_gives(refiner):
    result = gfa.refine(POOL, cluster=True)
    np.testing.assert_array_equal(refiner.features_, result.features)
    np.testing.assert_array_equal(refiner.transform(POOL), result.features)
    np.testing.assert_array_equal(gfa.Refiner().fit_predict(POOL), result.labels)
    pipeline = make_pipeline(Normalizer(), gfa.Refiner(threshold=0.4, k=7))
    got = pipeline.fit_transform(POOL.astype(np.float32))
    want = gfa.refine(POOL, threshold=0.4, k=7).features
    np.testing.assert_allclose(got, want, atol=1e-5)
    again: Any = clone(pipeline)
    assert again.get_params()["refiner__k"] == 7


def test_later_rows_gain_and_do_not_see_each_other(refiner):
    moved = refiner.transform(SAMPLE.features)
    np.testing.assert_array_equal(moved[~LATER], refiner.features_)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    one = refiner.transform(3 * SAMPLE.features[LATER][:1])
    np.testing.assert_allclose(one, moved[LATER][:1], atol=1e-6)

    def tpr(rows):
        scores = rows[LATER] @ rows[~LATER].T
        same = SAMPLE.labels[LATER][:, None] == SAMPLE.labels[~LATER]
        curve = metrics.roc_curve(scores.ravel(), same.ravel())
        return metrics.tpr_at_fpr(curve, (1e-3,))[0].tpr

    assert tpr(moved) > tpr(SAMPLE.features) + 0.02


def test_later_rows_follow_a_threshold_as_rows_of_the_pool_do():
    refiner = gfa.Refiner(threshold=0.4, k=7, num_steps=2, gamma=0.5).fit(POOL)
    row = SAMPLE.features[LATER][:1]
    cosines = POOL @ row[0]
    near = np.flatnonzero(cosines >= np.sort(cosines)[-6])
    near = near[cosines[near] > 0.4]
    steps = [POOL, gfa.refine(POOL, threshold=0.4, k=7, num_steps=1).features]
    weights = np.append(np.maximum(cosines[near], 0), 1)[:, None] ** 3
    for pool in steps:
        members = np.vstack([pool[near], row])
        center = np.sum(weights * members, axis=0) / weights.sum()
        row = row + 0.5 * (center - row)
        row /= np.linalg.norm(row)
    np.testing.assert_allclose(
        refiner.transform(SAMPLE.features[LATER][:1]), row, atol=1e-5
    )


def test_a_pickled_one_knows_its_pool(refiner):
    again = pickle.loads(pickle.dumps(refiner))
    np.testing.assert_array_equal(again.transform(POOL[:5]), refiner.features_[:5])
