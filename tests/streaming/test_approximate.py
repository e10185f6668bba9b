"""Streamed approximate search: the recall it promises, of exact cosines, resumable."""

import functools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, streaming
from gfa_jax.neighbors.ivf import calibrated, cell_search, cells, lists
from gfa_jax.streaming.workspace import Team
from tests.problems import StoppedError, interrupt_after, refused
from tests.streaming import teams

pytest.importorskip("faiss")

N, D, K, T = 3000, 32, 6, 0.7
stream = functools.partial(
    streaming.approximate_neighbors, k=K, threshold=T, edge_recall=0.95
)


@pytest.fixture(scope="module")
def features():
    return datasets.synthetic_features(num_rows=N, dim=D, seed=3).features


@pytest.fixture
def mapped(features, tmp_path):
    np.save(tmp_path / "features.npy", features)
    return np.load(tmp_path / "features.npy", mmap_mode="r")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Lets a small pool be searched approximately, in many tasks."""
    monkeypatch.setattr(calibrated, "FEWEST_ROWS", 0)
    monkeypatch.setattr(calibrated, "LARGEST_SHARE", 0.5)
    monkeypatch.setattr(cells, "CHUNK_ROWS", 256)
    monkeypatch.setattr(lists, "RANGE", 256)
    monkeypatch.setattr(cells, "_SAMPLED_ROWS", 200)
    monkeypatch.setattr(cells, "_BLOCK", 2**14)
    monkeypatch.setattr(cell_search, "_GROUP_VALUES", 2**16)
    monkeypatch.setattr(cell_search, "_FEWEST_FOUND", 1000)
    monkeypatch.setattr(cell_search, "_BATCH_PRODUCTS", 2**14)


def assert_same(got, want) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_it_is_the_search_in_memory(features, mapped, tmp_path, checkpoint):
    folder = tmp_path / "search" if checkpoint else None
    got = stream(mapped, checkpoint=folder)
    want = gfa.approximate_neighbors(features, k=K, threshold=T, edge_recall=0.95)
    assert got[1] == want[1]
    assert_same(got[0], want[0])


def test_more_products_are_made_for_more_recall(mapped):
    _, some = stream(mapped, edge_recall=0.5)
    _, most = stream(mapped, edge_recall=0.95)
    assert some.share is not None and most.share is not None
    assert some.share < most.share
    assert some.recall < most.recall


def test_half_precision_rows_are_compared_in_float32(features):
    half = features.astype(ml_dtypes.bfloat16)
    found, _ = stream(half)
    assert found.similarity.dtype == np.float32
    assert_same(found, stream(half.astype(np.float32))[0])


def test_rows_are_read_in_chunks_and_sorted(features):
    class Counted:
        shape, dtype = features.shape, features.dtype

        def __getitem__(self, rows):
            taken = features[rows]
            if isinstance(rows, slice):
                assert len(taken) <= cells.CHUNK_ROWS
            else:  # the sample and its neighbours, or the rows of a group of cells
                assert np.all(np.diff(rows) > 0) and len(taken) < N
            return taken

    found, _ = stream(Counted())
    assert_same(found, stream(features)[0])


@pytest.mark.parametrize("checkpoint", [False, True])
def test_it_is_exact_where_cells_do_not_help(rng, tmp_path, monkeypatch, checkpoint):
    # Without structure the nearest rows lie in all cells.
    noise = rng.standard_normal((600, 24)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    folder = tmp_path / "search" if checkpoint else None
    monkeypatch.setattr(calibrated, "LARGEST_SHARE", 1 / 8)
    said = []
    options: dict[str, Any] = {"threshold": None, "edge_recall": 0.99}
    options |= {"checkpoint": folder}
    found, calibration = stream(noise, on_exact=said.append, **options)
    assert len(said) == 1 and "of all products would be left" in said[0]
    assert (calibration.factory, calibration.recall) == ("Flat", 1.0)
    exact = gfa.exact_neighbors(noise, k=K)
    np.testing.assert_array_equal(found.indices, exact.indices)
    if checkpoint:
        assert_same(stream(noise, **options)[0], found)


def test_a_small_pool_and_a_row_alone_need_no_index(features, monkeypatch):
    assert stream(features, k=1)[1].factory == "Flat"
    monkeypatch.setattr(calibrated, "FEWEST_ROWS", N + 1)
    found, calibration = stream(features)
    assert calibration.factory == "Flat"
    exact = gfa.exact_neighbors(features, k=K)
    assert np.mean(found.indices == np.asarray(exact.indices)) > 0.999


# --- interrupted ------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "steps"), [("cells", 5), ("neighbors", 3)])
def test_an_interrupted_search_goes_on_where_it_was(mapped, tmp_path, stage, steps):
    search = functools.partial(stream, mapped, checkpoint=tmp_path / "search")
    with pytest.raises(StoppedError):
        search(progress=interrupt_after(steps, stage))
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("search/*")}
    assert f"{stage}-{steps - 1}.npz" in kept and f"{stage}-{steps}.npz" not in kept
    got = search()
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("search/*")}
    assert kept.items() < after.items()  # nothing is done again
    want = stream(mapped)
    assert_same(got[0], want[0])
    assert got[1] == want[1]
    assert_same(search()[0], want[0])


@pytest.mark.parametrize("size", [2, 3, 7])
def test_processes_share_the_tasks(mapped, tmp_path, monkeypatch, size):
    want, folder = stream(mapped), tmp_path / "search"

    def part(workspace):
        return stream(mapped, checkpoint=folder, team=workspace.team)

    # Limits of threads are of the whole process.
    monkeypatch.setattr(cells.importlib.util, "find_spec", lambda name: None)
    found = teams.run(tmp_path, size, part)
    for number, (neighbors, calibration) in enumerate(found):
        own = Team(number, size).own(N)
        assert calibration == want[1]
        assert_same(neighbors, (column[own.start : own.stop] for column in want[0]))
    # Another number of processes finds nothing left to do.
    assert_same(stream(mapped, checkpoint=folder)[0], want[0])


def test_a_checkpoint_of_anything_else_is_refused(features, tmp_path):
    folder = tmp_path / "search"
    with pytest.raises(StoppedError):
        stream(features, checkpoint=folder, progress=interrupt_after(2, "neighbors"))
    before = (folder / "neighbors-1.npz").read_bytes()
    other = features.copy()
    other[2500, 3] += 1e-6
    options: dict[str, Any]
    for rows, options in ((other, {}), (features, {"k": 7}), (features, {"seed": 1})):
        refused("of other inputs, options", stream, rows, checkpoint=folder, **options)
    assert (folder / "neighbors-1.npz").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["calibration-0", "cells-3", "bounds-2", "neighbors-0"]
)
def test_a_damaged_file_is_refused_and_a_missing_one_made_again(
    features, tmp_path, name
):
    folder = tmp_path / "search"
    want = stream(features, checkpoint=folder)[0]
    path = folder / f"{name}.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("cannot read", stream, features, checkpoint=folder)
    path.unlink()
    assert_same(stream(features, checkpoint=folder)[0], want)
    (folder / "offers-1-2.npz").unlink()
    refused("offers-1-2.npz is gone", stream, features, checkpoint=folder)


def test_several_processes_need_a_folder(features):
    refused("need a checkpoint", stream, features, team=Team(1, 2))


# --- bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (np.eye(8, dtype=np.float32), {"k": 8}, "k is 8 with 8 rows"),
        (np.ones(8, np.float32), {}, r"shape \(8,\); expected \[N, D\]"),
        (np.ones((8, 2), np.int32), {}, "int32; expected a floating dtype"),
        (np.eye(8, dtype=np.float32), {"edge_recall": 0.0}, "edge_recall is 0.0"),
        (np.eye(8, dtype=np.float32), {"threshold": 1.5}, "threshold is 1.5"),
        (
            np.full((8, 2), np.nan, np.float32),
            {},
            "row 0 of the features has length nan",
        ),
    ],
)
def test_bad_input_is_refused(rows, options, message):
    refused(message, stream, rows, **({"k": 3} | options))
