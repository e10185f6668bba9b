"""The benchmark runs end to end and its peers compute what ours computes."""

import json
import math

import numpy as np
import pytest

import gfa_jax as gfa
from experiments.benchmarks import peers, timing
from tests.experiments.programs import refuse, succeed
from tests.problems import clustered_features


def test_it_prints_and_stores_a_table(tmp_path):
    pytest.importorskip("faiss")
    result = succeed(
        "benchmarks",
        "--sizes=200,800",
        "--dim=16",
        "--repeats=2",
        f"--output_dir={tmp_path}",
    )
    assert result.stdout == (tmp_path / "benchmarks.md").read_text()
    report = json.loads((tmp_path / "report.json").read_text())
    stages = {(row["stage"], row["size"]) for row in report["rows"]}
    names = {"neighbors", "update", "gradient", "all pairs"}
    assert stages == {(name, size) for name in names for size in (200, 800)}
    for row in report["rows"]:
        assert len(row["times"]["ours"]) == len(row["times"]["peer"]) == 2
        assert min(row["times"]["ours"]) > 0
    assert min(report["limits"].values()) > 0
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("flag", ["--stages=speed", "--sizes=10", "--sizes=x"])
def test_bad_flags_are_refused(tmp_path, flag):
    refuse(tmp_path, flag.split("=")[1], flag, module="benchmarks")


@pytest.mark.parametrize("name", ["scipy", "torch", "numba"])
def test_peers_make_the_same_update(rng, name):
    pytest.importorskip(name)
    features = clustered_features(rng, num_rows=300, dim=12).astype(np.float32)
    neighbors = gfa.exact_neighbors(features, k=6)
    indices = np.asarray(neighbors.indices)
    expected = gfa.aggregate(
        features, neighbors, gfa.Params(0.5, 0.55), num_steps=1, **gfa.PAPER
    ).features
    if name == "numba":
        got = peers.numba_update()(features, indices, np.float32(0.5), np.float32(0.55))
    else:
        peer = peers.scipy_update if name == "scipy" else peers.torch_update
        got = peer(features, indices, gamma=0.5, threshold=0.55)
    # float32 sums in another order; no edge of this problem lies that near to t.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_growth_is_the_exponent():
    sizes = [100, 400, 1600]
    assert timing.growth(sizes, [3e-9 * n**2 for n in sizes]) == pytest.approx(2)
    assert math.isnan(timing.growth([100], [1.0]))


def test_ratios_go_pair_by_pair():
    times = timing.Paired(ours=[1.0, 2.0], peer=[3.0, 2.0])
    assert times.ratios == [3.0, 1.0]
    assert timing.median(times.ratios) == 2.0
