"""How the tests run a program: as a user does, in a process of its own."""

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def command(module: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", f"experiments.{module}", *flags]


def run(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(module, *flags),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def succeed(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    result = run(module, *flags)
    assert result.returncode == 0, result.stderr
    return result


def refuse(files, message, *flags, module="refine"):
    """One line on stderr, exit code 2, no output, no input touched."""
    output = files / "refused"
    result = run(module, *flags, f"--output_dir={output}")
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert message in lines[0], lines[0]
    left = {path.name for path in output.iterdir()} if output.exists() else set()
    assert left == set()
