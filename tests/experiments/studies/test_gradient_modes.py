"""`gradient_modes` at a small size: the three modes, their memory, bad input."""

import json

import pytest

from tests.programs.programs import succeed

pytest.importorskip("optimistix")

SMALL = ("--rows=64", "--columns=16", "--k=5", "--steps=4,40")


def test_memory_and_agreement_of_three_modes(tmp_path):
    printed = succeed("gradient_modes", *SMALL, f"--output_dir={tmp_path}").stdout
    report = json.loads((tmp_path / "report.json").read_text())
    found = {(row["name"], row["steps"]): row for row in report["gradients"]}
    assert next(iter(found)) == ("implicit", None) and len(found) == 5
    # An array a step in reverse; forward mode carries as much whatever the steps.
    held = {key: row["bytes"] for key, row in found.items()}
    assert held["reverse", 40] - held["reverse", 4] >= 36 * 64 * 16 * 4
    assert held["forward", 40] == held["forward", 4]
    # In float32, where 40 steps with γ = .5 have come to rest; four have not.
    assert found["reverse", 40]["distance"] < 1e-4
    assert found["forward", 40]["distance"] < 1e-4
    assert found["reverse", 4]["distance"] > 1e-3
    assert "at rest" in printed and "[N, D] arrays" in printed
