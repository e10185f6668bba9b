"""What every program does alike."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.programs import refine
from tests.programs.programs import REPOSITORY, call

_PROGRAM = """
import signal, sys, time
from gfa_jax.programs import cli, flags

class Finalized:
    def __del__(self):
        {in_callback}

def main():
    Finalized()
    {afterwards}

signal.signal(signal.SIGINT, signal.default_int_handler)
flags.DEFINE_bool("flag", True, "None.")
cli.run(sys.modules[__name__])
"""


def run(**code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(**code)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_interrupt_in_a_callback_is_not_lost():
    # A finalizer cannot raise: Python prints what it raised, and goes on.
    result = run(
        in_callback="signal.raise_signal(signal.SIGINT)", afterwards="time.sleep(50)"
    )
    assert result.returncode == 130
    assert result.stderr == "interrupted; nothing was written\n"


def test_another_error_in_a_callback_is_told_as_ever():
    result = run(in_callback="raise RuntimeError('lost')", afterwards="pass")
    assert result.returncode == 0
    assert "RuntimeError: lost" in result.stderr


@pytest.mark.parametrize("error", [ValueError, OSError, ImportError])
def test_bad_input_is_one_line_and_code_2(monkeypatch, error):
    def fail():
        raise error("got this\nand that")

    monkeypatch.setattr(refine, "main", fail)
    assert call("refine") == (2, "", "refine: got this and that\n")


def test_an_interrupt_while_jax_is_imported_ends_it_without_a_traceback(tmp_path):
    process = subprocess.Popen(
        # Whoever runs the tests may ignore the signal, which children inherit.
        [
            *("env", "--default-signal=INT", sys.executable, "-m", "gfa_jax"),
            *("refine", f"--output_dir={tmp_path}/out"),
        ],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    # NumPy is loaded, and JAX, which needs it, not yet.
    while "_multiarray_umath" not in maps.read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert not (tmp_path / "out").exists()


def test_closed_streams_and_no_home_change_no_result(tmp_path):
    features = datasets.synthetic_features(num_rows=300, dim=32, seed=1).features
    np.save(tmp_path / "x.npy", features)
    program = [sys.executable, "-m", "gfa_jax", "refine", "--noplots"]
    program.append(f"--features={tmp_path}/x.npy")
    homeless = {n: v for n, v in os.environ.items() if n != "HOME"}
    results = []
    for name, closing in (("open", ""), ("closed", ">&- 2>&-")):
        output = f"--output_dir={tmp_path}/{name}"
        subprocess.run(
            ["bash", "-c", f'"$@" {closing}', "bash", *program, output],
            cwd=REPOSITORY,
            env=homeless,
            check=True,
            timeout=120,
        )
        results.append((tmp_path / name / "refined.npy").read_bytes())
    assert results[0] == results[1]


def test_help_may_be_read_in_part():
    command = f"{sys.executable} -m gfa_jax refine --help | head -1"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Refines")
