"""All files of a run are of one generation, and a mix of two is told."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.programs import pipeline
from tests.programs.programs import call, read_report, refuse, succeed

FLAGS = ("--noplots", "--resamples=0")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Features, and what `refine` makes of them twice."""
    folder = tmp_path_factory.mktemp("generation")
    sample = datasets.synthetic_features(num_rows=300, dim=16, seed=2)
    np.save(folder / "x.npy", sample.features)
    for name, more in (("first", "--k=4"), ("second", "--k=6")):
        given = f"--features={folder}/x.npy", f"--output_dir={folder}/{name}"
        succeed("refine", *given, *FLAGS, more)
    return folder


def test_a_report_names_program_inputs_and_outputs(made):
    report = read_report(made / "first")
    assert report["program"] == "refine" and report["options"]["k"] == 4
    assert report["inputs"]["features"]["path"] == f"{made}/x.npy"
    sums = subprocess.run(
        ["sha256sum", *report["outputs"]], cwd=made / "first", capture_output=True
    ).stdout.decode()
    assert [line.split()[0] for line in sums.splitlines()] == [
        stored["sha256"] for stored in report["outputs"].values()
    ]
    left = {path.name for path in (made / "first").iterdir()} - {"report.json"}
    assert {*report["outputs"]} == left


def test_a_report_is_run_again(made, tmp_path):
    given = f"--config={made}/first/report.json", f"--output_dir={tmp_path}/again"
    succeed("refine", *given)
    again = read_report(tmp_path / "again")
    assert again["outputs"] == read_report(made / "first")["outputs"]
    # What the command line says wins.
    succeed("refine", *given, "--k=6")
    assert (
        read_report(tmp_path / "again")["outputs"]["refined.npy"]
        == (read_report(made / "second")["outputs"]["refined.npy"])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"program": "tune"}, "is of tune, not of refine; run tune with it"),
        ({"options": {"nmu_steps": 3}}, "'nmu_steps'; did you mean num_steps?"),
        ({"options": {"k": 0}}, "--k=0"),
        ({"options": 3}, "expected report.json of a run"),
        ({"outputs": 3, "options": {"merge_threshold": 1}}, "no option 'merge_thresh"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(made, tmp_path, change, message):
    report = read_report(made / "first") | change
    (tmp_path / "run.json").write_text(json.dumps(report))
    refuse(tmp_path, message, f"--config={tmp_path}/run.json")


@pytest.mark.parametrize("text", ["", "[" * 9999, "3", "\0"])
def test_a_config_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    refuse(tmp_path, "expected report.json of a run", f"--config={tmp_path}/run.json")


def test_a_report_of_another_version_is_told(made, tmp_path):
    report = read_report(made / "first")
    report["environment"]["gfa_jax"] = "0.0.1"
    (tmp_path / "run.json").write_text(json.dumps(report))
    given = f"--config={tmp_path}/run.json", f"--output_dir={tmp_path}/out"
    assert "is of gfa_jax 0.0.1, this is" in succeed("refine", *given).stderr


def warnings(*given: str) -> list[str]:
    said = succeed("refine", *given, *FLAGS).stderr.splitlines()
    return [line for line in said if line.startswith("warning")]


def test_a_folder_of_two_runs_is_told(made, tmp_path):
    output, other = tmp_path / "out", (made / "second/refined.npy").read_bytes()
    given = f"--features={made}/x.npy", f"--output_dir={output}"
    assert warnings(*given) == []
    said = f"warning: the results in --output_dir={output} will be replaced"
    assert warnings(*given) == [said]
    # Killed between two files that appear.
    (output / "refined.npy").write_bytes(other)
    mixed = f"{said}; refined.npy is not of the run of its report"
    assert warnings(*given) == [mixed]
    (output / "refined.npy").write_bytes(other)
    (told,) = warnings(f"--features={output}/refined.npy", f"--output_dir={tmp_path}/b")
    assert "is not the file of the report.json beside it" in told


def test_what_dead_runs_left_is_removed_and_nothing_else(made, tmp_path):
    output = tmp_path / "out"
    (output / ".gfa_jax-dead").mkdir(parents=True)
    (output / ".gfa_jax-dead" / "refined.npy").write_bytes(b"rows")
    (output / ".gfa_jax-file").write_bytes(b"of another writer")
    succeed("refine", f"--features={made}/x.npy", f"--output_dir={output}", *FLAGS)
    hidden = [path.name for path in output.glob(".*")]
    assert hidden == [".gfa_jax-file"]


def test_two_runs_in_one_folder_are_refused(made, tmp_path):
    output = tmp_path / "refused"
    output.mkdir()
    holding = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holding, str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    refuse(tmp_path, "another run is writing to", f"--features={made}/x.npy", *FLAGS)
    other.communicate(b"")
    succeed("refine", f"--features={made}/x.npy", f"--output_dir={output}", *FLAGS)


@pytest.mark.parametrize("name", ["refined.npy", "report.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "read-only"])
def test_only_a_plain_writable_file_is_replaced(
    made, tmp_path, monkeypatch, kind, name
):
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "read-only": pathlib.Path.touch}
    make[kind](tmp_path / name)
    if kind == "read-only":  # not to root, as which tests may run
        monkeypatch.setattr(os, "access", lambda *given: False)
    given = f"--features={made}/x.npy", f"--output_dir={tmp_path}", *FLAGS
    result = call("refine", *given)
    assert result.returncode == 2 and result.stdout == ""
    assert f"{name} is " in result.stderr and kind in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_input_that_changes_while_it_is_read_is_refused(made, tmp_path, monkeypatch):
    source = tmp_path / "x.npy"
    source.write_bytes((made / "x.npy").read_bytes())
    report = pipeline.Run.report

    def change(*given):
        os.utime(source, (1, 1))
        return report(*given)

    monkeypatch.setattr(pipeline.Run, "report", change)
    message = "changed while it was read; nothing was written, run it again"
    refuse(tmp_path, message, f"--features={source}", *FLAGS)
