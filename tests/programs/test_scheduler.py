"""Jobs that a scheduler starts: for real where Open MPI and Slurm are installed."""

import getpass
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import types
from unittest import mock

import numpy as np
import pytest
from jax._src import clusters

from gfa_jax import datasets
from gfa_jax.programs import flags, processes, refine, scheduler
from tests.programs.programs import REPOSITORY, call, read_report

_OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "3",
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}
_SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "gpu[03-04,09]",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "1",
}
GFA = (sys.executable, "-m", "gfa_jax")
_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("OMPI_", "SLURM_", "KUBERNETES_", "JOB_COMPLETION")):
            monkeypatch.delenv(name)
    # Set by the code under test; absent again afterwards.
    monkeypatch.setenv("JAX_LOCAL_DEVICE_IDS", "")
    monkeypatch.delenv("JAX_LOCAL_DEVICE_IDS")


@pytest.fixture
def files(tmp_path):
    rows = datasets.synthetic_features(num_rows=60, dim=16, seed=1).features
    np.save(tmp_path / "features.npy", rows)
    return tmp_path


def command_line(files: pathlib.Path, *more: str) -> list[str]:
    given = [f"--features={files}/features.npy", f"--output_dir={files}/out"]
    return [*given, "--k=5", "--threshold=.4", "--num_steps=1", "--noplots", *more]


def set_all(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "name", "host"),
    [(_OPEN_MPI, "Open MPI", "10.96.0.1"), (_SLURM, "Slurm", "gpu03")],
)
def test_what_a_scheduler_says_is_found_and_what_is_given_wins(
    monkeypatch, variables, name, host
):
    assert scheduler.find() is None
    set_all(monkeypatch, variables)
    found = scheduler.find()
    assert found is not None
    assert found.coordinator.rpartition(":")[0] == host
    assert found == (name, found.coordinator, 3, 2, 1)
    given = scheduler.find(coordinator="a:1", process_id=0)
    assert given == (name, "a:1", 3, 0, 1)


def test_a_pod_and_a_batch_script_are_no_job(monkeypatch):
    script = ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
    set_all(monkeypatch, _POD | {name: _SLURM[name] for name in script})
    assert scheduler.find() is None


def test_an_indexed_job_is_found_by_what_kubernetes_answers(monkeypatch):
    set_all(monkeypatch, _POD | {"JOB_COMPLETION_INDEX": "2"})
    spec, client = types.SimpleNamespace, mock.MagicMock()
    monkeypatch.setitem(sys.modules, "kubernetes", client)
    job = spec(metadata=spec(name="job", labels={}), spec=spec(parallelism=3))
    for name, answer in (
        ("_controller", spec(kind="Job")),
        ("_job", job),
        ("_pod", spec(spec=spec(subdomain="pods"))),
    ):
        monkeypatch.setattr(clusters.K8sCluster, name, lambda answer=answer: answer)
    found = scheduler.find()
    assert found is not None
    assert found.coordinator.startswith("job-0.pods:")
    assert found[2:] == (3, 2, None)
    assert client.config.load_incluster_config.called


