"""`holdout` end to end: chosen on one half of the identities, reported on the other."""

import numpy as np
import pytest

from experiments.studies import calibration, choice
from gfa_jax import datasets, metrics
from tests.programs.programs import read_report, succeed, write_pool


def test_holdout_chooses_on_one_half_and_reports_on_the_other(tmp_path):
    output = tmp_path / "out"
    sample = datasets.synthetic_features(num_rows=600, dim=64, seed=1)
    result = succeed(
        "holdout",
        *write_pool(tmp_path, sample),
        f"--output_dir={output}",
        "--k=5,10",
        "--threshold=0.4,0.9",
        "--gamma=0.5",
        "--num_steps=0,2",
        "--fprs=1e-2,1e-1",
        "--resamples=5",
    )
    assert "chosen on" in result.stdout
    report = read_report(output)
    cells = report["sweep"]["cells"]
    assert len(cells) == 8
    raw = report["sweep"]["raw"]
    for cell in cells:
        if cell["num_steps"] == 0:
            assert cell["tpr"] == raw

    best = choice.choose(
        raw,
        [(cell, cell["tpr"]) for cell in cells],
        tolerance=0.005,
        strength=lambda c: (c["gamma"] * c["num_steps"], -c["threshold"], c["k"]),
    )
    assert {name: best[name] for name in report["chosen"]} == report["chosen"]
    after = report["verification"]["after"]
    pairs = after["genuine_pairs"] + after["impostor_pairs"]
    rows = (1 + np.sqrt(1 + 8 * pairs)) / 2
    assert rows == int(rows) < 600
    for name in ("roc.png", "calibration.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    for name, seen in report["calibration"].items():
        assert seen["eer"] == report["verification"][name]["eer"]
        assert seen["min_cllr"] <= seen["cllr"] < 1
        for prior, least in report["verification"][name]["min_dcf"].items():
            assert seen["min_dcf"][prior] == pytest.approx(least)
            assert least - 1e-9 <= seen["actual_dcf"][prior]
    assert f"/ {report['calibration']['after']['cllr']:.4f}" in result.stdout


def test_reliability_is_on_the_diagonal_where_ratios_are_right():
    # Of 10 pairs each at ℓ = ±ln 4, 8 are of the likelier kind.
    ratios = np.repeat([np.log(4), -np.log(4)], 10)
    same = np.tile(np.arange(10), 2) < np.repeat([8, 2], 10)
    roc = metrics.roc_curve(ratios, same)
    predicted, observed = calibration.reliability(roc)
    np.testing.assert_allclose(predicted, [0.2, 0.8])
    np.testing.assert_allclose(observed, [0.2, 0.8])
    shown = calibration.show("perfect", metrics.roc_curve([0.1, 0.9], [0, 1]), roc)
    assert shown is None
