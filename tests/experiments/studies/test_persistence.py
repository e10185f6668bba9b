"""The study of clusters without labels, on generated sets of two networks."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from experiments.studies import persistence
from gfa_jax import datasets, metrics
from gfa_jax.clustering.persistence import CONSTANTS, Constants
from tests.programs.programs import succeed


def test_every_table_is_made_of_the_same_figures(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    cells = [CONSTANTS, Constants(0.0, 0.0, 1.0)]
    monkeypatch.setattr(persistence, "CELLS", cells)
    samples = {
        name: datasets.synthetic_features(num_rows=300, dim=16, seed=seed, max_size=12)
        for seed, name in enumerate(("one", "two_dlib"))
    }
    for name, sample in samples.items():
        arrays = {"features": sample.features, "labels": sample.labels}
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **arrays)
    output = tmp_path / "out"
    result = succeed("persistence", f"--sets={tmp_path}", f"--output_dir={output}")
    tables = (output / "tables.md").read_text()
    assert tables in result.stdout + "\n"
    report = json.loads((output / "report.json").read_text())
    for name, sample in samples.items():
        scores = report["sets"][name]
        labels = gfa.refine(sample.features, cluster=True).labels
        assert labels is not None
        found = metrics.cluster_scores(sample.labels, labels)
        expected = [found.pairwise.f_score, found.bcubed.f_score]
        np.testing.assert_allclose(scores["default"], expected)
        # The numbers as shipped are the default.
        assert scores[str(CONSTANTS)] == scores["default"]
    for row in ("| one |", "| two_dlib |", "*mean* |", "*not behind* |", "| dlib |"):
        assert row in tables
