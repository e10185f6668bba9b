"""`refine` over processes, as a person starts it: real processes joined by gloo."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics, sharding
from gfa_jax.programs import checkpoints, processes
from tests import oracle
from tests.programs.programs import REPOSITORY, call, command, read_report

_K, _THRESHOLD, _STEPS = 6, 0.4, 3
# So many that a signal comes in the middle of them.
_LONG = 120


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=203, dim=64, seed=1)


@pytest.fixture(scope="module")
def expected(sample):
    wide = sample.features.astype(np.float64)
    indices = oracle.exact_neighbors(wide, _K).indices
    form: dict = {"weighting": "affinity", "graph": "fixed"}
    given = (wide, indices, 0.5, _THRESHOLD)
    return oracle.aggregate(*given, num_steps=_STEPS, **form).features


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, sample):
    """The folder and the words of a job of two processes, with many steps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder, sample)
    stdout = succeed(
        *common(folder, "out"),
        f"--labels={folder}/labels.npy",
        "--num_processes=2",
        f"--num_steps={_LONG}",
    )
    return folder / "out", stdout


@pytest.fixture
def files(tmp_path, sample):
    write(tmp_path, sample)
    return tmp_path


def write(folder, sample) -> None:
    np.save(folder / "features.npy", sample.features)
    np.save(folder / "labels.npy", sample.labels)


def start(*flags: str, devices: int = 1) -> subprocess.Popen:
    return subprocess.Popen(
        command("refine", *flags),
        cwd=REPOSITORY,
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            # Little is computed here and much compiled.
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"
            " --xla_backend_optimization_level=0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        stdout, stderr = process.communicate(timeout=200)
    finally:
        process.kill()
    return process.returncode, stdout, stderr


def succeed(*flags: str, devices: int = 1) -> str:
    code, stdout, stderr = finish(start(*flags, devices=devices))
    assert code == 0, stderr
    return stdout


def read(folder) -> np.ndarray:
    return np.concatenate(datasets.open_shards(folder / "refined").arrays)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def by_hand(*flags: str, own: tuple[list[str], list[str]] = ([], [])):
    """Starts two processes as one would on two machines."""
    coordinator = f"--coordinator=127.0.0.1:{free_port()}"
    return [
        start(*flags, "--num_processes=2", coordinator, f"--process_id={p}", *own[p])
        for p in range(2)
    ]


def common(files, output: str) -> list[str]:
    return [
        f"--features={files}/features.npy",
        f"--output_dir={files}/{output}",
        f"--k={_K}",
        f"--threshold={_THRESHOLD}",
        f"--num_steps={_STEPS}",
        "--resamples=0",
        "--noplots",
    ]


def test_two_processes_refine_and_verify_as_one(undisturbed, sample):
    output, stdout = undisturbed
    assert re.search(r"203 rows over 2 devices of 2 processes.*: gather", stdout)
    assert "TPR at FPR" in stdout
    names = {path.name for path in output.iterdir()}
    assert names == {"refined", "dropped.npy", "report.json"}
    shards = datasets.open_shards(output / "refined")
    assert [part.rows for part in shards.parts] == [102, 101]
    refined = read(output)
    features = sample.features
    neighbors = gfa.exact_neighbors(features, k=_K)
    params = gfa.Params(0.5, _THRESHOLD)
    want = gfa.aggregate(features, neighbors, params, num_steps=_LONG)
    # The sums over devices run in another order, once a step, and the steps contract.
    np.testing.assert_allclose(refined, want.features, rtol=0, atol=1e-5)
    report = read_report(output)
    assert report["layout"]["processes"] == report["layout"]["devices"] == 2
    assert report["pool"]["rows"] == 203
    assert len(report["residual"]) == _LONG
    for name, features in (("before", sample.features), ("after", refined)):
        roc = metrics.all_pairs_roc(features, sample.labels).roc
        stored = report["verification"][name]
        assert stored["genuine_pairs"] == roc.num_genuine
        got = [point["tpr"] for point in stored["tpr_at_fpr"]]
        want = [point.tpr for point in metrics.tpr_at_fpr(roc)]
        # A tile's products may be rounded otherwise: one pair more or less.
        np.testing.assert_allclose(got, want, rtol=0, atol=1 / roc.num_genuine)


def test_two_processes_are_suggested_what_one_is(files):
    wide = datasets.synthetic_features(num_rows=500, dim=32, seed=1)
    np.save(files / "wide.npy", wide.features)
    asked = [f"--features={files}/wide.npy", "--noplots"]
    succeed(*asked, f"--output_dir={files}/asked", "--num_processes=2")
    succeed(*asked, f"--output_dir={files}/alone")
    asked, alone = (
        read_report(files / name)["settings"] for name in ("asked", "alone")
    )
    # All of them: means over the weights of all edges, and counts, bit for bit.
    assert asked == alone
    refined = read(files / "asked")
    want = np.load(files / "alone" / "refined.npy")
    np.testing.assert_allclose(refined, want, rtol=0, atol=1e-4)


def test_four_processes_with_an_index_each_from_a_folder_of_shards(
    files, sample, expected
):
    pytest.importorskip("faiss")
    scaled = sample.features * np.linspace(0.5, 2, 203, dtype=np.float32)[:, None]
    datasets.write_shards(files / "pool", scaled, rows_per_shard=60)
    flags = ("--num_processes=4", "--neighbors=faiss", "--exchange=ring")
    succeed(*common(files, "out"), f"--features={files}/pool", *flags)
    refined = read(files / "out")
    np.testing.assert_allclose(refined, expected, rtol=0, atol=1e-5)


def test_one_process_over_eight_devices_and_from_shards(files, sample, expected):
    datasets.write_shards(files / "pool", sample.features, rows_per_shard=70)
    pool = f"--features={files}/pool"
    same = sample.labels[:-1] == sample.labels[1:]
    pairs = np.stack([np.arange(202), np.arange(1, 203), same], axis=1)
    np.savetxt(files / "pairs.csv", pairs, fmt="%d", delimiter=",")
    flags = ("--num_devices=8", "--memory_limit=0", f"--pairs={files}/pairs.csv")
    stdout = succeed(*common(files, "many"), pool, *flags, devices=8)
    assert f"{same.sum()} genuine and {202 - same.sum()} impostor pairs" in stdout
    assert "203 rows over 8 devices of 1 processes" in stdout
    many = read(files / "many")
    np.testing.assert_allclose(many, expected, rtol=0, atol=1e-5)
    found = gfa.exact_neighbors(sample.features, k=15)
    np.save(files / "candidates.npy", np.asarray(found.indices))
    flags = (f"--candidates={files}/candidates.npy", "--num_devices=3")
    succeed(*common(files, "given"), *flags, devices=3)
    given = read(files / "given")
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)
    succeed(*common(files, "one"), pool)
    one = np.load(files / "one" / "refined.npy")
    np.testing.assert_allclose(one, expected, rtol=0, atol=1e-5)


