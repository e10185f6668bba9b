"""The study of the default end to end, on generated sets of two networks."""

import json

import numpy as np
import pytest

from experiments.studies import evidence
from gfa_jax import datasets, metrics
from tests.programs.programs import succeed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets; the first is searched, and from two cameras."""
    path = tmp_path_factory.mktemp("sets")
    for seed, (name, num_rows) in enumerate([("one", 400), ("two_dlib", 300)]):
        sample = datasets.synthetic_features(
            num_rows=num_rows, dim=16, seed=seed, max_size=12
        )
        arrays = {"features": sample.features, "labels": sample.labels}
        if name == "one":
            camera = np.arange(num_rows) % 2
            arrays |= {"camera": camera, "is_query": camera == 0}
            arrays |= {"is_gallery": camera == 1}
        np.savez(path / f"{name}.npz", allow_pickle=False, **arrays)
    return path


def test_every_table_is_made_of_the_same_figures(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "MOVED", {"posterior_center": (4.0,)})
    monkeypatch.setattr(evidence, "TUNED", [(3, 1.0), (5, 3.0)])
    result = succeed(
        "evidence", f"--sets={folder}", "--tune_rows=300", f"--output_dir={tmp_path}"
    )
    tables = (tmp_path / "tables.md").read_text()
    assert tables in result.stdout + "\n"
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["sets"]) == ["one", "two_dlib"]
    for name, entry in report["sets"].items():
        tprs = entry["tpr"]
        assert tprs["as they are"] == tprs["default"]
        with np.load(folder / f"{name}.npz") as stored:
            roc = metrics.all_pairs_roc(stored["features"], stored["labels"]).roc
        points = metrics.tpr_at_fpr(roc, evidence.FPRS)
        np.testing.assert_allclose(tprs["raw"], [p.tpr for p in points], atol=2e-3)
        assert f"| {name} |" in tables
    for row in ("**one**", "**dlib**", "mAP, CMC@1", "TPR across", "*misses removed*"):
        assert f"{row} |" in tables
    assert tables.count("posterior_center 5 → 4 |") >= 1
    # A mask is learnt for the smaller set only.
    one, two = (
        line
        for line in tables.split("**labels**")[1].splitlines()
        if line.startswith(("| one", "| two"))
    )
    assert one.endswith("|  |") and not two.endswith("|  |")