@pytest.mark.parametrize(
    ("seen", "count", "devices"),
    [(None, 1, [1]), ("0,1,2,3", 2, [2, 3]), ("3", 1, [0]), ("2,3", 2, [0, 1])],
)
def test_devices_are_shared_out_unless_the_scheduler_did(
    monkeypatch, seen, count, devices
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert scheduler.own_devices(1, count) == devices


@pytest.mark.parametrize(
    ("variables", "flag", "message"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "--k=4", "Open MPI started this process, but"),
        ({"OMPI_COMM_WORLD_RANK": "1"}, "--k=4", "Open MPI started this process, but"),
        (_OPEN_MPI | {"OMPI_COMM_WORLD_RANK": "x"}, "--k=4", "'x'"),
        (_OPEN_MPI | {"OMPI_COMM_WORLD_RANK": "3"}, "--k=4", "number 3 of 3"),
        (_SLURM | {"SLURM_LOCALID": "-1"}, "--k=4", "number -1 on its machine"),
        ({"SLURM_STEP_NODELIST": "a"}, "--k=4", "its rank are missing"),
        ({"JOB_COMPLETION_INDEX": "0"}, "--k=4", "give --num_processes, --process_id"),
        (_POD | {"JOB_COMPLETION_INDEX": "0"}, "--k=4", "Kubernetes"),
        (_SLURM, "--num_processes=4", "Slurm started 3; leave the flag out"),
        (_SLURM, "--process_id=5", "number 5 of 3"),
    ],
)
def test_what_does_not_fit_is_one_line(files, monkeypatch, variables, flag, message):
    set_all(monkeypatch, variables)
    code, stdout, stderr = call("refine", *command_line(files, flag))
    assert (code, stdout) == (2, ""), stderr
    (line,) = stderr.strip().splitlines()
    assert message in line
    assert not (files / "out").exists()


def test_flags_that_are_given_win(monkeypatch):
    set_all(monkeypatch, _SLURM)
    for given, job in (
        ((), (True, 3, 2)),
        (("--num_processes=1",), (False, 1, None)),
        (("--num_processes=2", "--process_id=0", "--coordinator=a:1"), (True, 2, 0)),
    ):
        flags.parse(refine, ["refine", *given])
        own = processes.FLAGS
        assert (processes.is_job(), own.num_processes, own.process_id) == job
    assert own.coordinator == "a:1"
    assert os.environ["JAX_LOCAL_DEVICE_IDS"] == "1"


def check_job(files: pathlib.Path, *launcher: str, **environment: str) -> None:
    done = subprocess.run(
        [*launcher, "refine", *command_line(files)],
        cwd=REPOSITORY,
        env=os.environ
        | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
        | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = read_report(files / "out")
    assert report["layout"]["processes"] == report["options"]["num_processes"] == 2
    assert len(list((files / "out" / "refined").glob("*.npy"))) == 2


def test_open_mpi_starts_a_job(files):
    if shutil.which("mpirun") is None:
        pytest.skip("no mpirun on the path: apt-get install openmpi-bin")
    root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    check_job(files, "mpirun", *root, "--oversubscribe", "-n", "2", *GFA)


_CLUSTER = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}
SlurmdSpoolDir={folder}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES
"""


@pytest.fixture
def cluster(tmp_path):
    """A cluster of this machine alone; gives the variable that names it."""
    for program in ("slurmctld", "slurmd", "srun"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on the path: apt-get install slurm-wlm")
    folder, host, ports = tmp_path / "slurm", socket.gethostname().split(".")[0], []
    folder.mkdir()
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports.append(listener.getsockname()[1])
    configuration = folder / "slurm.conf"
    user = getpass.getuser()
    configuration.write_text(
        _CLUSTER.format(host=host, ports=ports, folder=folder, user=user)
    )
    environment = {"SLURM_CONF": str(configuration)}
    with (folder / "log").open("w") as log:
        daemons = [
            subprocess.Popen(
                [*command, "-D"], env=os.environ | environment, stdout=log, stderr=log
            )
            for command in (["slurmctld"], ["slurmd", "-N", host])
        ]
        try:
            state = ""
            for _ in range(100):
                state = subprocess.run(
                    ["sinfo", "--noheader", "--format=%t"],
                    env=os.environ | environment,
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout.strip()
                if state == "idle" or any(d.poll() is not None for d in daemons):
                    break
                time.sleep(0.1)
            if state != "idle":
                pytest.skip(
                    f"Slurm does not start here: {(folder / 'log').read_text()}"
                )
            yield environment
        finally:
            for daemon in daemons:
                daemon.terminate()
                daemon.wait(timeout=20)


def test_slurm_starts_a_job(files, cluster):
    check_job(files, "srun", "--ntasks=2", *GFA, **cluster)