def test_a_killed_leader_fails_the_job_and_a_rerun_goes_on_to_the_same_bits(
    files, undisturbed
):
    long = [f"--num_steps={_LONG}", "--heartbeat_timeout=6"]
    job = by_hand(*common(files, "killed"), *long)
    stages = files / "killed" / "stages"
    left = [stages / f"neighbors-0000{p}-of-00002.npz" for p in range(2)]
    while not all(path.exists() for path in left):
        assert all(process.poll() is None for process in job)
        time.sleep(0.005)
    job[0].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    code, _, stderr = finish(job[1])
    assert finish(job[0])[0] == -signal.SIGKILL
    assert time.monotonic() - killed < 20
    assert code == 2
    (line,) = stderr.splitlines()  # nothing of JAX's runtime, which ran in process 0
    assert line.startswith("refine: process 0 of 2 is gone and the job with it")
    assert {path.name for path in (files / "killed").iterdir()} == {"stages"}
    assert all(path.exists() for path in left)

    stdout = succeed(*common(files, "killed"), *long, "--num_processes=2")
    assert "stage neighbors was finished before" in stdout
    folders = (files / "killed", undisturbed[0])
    again, want = ((f / "refined" / "manifest.json").read_bytes() for f in folders)
    assert again == want
    assert not stages.exists()


_JOB = """import os, signal, sys, time
from gfa_jax.programs import cli, flags, processes
flags.adopt(processes)
def main():
    processes.launch()
    number = processes.FLAGS.process_id
    open(f"part-{number}", "w").write(str(os.getpid()))
    os.rename(f"part-{number}", f"pid-{number}")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(100)
cli.run(sys.modules[__name__])
"""


