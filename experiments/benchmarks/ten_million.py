"""Refines and clusters a generated pool from disk by several processes, and kills some.

    python -m experiments.benchmarks.ten_million --num_rows=10000000

Rows are float16, groups of 20 whose cosines are about .8, in random order. `gfa cluster
--streamed` is started as --num_processes processes. With --kills process 1 is killed
(SIGKILL) while the settings are chosen, and process 0 during the second update; the
others end, and the same command is started again. With --compare an undisturbed run of
one process must write the same bytes. Measured are the seconds of the stages, the most
memory of all processes together (resident, where what they share counts in each, and in
proportion), and the bytes that they read and wrote, beside the features read once and
refined rows and labels written once.
"""

import hashlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np

from gfa_jax.programs import cli, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("num_rows", 20_000, "Rows N.", lower_bound=100)
flags.DEFINE_integer("dim", 64, "Columns D.", lower_bound=2)
flags.DEFINE_integer("num_candidates", 16, "Candidates a row.", lower_bound=2)
flags.DEFINE_integer("num_processes", 2, "Processes.", lower_bound=1)
flags.DEFINE_string("search", "approximate", "As --neighbors of `gfa cluster`.")
flags.DEFINE_bool("kills", True, "Kill a worker and the leader on the way.")
flags.DEFINE_bool("compare", False, "Compare with one undisturbed process.")
flags.DEFINE_string("output_dir", "outputs/ten_million", "Folder of rows and results.")

_GROUP, _NOISE, _BLOCK = 20, 0.5, 2**18
_POLL_SECONDS, _PROPORTION_POLLS = 0.2, 10
# What is there when a process is killed, and which process it is.
_KILLS = (("cosines-k-*.npy", 1), ("updates-1-degree-*.npy", 0))
_RESULTS = ("labels.npy", "confidence.npy", "dropped.npy")


def main() -> None:
    """Generates the pool, runs, kills, resumes, compares and says what it took."""
    folder = pathlib.Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    _generate(folder)
    kills = list(_KILLS) if FLAGS.kills and FLAGS.num_processes > 1 else []
    measured = _run(folder, "out", FLAGS.num_processes, kills)
    values = FLAGS.num_rows * FLAGS.dim
    floor = {"read": 2 * values, "written": 4 * values + 9 * FLAGS.num_rows}
    measured |= {"rows": FLAGS.num_rows, "dim": FLAGS.dim, "floor_bytes": floor}
    measured["hashes"] = _hashes(folder / "out")
    if FLAGS.compare:
        _run(folder, "alone", 1, [])
        measured["same"] = _hashes(folder / "alone") == measured["hashes"]
    text = json.dumps(measured, indent=2)
    (folder / "measured.json").write_text(text + "\n")
    print(text)
    if not measured.get("same", True):
        raise ValueError("the results differ from those of one undisturbed process")


def _generate(folder: pathlib.Path) -> None:
    """Writes features.npy and labels.npy, where they are not there yet."""
    num_rows, dim = FLAGS.num_rows, FLAGS.dim
    shape = num_rows, dim
    if (folder / "labels.npy").exists() and shape == np.load(
        folder / "features.npy", mmap_mode="r"
    ).shape:
        return
    rng = np.random.default_rng(0)
    labels = rng.permutation(num_rows) // _GROUP
    centers = rng.standard_normal((labels.max() + 1, dim), np.float32)
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    rows = np.lib.format.open_memmap(
        folder / "features.npy", "w+", np.float16, (num_rows, dim)
    )
    for start in range(0, num_rows, _BLOCK):
        own = labels[start : start + _BLOCK]
        noise = rng.standard_normal((len(own), dim), np.float32)
        block = centers[own] + noise * np.float32(_NOISE / np.sqrt(dim))
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        rows[start : start + len(own)] = block
    np.save(folder / "labels.npy", labels)


def _run(folder: pathlib.Path, name: str, count: int, kills: list) -> dict:
    """Runs the command until it ends well; kills what is asked; measures all of it."""
    begin, peak, proportional, ended, runs = time.monotonic(), 0, 0, [], 0
    polls = 0
    stages = folder / name / "stages"
    seen: dict[str, float] = {}
    while True:
        runs += 1
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "gfa_jax",
            "cluster",
            "--streamed",
            "--noplots",
        ]
        command += [
            f"--features={folder}/features.npy",
            f"--output_dir={folder}/{name}",
        ]
        command += [f"--labels={folder}/labels.npy", f"--neighbors={FLAGS.search}"]
        command += [f"--num_candidates={FLAGS.num_candidates}"]
        job = [f"--num_processes={count}", f"--coordinator=127.0.0.1:{port}"]
        processes = [
            subprocess.Popen(
                command + ([*job, f"--process_id={number}"] if count > 1 else [])
            )
            for number in range(count)
        ]
        usage: dict[int, tuple[int, int]] = {}
        while any(process.poll() is None for process in processes):
            pids = [process.pid for process in processes]
            peak = max(peak, sum(_memory(pid, "status", "VmRSS") for pid in pids))
            if polls % _PROPORTION_POLLS == 0:  # which takes the system some work
                proportion = [_memory(pid, "smaps_rollup", "Pss") for pid in pids]
                proportional = max(proportional, sum(proportion))
            polls += 1
            usage |= {pid: found for pid in pids if (found := _usage(pid))}
            for path in stages.glob("*.npy"):
                seen.setdefault(path.name.rsplit("-", 1)[0], time.monotonic() - begin)
            if kills and list(stages.glob(kills[0][0])):
                processes[kills.pop(0)[1]].send_signal(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        ended += usage.values()
        codes = [process.returncode for process in processes]
        if not any(codes):
            break
        if -signal.SIGKILL not in codes:
            raise ValueError(f"the processes ended with {codes}; see what they said")
    report = json.loads((folder / name / "report.json").read_text())
    return {
        "processes": count,
        "runs": runs,
        "seconds": time.monotonic() - begin,
        "seconds_of_the_last_run": report["seconds"],
        "files_after_seconds": dict(sorted(seen.items(), key=lambda item: item[1])),
        "peak_resident_bytes": peak,
        "peak_proportional_bytes": proportional,
        "bytes": {
            "read": sum(read for read, _ in ended),
            "written": sum(written for _, written in ended),
        },
        "calibration": report["calibration"],
        "scores": report["scores"],
    }


def _memory(pid: int, file: str, name: str) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return 1024 * sum(found)


def _usage(pid: int) -> tuple[int, int] | None:
    """Bytes read and written by calls and, of maps, from the disk."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return None
    found = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return max(found["rchar"], found["read_bytes"]), found["wchar"]


def _hashes(folder: pathlib.Path) -> dict[str, str]:
    hashes = {}
    for name in _RESULTS:
        with (folder / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
