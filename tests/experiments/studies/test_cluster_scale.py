"""`cluster_scale` end to end at a small size."""

import json

import numpy as np
import pytest

from tests.programs.programs import succeed

SMALL = (
    "--dim=48",
    "--tuning_rows=300",
    "--trials=2",
    "--rules=components,components_refined_cut,average_raw",
    "--cap=20",
)


def test_one_setting_serves_every_size(tmp_path):
    pytest.importorskip("faiss")
    # 900 rows are searched by an inverted file, 300 exactly.
    flags = (*SMALL, "--sizes=900,300", "--exact_rows=400", "--nprobe=64")
    cache = tmp_path / "cache"
    result = succeed(
        "cluster_scale", *flags, f"--output_dir={tmp_path}/one", f"--cache={cache}"
    )
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "scale.png",
        "report.json",
    }
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert [row["rows"] for row in report["rows"]] == [300] * 3 + [900] * 3
    recall = {row["rows"]: row["recall"] for row in report["rows"]}
    assert recall[300] == 1
    assert 0.8 < recall[900] <= 1
    for row in report["rows"]:
        assert row["scores"]["bcubed"]["f_score"] > 0.3
        if row["rule"] == "components_refined_cut":
            assert row["largest"] <= 20
    header, *lines = result.stdout.splitlines()
    assert header.split()[-2:] == ["300", "900"]
    assert [line.split()[0] for line in lines] == list(report["settings"])
    # Candidates that were kept give the same figures.
    assert len(list(cache.iterdir())) == 3
    succeed("cluster_scale", *flags, f"--output_dir={tmp_path}/two", f"--cache={cache}")
    again = json.loads((tmp_path / "two" / "report.json").read_text())
    for one, two in zip(report["rows"], again["rows"], strict=True):
        assert one["scores"] == two["scores"]
    with np.load(next(cache.iterdir()), allow_pickle=False) as stored:
        assert set(stored) == {"indices", "similarity"}
