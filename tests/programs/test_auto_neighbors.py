"""`--neighbors=auto` says what it chose, why and how long, and changes no result."""

import jax.numpy as jnp
import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.neighbors import automatic
from gfa_jax.programs import flags, refine, settings
from gfa_jax.programs.backends import memory
from tests.programs.programs import succeed


def test_a_small_pool_gives_the_bits_of_exact_search(tmp_path):
    features = datasets.synthetic_features(num_rows=400, dim=16, seed=1).features
    np.save(tmp_path / "features.npy", features)
    for search in ("exact", "auto"):
        result = succeed(
            "refine",
            f"--features={tmp_path}/features.npy",
            f"--output_dir={tmp_path}/{search}",
            f"--neighbors={search}",
        )
        said = [line for line in result.stderr.splitlines() if "about" in line]
        assert len(said) == (search == "auto")
    assert said == [
        "exact neighbors, about 1 s: 400 rows are searched before an index is built"
    ]
    outputs = [(tmp_path / s / "refined.npy").read_bytes() for s in ("exact", "auto")]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("rate", "chosen", "calibrated"),
    [(1e12, "exact", False), (10.0, "approximate", True)],
)
def test_what_is_chosen_is_what_is_run(monkeypatch, capsys, rate, chosen, calibrated):
    pytest.importorskip("faiss")
    features = datasets.synthetic_features(num_rows=2000, dim=16, seed=1).features
    # A small pool counts as large, on a machine of which only the tiles are slow.
    monkeypatch.setattr(automatic.calibrated, "FEWEST_ROWS", 0)
    monkeypatch.setattr(automatic, "measure_rate", lambda dim, **_: rate)
    monkeypatch.setattr(automatic, "_ADVANTAGE", 0.0)
    flags.parse(refine, ["refine", "--neighbors=auto"])
    neighbors, calibration = memory.find_neighbors(
        jnp.asarray(features), settings.read()
    )
    assert len(neighbors.indices) == 2000
    assert (calibration is not None) == calibrated
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith(f"{chosen} neighbors, about ")
    assert "multiply-adds a second" in said
