import math
import re

import numpy as np
import pytest

from gfa_jax.selection.summary import Evidence, count, describe, explain


def seen(weight=1.5, half=0.625):
    empty = np.zeros(0)
    closure = np.array([0.2, 0.34])
    known = half, 3.2, weight, 5.0, 0.1, (5, 7), closure, empty, empty, empty
    return Evidence(*known, "", "")


def test_it_says_what_was_chosen():
    text = explain(seen(), 7, 2, 3, 100)["text"]
    assert text.startswith("K = 7:") and "(0.34 of the way" in text
    assert "T = 2," in text and "1.5 on average" in text
    assert "cosine of about 0.62; 3.2 candidates" in text
    assert text.endswith("3 outliers are dropped.")
    assert "dropped" not in explain(seen(), 7, 2, 0, 100)["text"]
    assert "No cosine" in explain(seen(half=float("nan")), 7, 2, 0, 100)["text"]


@pytest.mark.parametrize(
    ("weight", "dropped", "distrust"),
    [
        (1.0, 20, ""),
        (0.99, 0, "edges weigh less than the rows"),
        (0.5, 0, "edges weigh less than the rows"),
        (0.49, 0, "hardly any edge stands out"),
        (1.0, 21, "21% of the rows are dropped"),
        (0.4, 50, "hardly any edge .* they are; 50% of the rows"),
    ],
)
def test_it_says_what_speaks_against_it(weight, dropped, distrust):
    said = explain(seen(weight), 7, 2, dropped, 100)["distrust"]
    assert (said == "") == (distrust == "")
    assert re.match(distrust, said)


def test_counts_are_those_of_numpy(rng):
    z = rng.uniform(-4, 16, (40, 9))
    z[0, :4] = -2, 14, 5, np.nextafter(14, 15)  # the ends, and z₀ itself
    cosines, weights = rng.uniform(-1, 1, z.shape), rng.random(z.shape)
    cosines[1, :3] = -1, 0, 1
    is_edge = rng.random(z.shape) < 0.8
    is_edge[:2, :4] = True
    counts = [*map(np.asarray, count(cosines, is_edge, weights, z, center=5.0))]
    sums, yes, no, likely = counts
    trusted = is_edge & (z >= 5)
    np.testing.assert_array_equal(sums[:, 0], trusted.sum(axis=1))
    np.testing.assert_allclose(sums[:, 1], weights.sum(axis=1))
    cosine_ends, z_ends = np.linspace(-1, 1, 401), np.linspace(-2, 14, 81)
    for got, values, ends in (
        (yes, cosines[trusted], cosine_ends),
        (no, cosines[is_edge & ~trusted], cosine_ends),
        (likely, z[is_edge], z_ends),
    ):
        np.testing.assert_array_equal(got[0], np.histogram(values, ends)[0])
    both = describe(counts, np.ones(1), (5,), center=5.0, spread=0.1)
    np.testing.assert_array_equal(both.z, z_ends)
    np.testing.assert_allclose(both.candidates, likely[0] / 40)
    normal = [math.erf(end / math.sqrt(2)) / 2 for end in z_ends]
    np.testing.assert_allclose(both.strangers, 39 * np.diff(normal), atol=1e-12)
    assert both.edges_per_row == trusted.sum() / 40


def test_half_the_edges_pass_at_the_cosine_that_parts_them():
    cosines = np.array([[0.9, 0.8, 0.3, 0.2]])
    edges, weights = np.ones((1, 4), bool), np.ones((1, 4))

    def half(z):
        found = count(cosines, edges, weights, np.array([z]), center=5.0)
        counts = [*map(np.asarray, found)]
        return describe(counts, np.ones(1), (5,), center=5.0, spread=0.1).half_cosine

    assert 0.3 < half([9, 9, 1, 1]) <= 0.8
    assert math.isnan(half([1, 1, 1, 1]))
