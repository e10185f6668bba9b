"""A search that is measured, or chosen by its time, says so and changes no result."""

import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.neighbors import automatic
from gfa_jax.programs import flags, refine, settings
from gfa_jax.programs.backends import memory
from tests.programs.programs import read_report, succeed


def test_a_small_pool_gives_the_bits_of_exact_search(tmp_path):
    pytest.importorskip("faiss")
    features = datasets.synthetic_features(num_rows=400, dim=16, seed=1).features
    np.save(tmp_path / "features.npy", features)
    said = {}
    for search in ("exact", "auto", "approximate"):
        result = succeed(
            "refine",
            f"--features={tmp_path}/features.npy",
            f"--output_dir={tmp_path}/{search}",
            f"--neighbors={search}",
            "--noplots",
        )
        lines = result.stderr.splitlines()
        said[search] = [line for line in lines if "about" in line]
    told = "exact neighbors, about 1 s: 400 rows are searched before an index is built"
    assert said == {"exact": [], "auto": [told], "approximate": []}
    exact, auto, approximate = (np.load(tmp_path / s / "refined.npy") for s in said)
    np.testing.assert_array_equal(exact, auto)
    # So few rows are searched exactly, and the report says so.
    np.testing.assert_allclose(exact, approximate, rtol=0, atol=1e-5)
    calibration = read_report(tmp_path / "approximate")["calibration"]
    assert (calibration["factory"], calibration["recall"]) == ("Flat", 1.0)


@pytest.mark.parametrize(
    ("rate", "chosen", "calibrated"),
    [(1e12, "exact", False), (10.0, "approximate", True)],
)
def test_what_is_chosen_is_what_is_run(
    tmp_path, monkeypatch, capsys, rate, chosen, calibrated
):
    pytest.importorskip("faiss")
    features = datasets.synthetic_features(num_rows=2000, dim=16, seed=1).features
    # A small pool counts as large, on a machine of which only the tiles are slow.
    monkeypatch.setattr(automatic.calibrated, "FEWEST_ROWS", 0)
    monkeypatch.setattr(automatic, "measure_rate", lambda dim, **_: rate)
    monkeypatch.setattr(automatic, "_ADVANTAGE", 0.0)
    np.save(tmp_path / "x.npy", features)
    named = f"--features={tmp_path}/x.npy"
    flags.parse(refine, ["refine", "--neighbors=auto", named])
    backend, request = memory.MemoryBackend(), settings.read()
    backend.read(request, tmp_path)
    neighbors, calibration = backend.search(request)
    assert len(neighbors.indices) == 2000
    assert (calibration is not None) == calibrated
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith(f"{chosen} neighbors, about ")
    assert "multiply-adds a second" in said
