"""Probes: refined as rows of the pool are, seen by nobody, and named."""

import numpy as np
import pytest

from gfa_jax import datasets, gallery

SAMPLE = datasets.synthetic_features(num_rows=240, dim=16, seed=1)
PROBES = SAMPLE.features[200:]
POOL = gallery.create(SAMPLE.features[:200], np.arange(200) + 1000)


def test_a_probe_is_refined_as_its_insert_would_be():
    answer = gallery.query(POOL, 3 * PROBES)
    np.testing.assert_allclose(np.linalg.norm(answer.refined, axis=1), 1, atol=1e-5)
    for number in range(5):
        row = PROBES[number : number + 1]
        inserted = gallery.insert(POOL, row, [0]).refined[-1]
        assert inserted @ answer.refined[number] > 0.95
        alone = gallery.query(POOL, row)
        for one, many in zip(alone, answer, strict=True):
            np.testing.assert_allclose(one[0], many[number], atol=1e-5)


def test_it_names_the_rows_with_the_best_scores():
    answer = gallery.query(POOL, PROBES, k=200)
    assert (np.sort(answer.ids, axis=1) == POOL.ids).all()
    scores = answer.refined @ POOL.refined.T
    np.testing.assert_allclose(answer.scores, -np.sort(-scores, axis=1), atol=1e-5)
    few = gallery.query(POOL, PROBES, k=3)
    np.testing.assert_array_equal(few.ids, answer.ids[:, :3])
    np.testing.assert_allclose(few.posterior, answer.posterior[:, :3], atol=1e-5)
    np.testing.assert_array_equal(few.clusters, POOL.labels[few.ids[:, 0] - 1000])
    same = SAMPLE.labels[few.ids[:, 0] - 1000] == SAMPLE.labels[200:]
    is_sure = few.posterior[:, 0] > 0.5
    assert same[is_sure].mean() > same.mean()


def test_a_row_of_the_gallery_finds_itself():
    answer = gallery.query(POOL, POOL.features[:20], k=1)
    assert (answer.ids[:, 0] == POOL.ids[:20]).mean() > 0.9
    assert (answer.clusters == POOL.labels[:20]).all()


def test_candidates_may_come_from_an_index():
    def search(probes, k):
        order = np.argsort(-probes @ POOL.features.T, axis=1)[:, :k]
        return POOL.ids[order], None

    given, found = (gallery.query(POOL, PROBES, search=s) for s in (None, search))
    for one, other in zip(given, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "probes", "k", "message"),
    [
        (POOL, PROBES, 201, "k is 201 with 200 rows; expected at most 200"),
        (POOL, PROBES, 0, "k is 0; expected at least 1"),
        (POOL, PROBES[:, 1:], 1, r"\(40, 15\), expected rows of 16 values"),
        (POOL, PROBES[:1] * np.inf, 1, "NaN"),
        (POOL._replace(count=0), PROBES, 1, "the gallery is empty"),
    ],
)
def test_it_refuses(pool, probes, k, message):
    with pytest.raises(ValueError, match=message) as refused:
        gallery.query(pool, probes, k=k)
    assert "\n" not in str(refused.value)
