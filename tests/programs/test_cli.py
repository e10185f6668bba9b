"""What every program does alike."""

import pathlib
import subprocess
import sys

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

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
        cwd=_REPOSITORY,
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


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError"])
def test_bad_input_is_one_line_and_code_2(error):
    result = run(in_callback="pass", afterwards=f"raise {error}('got this\\nand that')")
    assert result.returncode == 2
    assert result.stderr == "-c: got this and that\n"
