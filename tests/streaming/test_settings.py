"""Settings and updates of several processes are those of memory, bit for bit."""

import jax
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.streaming import workspace as workspaces
from gfa_jax.streaming.aggregation import aggregate_in
from gfa_jax.streaming.settings import choose_settings
from gfa_jax.streaming.workspace import Workspace
from tests.streaming import teams


@pytest.fixture(scope="module")
def pool():
    with jax.enable_x64(False):
        rows = datasets.synthetic_features(num_rows=2600, dim=16, seed=1).features
        found = gfa.exact_neighbors(rows, k=16)
        neighbors = gfa.Neighbors(*map(np.array, found))
        neighbors.indices[7, 9:] = -1
        return rows, neighbors, gfa.choose_settings(rows, neighbors)


@pytest.mark.parametrize("size", [1, 3])
def test_they_equal_those_of_memory(pool, tmp_path, monkeypatch, size):
    rows, neighbors, want = pool
    monkeypatch.setattr(workspaces, "_CHUNK_BYTES", 1)  # chunks of 1,024 rows

    def refine(workspace):
        with jax.enable_x64(False):
            found = choose_settings(rows, neighbors, workspace=workspace)
            lists, params = np.asarray(found.neighbors.indices), gfa.Params(1.0, -1.0)
            options = {"num_steps": 3, "weights": found.weights, "chunk_size": 256}
            return found, aggregate_in(workspace, rows, lists, params, **options)

    given = gfa.Params(1.0, -1.0), want.weights
    moved = gfa.aggregate(rows, want.neighbors, given[0], num_steps=3, weights=given[1])
    for found, refined in teams.run(tmp_path, size, refine):
        for got, expected in zip(*map(jax.tree.leaves, (found, want)), strict=True):
            np.testing.assert_array_equal(got, expected)
        for got, expected in zip(refined, moved, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_what_is_finished_is_not_made_again(pool, tmp_path):
    rows, _, want = pool
    given = {"weights": np.asarray(want.weights), "chunk_size": 256}
    seen = []

    def progress(iterable, *, total, desc):
        seen.append(desc)
        return iterable

    def update(workspace, num_steps):
        lists, params = np.asarray(want.neighbors.indices), gfa.Params(1.0, -1.0)
        options = given | {"num_steps": num_steps, "progress": progress}
        return aggregate_in(workspace, rows, lists, params, **options)

    for num_steps in (2, 3, 3):
        last = teams.run(tmp_path, 2, lambda w, n=num_steps: update(w, n))[0]
    assert sorted(set(seen)) == ["update 1 of 2", "update 2 of 2", "update 3 of 3"]
    whole = update(Workspace(tmp_path, "1" * 64), 3)
    for got, expected in zip(last, whole, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_full_disk_is_one_line(pool, tmp_path, monkeypatch):
    rows, neighbors, _ = pool

    def fail(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    workspace = Workspace(tmp_path, "0" * 64)
    with pytest.raises(ValueError, match="No space left on device; the same command"):
        choose_settings(rows, neighbors, workspace=workspace)
    assert all(path.suffix == ".part" for path in tmp_path.iterdir())
