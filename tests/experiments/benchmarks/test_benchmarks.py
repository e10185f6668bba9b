"""The benchmark runs end to end and its peers compute what ours computes."""

import json
import math

import chex
import numpy as np
import pytest

import gfa_jax as gfa
from experiments.benchmarks import (
    ann,
    gradient_memory,
    measured,
    memory,
    peers,
    stages,
    timing,
)
from tests.problems import clustered_features
from tests.programs.programs import succeed


def test_it_prints_and_stores_tables(tmp_path):
    pytest.importorskip("faiss")
    result = succeed(
        "benchmarks",
        "--sizes=200,800",
        "--dim=16",
        "--k=5",
        "--repeats=2",
        "--slice_above=500",
        "--stages=approximate",
        f"--output_dir={tmp_path}",
    )
    assert result.stdout == (tmp_path / "benchmarks.md").read_text()
    assert "grows as" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {(row["stage"], row["peer"], row["size"]): row for row in report["rows"]}
    expected = {
        ("approximate neighbours", f"FAISS {name}") for name in ("flat", "IVF", "HNSW")
    }
    assert set(rows) == {(*names, size) for names in expected for size in (200, 800)}
    for (_, peer, size), row in rows.items():
        assert len(row["times"]["ours"]) == len(row["times"]["peer"]) == 2
        assert min(row["times"]["ours"] + row["times"]["peer"]) > 0
        sliced = size == 800 and peer == "FAISS flat"
        assert row["share"] == (0.05 if sliced else 1)
        for side in ("ours_bytes", "peer_bytes"):
            assert row[side]["resident_bytes"] > 1e7
    assert all(held["resident_bytes"] > 1e7 for held in report["only_reads"].values())
    for found in report["found"]:
        assert 0.99 <= found["edge_recall"] <= 1 >= found["recall"] > 0.2
    assert min(report["limits"].values()) > 0
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_a_gallery_is_timed_beside_a_rerun():
    result = succeed("benchmarks.gallery", "--size=300", "--dim=16", "--repeats=2")
    lines = result.stdout.splitlines()
    through = [line for line in lines[1:] if line.startswith("query, ")]
    names = [line.split()[0] for line in lines[1:] if line not in through]
    assert names == [
        *("rerun", "create", "query", "query", "insert,", "insert", "insert"),
        "remove",
    ]
    assert all(float(line.split()[-1].replace(",", "")) > 0 for line in lines[1:])
    recalls = [float(line.split()[-5]) for line in lines if " 256 " in line]
    assert recalls[0] == 1 and len(recalls) == len(through) + 1
    assert all(0.5 < recall <= 1 for recall in recalls)


def test_every_stage_and_peer_runs(tmp_path, rng, monkeypatch):
    """In this process, where programs that are compiled once serve them all."""
    monkeypatch.setattr(stages, "_ROUNDS", 1)
    features = clustered_features(rng, num_rows=1600, dim=8).astype(np.float32)
    labels = np.arange(1600) // 4
    neighbors = gfa.exact_neighbors(features, k=6)
    neighbors = gfa.Neighbors(*map(np.asarray, neighbors))
    efforts = dict.fromkeys(stages.INDEXES, 4)
    problem = stages.Problem(features, labels, neighbors, efforts, 6, 10**6)
    stages.save(problem, tmp_path)
    chex.assert_trees_all_equal(stages.load(tmp_path), problem)
    for name in ("update", "soft_update", "all_pairs", "kmeans", "mean_shift"):
        stage = stages.STAGES[name]
        ours = stage.make(problem)()
        for _, side in measured.sides(name, 1600):
            theirs = side.make(problem)()
            assert side.share(problem) == 1
            if stage.check is not None:
                stage.check(ours, theirs)


def test_a_peer_that_does_not_end_in_time_is_left_out(monkeypatch):
    def names(stage, num_rows):
        return [side.name for _, side in measured.sides(stage, num_rows)]

    monkeypatch.setattr(measured, "installed", lambda package: package != "torch")
    assert "FAISS HNSW" in names("approximate", 50_000)
    assert names("approximate", 200_000) == ["FAISS flat"]
    assert names("kmeans", 1000) == []
    assert names("mean_shift", 50_000) == []
    assert names("update", 1000) == ["einsum and SciPy CSR", "a fused Numba loop"]


