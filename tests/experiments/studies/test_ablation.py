"""`ablation` end to end: every cell measured once, and as `aggregate` gives it."""

import json
import subprocess

import numpy as np
import pytest

import gfa_jax as gfa
from experiments.studies import ablation_tables, label_noise
from experiments.studies.ablation_tables import Cell, Setting
from gfa_jax import datasets, metrics
from tests.programs.programs import run

_SMALL = (
    "--k=8",
    "--ks=4,8",
    "--thresholds=0.4,0.6",
    "--gammas=0.5,1",
    "--steps=1,2",
    "--num_steps=2",
    "--fprs=1e-3,1e-2",
)


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=500, dim=32, seed=1, max_size=20)


@pytest.fixture
def files(tmp_path, sample):
    np.save(tmp_path / "features.npy", sample.features)
    np.save(tmp_path / "labels.npy", sample.labels)
    return tmp_path


def ablate(files, *flags: str) -> subprocess.CompletedProcess[str]:
    return run(
        "ablation",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={files}/out",
        *_SMALL,
        *flags,
    )


def test_every_cell_is_there_and_is_what_the_library_gives(files, sample):
    result = ablate(files)
    assert result.returncode == 0, result.stderr
    names = {"table.txt", "sweep.png", "report.json"}
    assert {path.name for path in (files / "out").iterdir()} == names
    report = json.loads((files / "out" / "report.json").read_text())
    settings = [tuple(cell["setting"].items()) for cell in report["cells"]]
    assert len(set(settings)) == len(settings)  # each is measured once
    cells = dict(zip(settings, report["cells"], strict=True))
    # 7 around the reference (some of them in the grid), 4 of gamma × T of which 1 is
    # the reference, 2 × 2 of K × t for three forms with and without the guard.
    grid = [s for s in map(dict, settings) if s["gamma"] == 0.5 and s["num_steps"] == 2]
    assert {(s["k"], s["threshold"], s["graph"], s["guard"]) for s in grid} >= {
        (k, t, graph, guard)
        for k in (4, 8)
        for t in (0.4, 0.6)
        for graph in ("fixed", "remask", "rescore")
        for guard in (False, True)
    }
    setting = next(
        s
        for s in map(dict, settings)
        if s["k"] == 4
        and s["guard"]
        and s["graph"] == "rescore"
        and s["threshold"] == 0.4
    )
    wide = gfa.exact_neighbors(sample.features, k=15)
    guarded = gfa.selection.isolate(wide, gfa.find_outliers(wide, threshold=0.4))
    refined = gfa.aggregate(
        sample.features,
        gfa.Neighbors(*(column[:, :4] for column in guarded)),
        gfa.Params(0.5, 0.4),
        num_steps=2,
        **gfa.PAPER,
    ).features
    roc = metrics.all_pairs_roc(refined, sample.labels).roc
    expected = [point.tpr for point in metrics.tpr_at_fpr(roc, (1e-3, 1e-2))]
    # The program runs in float32 and this test, as a rule, in float64: a pair on the
    # threshold may fall to either side of it.
    np.testing.assert_allclose(
        cells[tuple(setting.items())]["tpr"], expected, rtol=0, atol=2e-3
    )
    assert "least gain of all cells" in result.stdout
    # The table's shares are those of the report's figures.
    plain = cells[tuple((setting | {"guard": False}).items())]["tpr"]
    gains = (
        np.array([cells[tuple(setting.items())]["tpr"], plain]) - report["raw"]["tpr"]
    )
    shares = [f"{g:+.3f} {g / p:>5.0%}" for g, p in gains.T]
    assert min(gains[1]) >= ablation_tables.MIN_GAIN
    table = (files / "out" / "table.txt").read_text()
    assert "  ".join(shares) in table.split(f"{ablation_tables.GRID}: gain")[1]
    assert "kept of the plain gains, least" in result.stdout


def test_what_a_cell_keeps_is_its_share_of_the_plain_gain():
    setting = Setting(4, 0.5, 0.5, 2, "affinity", "remask", guard=True)
    raw, own, plain = (
        Cell(None, np.array(tpr), np.zeros(3))
        for tpr in ([0.5, 0.5, 0.5], [0.6, 0.4, 0.5], [0.7, 0.6, 0.504])
    )
    cells = {setting: own, setting._replace(**ablation_tables.PLAIN): plain}
    shares = ablation_tables.kept(raw, [setting], cells)
    np.testing.assert_allclose(shares, [[0.5, -1, np.nan]], rtol=1e-12)


def test_only_the_forms_asked_for_are_measured_beside_the_plain_method(files):
    flags = ("--ks=4", "--thresholds=0.4", "--gammas=0.5", "--steps=2", "--k=4")
    result = ablate(files, *flags, "--form=remask", "--exponent=1")
    assert result.returncode == 0, result.stderr
    table = (files / "out" / "table.txt").read_text()
    summary = table.split("least gain of all cells")[1]
    assert [line for line in summary.splitlines() if line[:1].isalpha()] == [
        line
        for title in ("uniform, rescore", "affinity, remask", "affinity, remask, guard")
        for line in summary.splitlines()
        if line.split("  ")[0] == title
    ]
    report = json.loads((files / "out" / "report.json").read_text())
    assert {cell["setting"]["exponent"] for cell in report["cells"]} == {1.0}


def test_a_person_of_two_names_is_left_out_where_asked(files, sample):
    labels = sample.labels.copy()
    rows = np.flatnonzero(labels == 0)
    labels[rows[::2]] = labels.max() + 1
    np.save(files / "labels.npy", labels)
    one_cell = ("--ks=4", "--thresholds=0.4", "--gammas=0.5", "--steps=1")
    result = ablate(files, *one_cell, "--same_person=0.6")
    assert result.returncode == 0, result.stderr
    report = json.loads((files / "out" / "report.json").read_text())
    raw = metrics.all_pairs_roc(sample.features, labels)
    left_out = label_noise.find_same_person(raw, above=0.6)
    assert report["left_out"] == {
        "identity_pairs": len(left_out.identities),
        "impostor_pairs": len(left_out.rows),
    }
    assert len(left_out.rows) >= len(rows[::2]) * len(rows[1::2])
    roc = label_noise.without(raw, sample.features, left_out).roc
    expected = [point.tpr for point in metrics.tpr_at_fpr(roc, (1e-3, 1e-2))]
    assert report["raw"]["tpr"] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--ks=4,600", "k is 600"),
        ("--thresholds=2", "threshold is 2; expected a value in [-1, 1]"),
        ("--steps=-1", "--steps has -1; expected 0 or more"),
        ("--gammas=", "--gammas is empty"),
    ],
)
def test_bad_flags_end_with_one_line(files, flag, complaint):
    result = ablate(files, flag)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (files / "out").exists()