def launch_job(folder, num_processes: int) -> subprocess.Popen:
    (folder / "job.py").write_text(_JOB)
    return subprocess.Popen(
        [sys.executable, "job.py", f"--num_processes={num_processes}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_launcher_names_the_process_that_died(tmp_path):
    code, _, stderr = finish(launch_job(tmp_path, 3))
    assert code == 2
    assert "process 2 of 3 died (SIGKILL)" in stderr


def test_no_process_outlives_its_launcher(tmp_path):
    launcher = launch_job(tmp_path, 2)
    pids = [tmp_path / f"pid-{number}" for number in range(2)]
    while not all(path.exists() for path in pids):
        assert launcher.poll() is None
        time.sleep(0.01)
    launcher.kill()
    launcher.communicate(timeout=20)  # until nobody holds the pipes any more


# --- stages ---------------------------------------------------------------------------


def test_a_stage_is_used_for_the_same_job_only(tmp_path, capsys):
    finished = checkpoints.Checkpoints(tmp_path / "stages")
    calls = []

    def compute():
        calls.append(len(calls))
        return {"values": np.arange(3), "empty": np.empty((0, 2), np.float32)}

    def run(key):
        return finished.run("search", key, ("values", "empty"), compute)

    first, again = run("a"), run("a")
    assert calls == [0]
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)
    capsys.readouterr()
    run("b")
    assert calls == [0, 1]
    assert "options or versions; the stage is run again" in capsys.readouterr().err
    path = tmp_path / "stages" / "search-00000-of-00001.npz"
    path.write_bytes(path.read_bytes()[:-9])
    run("b")
    assert calls == [0, 1, 2]
    assert "the stage is run again" in capsys.readouterr().err


# --- bad input ------------------------------------------------------------------------


def refuse(message: str, *flags: str, devices: int = 1) -> None:
    if devices == 1:
        code, stdout, stderr = call("refine", *flags)
    else:
        code, stdout, stderr = finish(start(*flags, devices=devices))
    assert (code, stdout) == (2, ""), stderr
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert message in lines[0]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("--gamma=0.25", "disagree on --gamma: None in process 0, 0.25 in process 1"),
        ("--features=none.npy", "process 1: cannot read"),
    ],
)
def test_what_is_wrong_in_one_process_ends_all(files, own, message):
    for process in by_hand(*common(files, "out"), own=([], [own])):
        code, _, stderr = finish(process)
        assert code == 2
        assert message in stderr.strip().splitlines()[-1]
    assert list((files / "out").iterdir()) == []


def test_versions_and_files_must_agree(monkeypatch):
    theirs: dict = {"the version of jax": "0.10.2", "the content of --features": "ab"}
    ours = dict(theirs)
    monkeypatch.setattr(
        sharding, "gather_bytes", lambda own: [own, json.dumps(theirs).encode()]
    )
    processes.agree(ours)
    for name, value in (("the version of jax", "0.11"), ("--k", 3)):
        theirs[name] = value
        with pytest.raises(ValueError, match=f"disagree on {name}.*{value}"):
            processes.agree(ours)


def test_a_port_in_use_is_refused(files):
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        refuse(
            f"port {port} cannot be opened",
            *common(files, "out"),
            "--num_processes=2",
            f"--coordinator=127.0.0.1:{port}",
            "--process_id=0",
        )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--process_id=1"], "--process_id is given alone"),
        (["--process_id=0", "--num_processes=1"], "of at least 2"),
        (["--coordinator=a:1"], "--coordinator is given alone"),
        (["--coordinator=a:1", "--process_id=2"], "expected 0 to 1"),
        (["--coordinator=a", "--process_id=1"], "expected host:port"),
        (["--coordinator=127.0.0.1:{}", "--process_id=1"], "did not answer in 1 s"),
    ],
)
def test_bad_flags_of_the_job_are_refused(files, monkeypatch, flags, message):
    monkeypatch.setattr(processes, "START_TIMEOUT", 1)
    given = [flag.format(free_port()) for flag in flags]
    refuse(message, *common(files, "out"), "--num_processes=2", *given)


def test_bad_devices_and_rows_are_refused(files, sample):
    np.save(files / "few.npy", sample.features[:9])
    given = common(files, "out")
    refuse("9 devices asked; expected 1 to", *given, "--num_devices=9")
    many = [f"--features={files}/few.npy", "--num_devices=8"]
    message = "9 rows over 8 devices leave device 5 with zero rows"
    refuse(message, *given, *many, devices=8)


def test_bad_shards_and_rows_in_them_are_refused(files, sample):
    bad = sample.features.copy()
    bad[150, 3] = np.nan
    datasets.write_shards(files / "bad", bad, rows_per_shard=100)
    pool = [f"--features={files}/bad", "--num_devices=1"]
    refuse("1 of 203 rows hold NaN", *common(files, "out"), *pool)
    shards = datasets.open_shards(files / "bad")
    (files / "bad" / shards.parts[1].file).unlink()
    for flags in (pool, pool[:1]):
        refuse("No such file", *common(files, "out"), *flags)
    datasets.write_shards(files / "bad", sample.features, rows_per_shard=100)
    refuse("expected --dim=3", *common(files, "out"), pool[0], "--dim=3")
