"""`compare_clusters` end to end, and its lines by hand."""

import json

from experiments.studies.clusterers import tables, tuning
from gfa_jax import datasets, metrics
from tests.programs.programs import read_report, succeed, write_pool

QUICK = "--clusterers=rank_order,components,average_raw,ours"


def test_every_clusterer_is_tuned_and_scored_on_each_split(tmp_path):
    sample = datasets.synthetic_features(num_rows=400, dim=48, seed=2, max_size=20)
    flags = [*write_pool(tmp_path, sample), QUICK, "--trials=3", "--splits=2"]
    result = succeed("compare_clusters", *flags, f"--output_dir={tmp_path}/one")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "clusters.png",
        "report.json",
    }
    report = read_report(tmp_path / "one")
    names = ["rank_order", "components", "average_raw", "ours"]
    assert list(report["clusterers"]) == names
    for outcomes in report["clusterers"].values():
        assert len(outcomes) == 2
        for outcome in outcomes:
            assert len(outcome["tried"]) == 3
            values = {
                json.dumps(each["setting"]): each["f"] for each in outcome["tried"]
            }
            assert values[json.dumps(outcome["setting"])] == max(values.values())
            assert outcome["scores"]["bcubed"]["f_score"] > 0.5
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == names
    assert lines[5].startswith("ours beside the best of the 2 peers")
    succeed("compare_clusters", *flags, f"--output_dir={tmp_path}/two")
    again = read_report(tmp_path / "two")
    for name in names:
        both = zip(report["clusterers"][name], again["clusterers"][name], strict=True)
        for one, two in both:
            assert (one["setting"], one["scores"]) == (two["setting"], two["scores"])


def outcome(precision: float) -> tuning.Outcome:
    agreement = metrics.PrecisionRecall(precision, 1.0)
    scores = metrics.ClusterScores(agreement, agreement, 1, 2, 3)
    return tuning.Outcome({}, [], scores, 0.5)


def test_the_verdict_counts_the_splits_in_which_ours_is_above_all_peers():
    outcomes = {
        "infomap": [outcome(0.5), outcome(0.9)],
        "kmeans": [outcome(0.6), outcome(0.1)],
        "average_raw": [outcome(1.0), outcome(1.0)],  # no peer
        "ours": [outcome(0.7), outcome(0.8)],
    }
    said = tables.verdict(outcomes)
    assert "the 2 peers" in said
    assert "above all in 1 of 2 splits" in said
    # F: 14/17 and 8/9 against 2/3 and 18/19 of infomap, the better peer on average.
    lead = (14 / 17 + 8 / 9) / 2 - (2 / 3 + 18 / 19) / 2
    assert f"pairwise F {lead:+.4f}" in said
    assert tables.verdict({"ours": [outcome(1)]}) == "no peer was asked for"
    line = tables.table(outcomes).splitlines()[-1]
    assert line.split()[:4] == ["ours", "0.750", "1.000", "0.856"]
