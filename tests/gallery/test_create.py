"""A gallery as it is made: what `refine` gives, and what is refused."""

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, gallery

FEATURES = datasets.synthetic_features(num_rows=300, dim=32, seed=1).features


def test_it_holds_what_refine_gives():
    made = gallery.create(FEATURES, np.arange(300) + 7)
    want = gfa.refine(FEATURES, cluster=True)
    np.testing.assert_array_equal(made.refined, want.features)
    np.testing.assert_array_equal(made.labels, want.labels)
    np.testing.assert_array_equal(made.degree, want.degree)
    np.testing.assert_array_equal(made.dropped, want.dropped)
    np.testing.assert_array_equal(made.ids, np.arange(300) + 7)
    assert made.count == 300 and str(made) == (
        "Gallery(300 rows of 32 values, K = 40, T = 5, version 0)"
    )


def test_a_search_from_elsewhere_finds_its_candidates():
    exact = gallery.create(FEATURES)

    def search(probes, k):
        cosines = probes @ FEATURES.T
        indices = np.argsort(-cosines, axis=1)[:, :k]
        return indices, np.take_along_axis(cosines, indices, axis=1)

    found = gallery.create(FEATURES, search=search)
    np.testing.assert_array_equal(found.candidates, exact.candidates)
    np.testing.assert_allclose(found.refined, exact.refined, atol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_a_small_pool_lists_all_of_it(count):
    made = gallery.create(FEATURES[:count])
    assert (np.sort(made.candidates)[:, -count:] == np.arange(count)).all()
    np.testing.assert_allclose(np.linalg.norm(made.refined, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (FEATURES[:1], {}, "rows"),
        (FEATURES, {"ids": np.zeros(300, int)}, "id 0 is given 300 times"),
        (FEATURES, {"ids": np.arange(299)}, r"\(299,\); expected \(300,\) integers"),
        (FEATURES, {"ids": np.arange(300) - 1}, r"span \[-1, 298\]"),
        (FEATURES, {"ids": list("ab") * 150}, "integers, one a row"),
        (
            FEATURES,
            {"search": lambda probes, k: (np.full((300, k), 300), None)},
            "none of the 300 ids",
        ),
        (
            FEATURES,
            {"search": lambda probes, k: (np.zeros(k), None)},
            r"expected ids \(300, 57\)",
        ),
    ],
)
def test_it_refuses(features, options, message):
    with pytest.raises(ValueError, match=message):
        gallery.create(features, **options)
