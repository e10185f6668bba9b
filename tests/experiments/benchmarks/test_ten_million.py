"""Processes that are killed on the way end with the bytes of one that is not."""

import json
import subprocess
import sys

from tests.programs.programs import REPOSITORY


def test_killed_workers_and_leaders_change_no_bit(tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.benchmarks.ten_million"),
            *("--num_rows=4000", "--dim=16", "--search=exact", "--compare"),
            f"--output_dir={tmp_path}",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    measured = json.loads((tmp_path / "measured.json").read_text())
    assert measured["same"]
    assert measured["runs"] == 3  # each kill ended all of the job
    assert measured["scores"]["bcubed"]["f_score"] > 0.8
    assert measured["bytes"]["read"] > measured["floor_bytes"]["read"]
    assert measured["peak_resident_bytes"] > measured["peak_proportional_bytes"] > 0
