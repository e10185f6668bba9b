"""Rows probe the right cells, and find there what a plain search would."""

import collections
import concurrent.futures
import sys

import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.neighbors.ivf import cell_search, cells, lists


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return datasets.synthetic_features(num_rows=700, dim=16, seed=2).features


@pytest.fixture(scope="module")
def centroids(rows) -> np.ndarray:
    return rows[::70]


@pytest.fixture
def small_blocks(monkeypatch):
    """Lets every loop over blocks go round more than once."""
    monkeypatch.setattr(cells, "_BLOCK", 2**10)
    monkeypatch.setattr(cells, "CHUNK_ROWS", 256)
    monkeypatch.setattr(cell_search, "_BLOCK", 2**10)
    monkeypatch.setattr(cell_search, "_GROUP_VALUES", 2**12)
    monkeypatch.setattr(cell_search, "_FETCHED_ROWS", 50)
    monkeypatch.setattr(cell_search, "_QUERIES", 16)
    monkeypatch.setattr(cell_search, "_TASK_PRODUCTS", 2**8)
    monkeypatch.setattr(cell_search, "_BATCH_PRODUCTS", 2**12)
    monkeypatch.setattr(cell_search, "_FEWEST_FOUND", 500)
    monkeypatch.setattr(lists, "RANGE", 256)


def choose_probes(rows, centroids, ratio) -> cells.Probes:
    chunks = range(cells.num_chunks(len(rows)))
    with cells.workers() as pool:
        parts = [cells.probe_chunk(rows, centroids, ratio, c, pool) for c in chunks]
    return cells.join_chunks(parts.__getitem__, len(rows))


def search(rows, probes, *, k, least=-np.inf, order=1) -> lists.Lists:
    """Does one group of cells after the other, in either order."""
    groups = cell_search.group_cells(
        probes.own, len(probes.offsets[0]) - 1, rows.shape[1]
    )
    kth_best, parts = np.empty(len(rows), np.float32), []
    offers = collections.defaultdict(list)

    def offer(chunk, found):
        offers[chunk].append(found)
        return found

    options = {"k": k, "least": least, "offer": offer}
    with cells.workers() as pool:
        for group in range(len(groups.cells)):
            own = cell_search.own_kth_best(rows, groups, group, k, pool)
            kth_best[groups.numbers(group)] = own
        for group in range(len(groups.cells))[::order]:
            task = rows, probes, groups, group, kth_best
            parts.append(cell_search.score(*task, **options, pool=pool))
    wanted = np.arange(len(rows), dtype=np.int32)
    return cell_search.merge_parts(parts, offers.__getitem__, wanted, k)


def queries_of(probes: cells.Probes, cell: int) -> np.ndarray:
    """The rows that probe a cell, of all chunks."""
    parts = [
        probes.rows(chunk)[offsets[cell] : offsets[cell + 1]].astype(int)
        + chunk * cells.CHUNK_ROWS
        for chunk, offsets in enumerate(probes.offsets)
    ]
    return np.concatenate(parts)


def probed_cells(rows, centroids, ratio) -> tuple[np.ndarray, np.ndarray]:
    """The own cell of each row, and [N, C] whether it probes a cell."""
    cosine = rows.astype(np.float64) @ centroids.T
    best = cosine.max(axis=1, keepdims=True)
    return cosine.argmax(axis=1), (cosine >= ratio * best) | (cosine == best)


@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.2])
def test_rows_probe_the_near_cells(rows, centroids, ratio, small_blocks):
    probes = choose_probes(rows, centroids, ratio)
    own, probed = probed_cells(rows, centroids, ratio)
    np.testing.assert_array_equal(probes.own, own)
    for cell in range(len(centroids)):
        expected = np.flatnonzero(probed[:, cell] & (own != cell))
        np.testing.assert_array_equal(queries_of(probes, cell), expected)
    assert sum(offsets[-1] for offsets in probes.offsets) == probed.sum() - 700
    size = np.bincount(own, minlength=len(centroids))
    assert probes.share == pytest.approx((probed @ size).sum() / 700**2)


def test_a_row_that_is_near_no_centroid_probes_its_own_only(rows, centroids):
    away = np.concatenate([rows, -centroids.sum(axis=0, keepdims=True)])
    probes = choose_probes(away, centroids, 0.5)
    assert all(700 not in queries_of(probes, cell) for cell in range(len(centroids)))


@pytest.mark.parametrize("k", [3, 80])
def test_it_finds_the_best_of_all_that_either_probes(rows, centroids, small_blocks, k):
    probes = choose_probes(rows, centroids, 0.5)
    found = search(rows, probes, k=k)
    own, probed = probed_cells(rows, centroids, 0.5)
    met = probed[:, own] | probed[:, own].T
    cosine = np.where(met, rows.astype(np.float64) @ rows.T, -np.inf)
    np.fill_diagonal(cosine, -np.inf)
    best = -np.sort(-cosine, axis=1)[:, :k]
    # float32 sums in another order.
    np.testing.assert_allclose(found.similarity, best, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.indices < 0, np.isneginf(best))
    assert np.all(np.take_along_axis(met, found.indices, axis=1)[found.indices >= 0])
    for row in found.indices:
        assert len(set(row[row >= 0])) == np.sum(row >= 0)
    again = search(rows, probes, k=k, order=-1)
    np.testing.assert_array_equal(found.indices, again.indices)
    np.testing.assert_array_equal(found.similarity, again.similarity)


def test_what_lies_below_the_least_comes_from_the_own_cell(rows, centroids):
    probes = choose_probes(rows, centroids, 0.5)
    every = search(rows, probes, k=20)
    few = search(rows, probes, k=20, least=0.6)
    above = every.similarity > 0.6
    np.testing.assert_array_equal(few.indices[above], every.indices[above])
    rest = (~above) & (few.indices >= 0)
    own = probes.own
    assert np.all((own[few.indices] == own[:, None])[rest])


def test_one_thread_without_threadpoolctl(rows, centroids, monkeypatch):
    probes = choose_probes(rows, centroids, 0.5)
    found = search(rows, probes, k=5)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(cells.importlib.util, "find_spec", lambda name: None)
    with cells.workers() as pool:
        assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
        assert pool._max_workers == 1
    alone = search(rows, probes, k=5)
    np.testing.assert_array_equal(found.indices, alone.indices)
