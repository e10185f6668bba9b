import re

import numpy as np
import pytest

from gfa_jax.selection.summary import Evidence, explain


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
