"""What every program does alike."""

import contextlib
import importlib
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gfa_jax
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, main, refine
from tests.programs.programs import REPOSITORY, Finished, call

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


def gfa(*words: str) -> Finished:
    """What the command `gfa` says, in this process."""
    said, told, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(told),
    ):
        patch.setattr(sys, "argv", ["gfa", *words])
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        try:
            main.main()
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            code = ended.code
    return Finished(code, said.getvalue(), told.getvalue())


@pytest.mark.parametrize("words", [(), ("--help",), ("help",)])
def test_gfa_alone_says_what_there_is(words):
    result = gfa(*words)
    assert (result.returncode, result.stderr) == (0, "")
    assert all(f"\n  gfa {name} " in result.stdout for name in main.PROGRAMS)


def test_gfa_says_its_version_and_what_was_meant():
    assert gfa("--version").stdout == f"{gfa_jax.__version__}\n"
    result = gfa("refien", "--k=3")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("gfa: got 'refien'; expected one of refine, ")
    assert result.stderr.endswith("; did you mean refine?\n")


@pytest.mark.parametrize("name", main.PROGRAMS)
def test_help_is_one_screen_and_all_of_it_by_group(name):
    short, whole = gfa(name, "--help"), gfa(name, "--help=all")
    lines = short.stdout.splitlines()
    assert short.returncode == whole.returncode == 0
    assert len(lines) <= 24 and max(map(len, lines)) < 80
    program = importlib.import_module(f"gfa_jax.programs.{name}")
    for flag in flags.completions(program):
        assert re.search(rf"--(\[no\])?{flag.name}\b", whole.stdout)
    assert f"{name} --" in short.stdout or hasattr(program, "POSITIONAL")


def test_an_interrupt_in_a_callback_is_not_lost():
    # A finalizer cannot raise: Python prints what it raised, and goes on.
    result = run(
        in_callback="signal.raise_signal(signal.SIGINT)", afterwards="time.sleep(50)"
    )
    assert result.returncode == 130
    assert result.stderr == "interrupted; nothing was written\n"


def test_a_mapped_file_that_is_cut_short_ends_it_in_one_line(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(bytes(1 << 20))
    reading = (
        f"import numpy as np, os; rows = np.memmap({str(path)!r}); "
        f"os.truncate({str(path)!r}, 1); rows.copy()"
    )
    result = run(in_callback="pass", afterwards=reading)
    assert result.returncode == 2 and result.stdout == ""
    message = f": {path} was cut short while it was read; nothing was written"
    assert result.stderr.strip().endswith(message)
    assert len(result.stderr.strip().splitlines()) == 1


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


def test_closed_or_full_streams_and_no_home_change_no_result(tmp_path):
    features = datasets.synthetic_features(num_rows=300, dim=32, seed=1).features
    np.save(tmp_path / "x.npy", features)
    program = [sys.executable, "-m", "gfa_jax", "refine", "--noplots"]
    program.append(f"--features={tmp_path}/x.npy")
    homeless = {n: v for n, v in os.environ.items() if n != "HOME"}
    results = []
    for name, closing in (
        *(("open", ""), ("closed", ">&- 2>&-")),
        ("full", ">/dev/full 2>/dev/full"),
    ):
        output = f"--output_dir={tmp_path}/{name}"
        subprocess.run(
            ["bash", "-c", f'"$@" {closing}', "bash", *program, output],
            cwd=REPOSITORY,
            env=homeless,
            check=True,
            timeout=120,
        )
        results.append((tmp_path / name / "refined.npy").read_bytes())
    assert results[0] == results[1] == results[2]


def test_a_device_that_is_not_there_is_one_line(tmp_path):
    # Windows has no such modules: the program starts without them.
    code = (
        "import sys; sys.modules |= dict(fcntl=None, resource=None); "
        "from gfa_jax.programs import cli, refine; cli.run(refine)"
    )
    result = subprocess.run(
        [sys.executable, "-Wignore", "-c", code, f"--output_dir={tmp_path / 'out'}"],
        env=os.environ | {"JAX_PLATFORMS": "cuda"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "finds no device for JAX_PLATFORMS=cuda" in line


def test_too_low_a_limit_of_memory_is_told_before_anything_aborts():
    program = f"ulimit -v 1000000; {sys.executable} -m gfa_jax --version"
    result = subprocess.run(
        ["bash", "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("gfa: memory is limited to 1.0 GB of addresses; ")
    assert len(result.stderr.splitlines()) == 1


def test_memory_that_is_lacking_is_one_line(monkeypatch, tmp_path):
    def lacking(*_):
        raise MemoryError

    monkeypatch.setattr(refine, "main", lacking)
    result = call("refine", f"--output_dir={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith("refine: out of memory")


def test_what_a_terminal_cannot_show_is_escaped():
    shown = io.TextIOWrapper(io.BytesIO(), "ascii")
    print("Änne", file=cli._Stream(shown), flush=True)
    assert shown.buffer.getvalue() == b"\\xc4nne\n"


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


# --- what a shell completes -----------------------------------------------------------


@pytest.fixture(scope="module")
def completion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    (folder / "a file.npy").touch()
    (folder / "gfa.bash").write_text(gfa("completion", "bash").stdout)
    return folder


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], ["refine"]),
        (["refine", "--pre"], ["--preset="]),
        (["refine", "--preset", "=", ""], ["default", "paper"]),
        (["refine", "--preset", "=", "p"], ["paper"]),
        (["refine", "--preset", "="], ["default", "paper"]),
        (["refine", "--features", "=", "a"], ["a file.npy"]),
        (["refine", "--nostr"], ["--nostreamed"]),
        (["refine", "--k", "=", ""], []),
        (["tune", "--faiss"], []),
        (["completion", ""], ["bash", "zsh"]),
    ],
)
def test_bash_completes(completion, words, expected):
    script = (
        'source gfa.bash; COMP_WORDS=(gfa "$@"); COMP_CWORD=$#; _gfa; '
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    result = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        cwd=completion,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == (expected or [""])


def test_zsh_is_given_what_it_can_read(completion):
    (completion / "_gfa").write_text(gfa("completion", "zsh").stdout)
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    subprocess.run(["zsh", "-n", "_gfa"], cwd=completion, check=True)
