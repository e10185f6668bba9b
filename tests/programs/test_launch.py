"""`gfa launch`: a job on a local cluster of each engine; what it says of failures."""

import contextlib
import importlib
import importlib.util
import pathlib
import queue
import subprocess
import sys

import pytest

import gfa_jax
from gfa_jax.programs import launch, processes
from tests.programs.programs import call
from tests.programs.test_scheduler import GFA, check_job, files

__all__ = ["files"]  # a fixture
_JOB = launch.Job([], str(pathlib.Path.cwd()), {}, 1)


@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("ray",) * 2])
def test_a_local_cluster_runs_a_job(files, engine, package):
    pytest.importorskip(package, reason=f"pip install 'gfa_jax[{engine}]'")
    check_job(files, *GFA, "launch", f"--{engine}", "--num_processes=2", "--")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--", "refine"), "expected one of --ray and --dask"),
        (("--dask", "--ray", "--", "refine"), "expected one of --ray and --dask"),
        (("--dask",), "--command is missing"),
        (("--dask", "--", "refien"), "got 'refien' after --; expected refine"),
        (("--dask", "--", "verify"), "verify runs in one process"),
        (("--dask", "--", "refine", "--bogus=1"), "flag 'bogus'"),
        (("--dask", "--", "refine", "--num_processes=2"), "is given after --"),
        (("--ray", "--", "refine"), "--ray needs ray; pip install 'gfa_jax[ray]'"),
        (("--dask", "--", "refine"), "--dask needs distributed; pip install"),
    ],
)
def test_what_would_fail_everywhere_is_said_before(monkeypatch, given, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    # No alias of `experiments` is for clusters of machines.
    monkeypatch.setattr(importlib, "import_module", _import)
    code, stdout, stderr = call("launch", *given)
    assert (code, stdout) == (2, "")
    (line,) = stderr.splitlines()
    assert message in line


_import_module = importlib.import_module


def _import(name: str):
    return launch if name == "experiments.launch" else _import_module(name)


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX may run here
def test_a_process_says_what_it_writes_and_how_it_ends():
    given = (1, 2, "127.0.0.1:1")
    said = [x for x in launch.work(_JOB._replace(command=["--version"]), *given) if x]
    assert said == [(1, "stdout", f"{gfa_jax.__version__}\n"), (1, "ended", 0)]
    said = [x for x in launch.work(_JOB._replace(command=["none"]), *given) if x]
    assert [kind for _, kind, _ in said] == ["stderr", "ended"]
    assert said[1] == (1, "ended", 2)
    alone = _JOB._replace(command=["completion", "zsh"])
    (_, _, line), _ = filter(None, launch.work(alone, 0, 1, "127.0.0.1:1"))
    assert "flag 'num_processes'" in line  # the first and only one
    nowhere = _JOB._replace(folder="/none/at/all")
    ((_, kind, reason),) = filter(None, launch.work(nowhere, *given))
    assert kind == "ended" and "No such file or directory: '/none/at/all'" in reason


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX may run here
def test_a_process_ends_with_who_reads_it(monkeypatch):
    children, start = [], subprocess.Popen

    def popen(*given, **more):
        children.append(start(*given, **more))
        return children[0]

    monkeypatch.setattr(subprocess, "Popen", popen)
    job = _JOB._replace(command=["refine"])  # waits for process 0
    with contextlib.closing(launch.work(job, 1, 2, "127.0.0.1:1")) as lines:
        assert next(lines) is None
    assert children[0].returncode == -9


def test_a_failure_of_all_is_that_of_process_0_which_has_said_it():
    ends = "import time; time.sleep(.5); exit(2)", "exit(2)"
    children = [subprocess.Popen([sys.executable, "-c", end]) for end in ends]
    assert processes._wait(children) == 0


@pytest.mark.parametrize(
    ("ends", "code", "told"),
    [
        ([(0, 0), (1, 0)], None, "first\n"),
        ([(0, 2), (1, 2)], 2, "first\n"),  # its own words are there already
        ([(1, 2)], 2, "first\nsecond\n"),
        ([(0, 2), (1, -9)], 2, "first\nsecond\n{}: process 1 of 2 died (SIGKILL)"),
        (
            [(1, "worker a is lost")],
            2,
            "first\nsecond\n{}: process 1 of 2 died (work",
        ),
    ],
)
def test_the_first_failure_ends_all(monkeypatch, capsys, ends, code, told):
    monkeypatch.setattr(processes, "GRACE", 0.1)
    monkeypatch.setattr("sys.argv", ["launch"])
    events = queue.SimpleQueue()
    for event in (
        (0, "stdout", "result\n"),
        (1, "stdout", "not shown\n"),
        (0, "stderr", "first\n"),
        (1, "stderr", "second\n"),
        *((number, "ended", end) for number, end in ends),
    ):
        events.put(event)
    with pytest.raises(SystemExit) if code else contextlib.nullcontext() as ended:
        launch.follow(events, 2)
    assert not code or ended.value.code == code  # pyright: ignore
    stdout, stderr = capsys.readouterr()
    assert stdout == "result\n"
    assert stderr.startswith(told.format("launch"))
    assert len(stderr.splitlines()) == told.count("\n") + (not told.endswith("\n"))
