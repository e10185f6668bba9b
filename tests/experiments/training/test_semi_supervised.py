"""`semi_supervised` end to end: a small study, a kill in the middle, bad input."""

import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from tests.programs.programs import REPOSITORY, call, command, refuse, succeed

SMALL = (
    "--identities=24",
    "--first_steps=20",
    "--second_steps=20",
    "--widths=4,8",
    "--embedding_dim=8",
    "--batch_size=16",
    "--checkpoint_every=8",
    "--seeds=0",
    "--fprs=1e-2,1e-1",
    "--thresholds=0.3,0.5",
    "--merge_thresholds=0.6,0.8,0.95",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that nothing stopped: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, succeed("semi_supervised", *SMALL, f"--output_dir={folder}").stdout


def rows_of(folder):
    report = json.loads((folder / "report.json").read_text())
    return [row | {"seconds": None} for row in report["rows"]]


def test_a_study_measures_the_bounds_the_ablation_and_ours(whole):
    folder, printed = whole
    names = {"table.txt", "semi_supervised.png", "report.json", "checkpoints"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "semi_supervised.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((folder / "report.json").read_text())
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["upper", "lower", "raw", "ours"]
    for row in rows.values():
        assert [point["fpr_target"] for point in row["points"]] == [1e-2, 1e-1]
        assert all(0 <= point["tpr"] <= 1 for point in row["points"])
        assert row["genuine_pairs"] == rows["upper"]["genuine_pairs"] > 0
    for name in ("raw", "ours"):
        found = rows[name]["pseudo_labels"]
        assert 0 < found["rows"] <= found["rows_of"]
        assert 0 <= found["precision"] <= 1 and 0 <= found["recall"] <= 1
        assert 0 < rows[name]["setting"]["merge_threshold"] <= 0.95
    assert rows["ours"]["setting"]["threshold"] in (0.3, 0.5)
    assert rows["raw"]["setting"]["threshold"] is None
    means = {(e["name"], e["fpr"]): e["mean"] for e in report["summary"]}
    assert means["ours", 1e-2] == rows["ours"]["points"][0]["tpr"]
    table = (folder / "table.txt").read_text()
    assert table in printed and "1e-02" in table
    assert len(re.findall(r"^50%", table, re.MULTILINE)) == 5  # four rows, a verdict


def test_a_killed_study_ends_as_if_it_had_not_been(whole, tmp_path):
    process = subprocess.Popen(
        command("semi_supervised", *SMALL, f"--output_dir={tmp_path}"),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # In the middle of the second training of the lower bound.
    waited_for = tmp_path / "checkpoints/seed0/share0.5/lower/8"
    deadline = time.monotonic() + 300
    while not waited_for.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "table.txt").exists()
    succeed("semi_supervised", *SMALL, f"--output_dir={tmp_path}")
    assert rows_of(tmp_path) == rows_of(whole[0])
    assert (tmp_path / "table.txt").read_text() == (whole[0] / "table.txt").read_text()


def test_checkpoints_of_other_options_are_refused(whole, tmp_path):
    folder, _ = whole
    refuse(
        tmp_path,
        "scale is 64.0 there and 32.0 here",
        *SMALL,
        "--scale=32",
        f"--checkpoint_dir={folder}/checkpoints",
        module="semi_supervised",
    )


def test_images_of_a_folder_are_trained_on_and_bad_ones_are_named(tmp_path, rng):
    folder = tmp_path / "people"
    for person in range(12):
        (folder / f"p{person}").mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(40, 200, size=(12, 12)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"p{person}" / f"{number}.png")
    (folder / "p0" / "empty.png").touch()
    output = tmp_path / "out"
    few = ("--image_size=12", "--first_steps=2", "--second_steps=2")
    given = (f"--images={folder}", f"--output_dir={output}")
    result = succeed("semi_supervised", *SMALL, *few, *given)
    assert "1 unreadable files were skipped: p0/empty.png" in result.stderr
    images = json.loads((output / "report.json").read_text())["images"]
    assert images["images"] == 36 and images["identities"] == 12


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--shares=0.5,1", "--shares=0.5,1"),
        ("--identities=5", "in the part"),
        ("--merge_thresholds=0.5,1.2", "--merge_thresholds"),
        ("--images=no/such/folder", "no/such/folder is no folder"),
    ],
)
def test_bad_options_are_refused(tmp_path, flag, message):
    result = call("semi_supervised", *SMALL, flag, f"--output_dir={tmp_path}")
    assert result.returncode == 2, result.stderr
    (line,) = (x for x in result.stderr.splitlines() if not x.endswith(" s"))
    assert message in line
    assert not (tmp_path / "table.txt").exists()
