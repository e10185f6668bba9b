"""Components of edges that come in blocks are those of all edges at once."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gfa_jax.clustering import forest


@pytest.mark.parametrize(("num_rows", "num_edges"), [(9, 0), (900, 300), (900, 900)])
def test_rows_point_to_the_smallest_of_their_component(
    rng, monkeypatch, num_rows, num_edges
):
    monkeypatch.setattr(forest, "_BLOCK_EDGES", 97)
    first, second = rng.integers(0, num_rows, (2, num_edges))
    parent, other = (forest.plant(num_rows) for _ in range(2))
    for part in (slice(0, 40), slice(40, 300)):
        forest.join(parent, first[part], second[part])
    forest.join(other, first[300:], second[300:])
    forest.join_forest(parent, other)
    forest.flatten(parent)
    graph = coo_array((np.ones(num_edges), (first, second)), shape=(num_rows,) * 2)
    components = connected_components(graph, directed=False)[1]
    least = np.full(num_rows, num_rows)
    np.minimum.at(least, components, np.arange(num_rows))
    np.testing.assert_array_equal(parent, least[components])


def test_a_billion_rows_take_4_gb_and_more_than_int32_numbers_8_bytes_each():
    assert 10**9 * forest.parent_dtype(10**9).itemsize == 4 * 10**9
    assert forest.parent_dtype(2**31).itemsize == 4
    assert forest.parent_dtype(2**31 + 1).itemsize == 8
