"""How the tests run a program: in this process, or as a user does in one of its own."""

import contextlib
import importlib
import io
import json
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import numpy as np

from gfa_jax.programs import cli

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class Finished(NamedTuple):
    """What a program said, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def command(module: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", f"experiments.{module}", *flags]


def run(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        command(module, *flags),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def call(module: str, *flags: str) -> Finished:
    """Runs a program in this process, in float32 as it runs in one of its own."""
    program = find_program(module)
    said, told, code = io.StringIO(), io.StringIO(), 0
    hook = sys.unraisablehook
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(told),
            jax.enable_x64(False),
        ):
            cli.run(program, [module, *flags])
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.unraisablehook = hook
    assert isinstance(code, int)
    return Finished(code, said.getvalue(), told.getvalue())


def succeed(module: str, *flags: str) -> Finished:
    result = call(module, *flags)
    assert result.returncode == 0, result.stderr
    return result


def write_pool(folder: pathlib.Path, sample: Any) -> tuple[str, str]:
    """Writes features and labels; gives the two flags that name them."""
    np.save(folder / "features.npy", sample.features)
    np.save(folder / "labels.npy", sample.labels)
    return f"--features={folder}/features.npy", f"--labels={folder}/labels.npy"


def read_report(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def refine(folder: pathlib.Path, *flags: str, program: str = "refine"):
    """Runs a program that refines into a folder: the rows and the report there."""
    succeed(program, *flags, f"--output_dir={folder}")
    return np.load(folder / "refined.npy"), read_report(folder)


def refuse(files, message, *flags, module="refine"):
    """One line on stderr, exit code 2, no output, no input touched."""
    output = files / "refused"
    result = call(module, *flags, f"--output_dir={output}")
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert message in lines[0], lines[0]
    left = {path.name for path in output.iterdir()} if output.exists() else set()
    assert left == set()


def find_program(module: str):
    """Finds what `python -m experiments.<module>` runs."""
    alias = importlib.import_module(f"experiments.{module}")
    name = module.rpartition(".")[2]
    if hasattr(alias, name):  # a two-line alias
        return getattr(alias, name)
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.import_module(f"experiments.{module}.__main__")
    return alias