def test_memory_is_that_of_a_process_of_its_own():
    small, large = (memory.measure(hold, size)["resident_bytes"] for size in (0, 2**28))
    # The interpreter may have held a few pages more, and freed them, before.
    assert large - small == pytest.approx(2**28, rel=0.1)


def hold(num_bytes: int) -> None:
    np.ones(num_bytes, np.uint8)


def test_an_approximate_search_is_scored_by_what_it_found():
    indices = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    similarity = np.array([[1, 0.9, 0.3], [1, 0.8, 0.7], [1, 0.2, 0.1]])
    exact = ann.Sample(np.arange(3), indices, similarity)
    found = np.array([[0, 1, -1], [0, 1, -1], [2, 1, -1]])
    assert ann.recall(found, exact) == pytest.approx(3 / 6)
    assert ann.recall(found, exact, threshold=0.5) == pytest.approx(2 / 3)
    assert ann.recall(found, exact, threshold=0.95) == 1.0


def test_the_effort_is_the_least_that_will_do(rng):
    pytest.importorskip("faiss")
    features = clustered_features(rng, num_rows=600, dim=8).astype(np.float32)
    exact, index = ann.exact_sample(features, 6), ann.inverted_file(600)
    np.testing.assert_array_equal(exact.rows, np.arange(600))
    effort = ann.effort(features, exact, index, threshold=-1.0)
    enough = ann.search(features, index, effort, k=6)
    assert ann.recall(enough.indices, exact) >= 0.99
    fewer = ann.search(features, index, int(effort / 1.5), k=6)
    assert ann.recall(fewer.indices, exact) < 0.99
    assert ann.effort(features, exact, index, threshold=2.0) == 1


def test_the_gradient_holds_no_neighbourhood_of_all_rows():
    few, many = gradient_memory.measure(1000, 128, 4, graphs=("fixed",))
    assert (few.k, many.k) == (4, 16)
    assert few.matrices > 20  # a matrix a step is kept
    # 12 more candidates would be 12 matrices more, were their rows held.
    assert many.matrices - few.matrices < 6


def test_the_bare_products_are_those_of_all_tiles(rng):
    rows = rng.standard_normal((10, 3)).astype(np.float32)
    corners = [rows[i] @ rows[j] for i in (0, 4, 8) for j in (0, 4, 8) if j >= i]
    assert peers.bare_products(rows, tile_size=4) == pytest.approx(
        sum(corners), rel=1e-5
    )


@pytest.mark.parametrize("name", ["scipy", "torch", "numba"])
def test_peers_make_the_same_update(rng, name):
    pytest.importorskip(name)
    features = clustered_features(rng, num_rows=300, dim=12).astype(np.float32)
    neighbors = gfa.exact_neighbors(features, k=6)
    indices = np.asarray(neighbors.indices)
    expected = gfa.aggregate(
        features, neighbors, gfa.Params(0.5, 0.55), num_steps=1, options=gfa.PAPER
    ).features
    if name == "numba":
        numbers = map(np.float32, (0.5, 0.55, 0.0))
        got = peers.numba_update()(features, indices, *numbers)
    else:
        peer = peers.scipy_update if name == "scipy" else peers.torch_update
        got = peer(features, indices, gamma=0.5, threshold=0.55)
    # float32 sums in another order; no edge of this problem lies that near to t.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_growth_is_the_exponent():
    sizes = [100, 400, 1600]
    assert timing.growth(sizes, [3e-9 * n**2 for n in sizes]) == pytest.approx(2)
    assert math.isnan(timing.growth([100], [1.0]))


def test_a_share_of_the_work_is_scaled_and_patience_ends_the_pairs():
    calls = []
    times, ours, peer = timing.paired(
        lambda: calls.append("ours") or 1,
        lambda: calls.append("peer") or 2,
        repeats=5,
        share=1e-9,
        patience=0.0,
    )
    assert calls == ["ours", "peer"] * 2
    assert (ours, peer) == (1, 2)
    assert times.peer[0] > 1e6 * times.ours[0]
