"""Approximate search over real processes: one result, and it survives kills."""

import re
import subprocess
import sys

import numpy as np
import pytest

from gfa_jax import datasets
from tests.programs.programs import REPOSITORY, read_report

pytest.importorskip("faiss")

# Small cells and chunks; the process that would save a named file is killed instead.
_DRIVER = """
import os, sys
from gfa_jax.datasets import resumable
from gfa_jax.neighbors.ivf import calibrated, cell_search, cells
from gfa_jax.programs import cli, refine
calibrated.FEWEST_ROWS, calibrated.LARGEST_SHARE = 0, 0.5
cells.CHUNK_ROWS, cell_search._GROUP_VALUES = 128, 2**13
victim, save = sys.argv.pop(1), resumable.Store.save
def mortal(self, name, arrays):
    if name == victim:
        os.kill(os.getpid(), 9)
    save(self, name, arrays)
resumable.Store.save = mortal
cli.run(refine)
"""


def drive(files, output, *given, victim="none"):
    flags = [f"--features={files}/features.npy", f"--output_dir={files}/{output}"]
    flags += ["--neighbors=approximate", "--edge_recall=0.9", "--threshold=0.7"]
    return subprocess.run(
        [sys.executable, "-c", _DRIVER, victim, *flags, "--noplots", *given],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    pool = datasets.synthetic_features(num_rows=700, dim=32, seed=3)
    np.save(folder / "features.npy", pool.features)
    alone = drive(folder, "alone", "--streamed")
    assert alone.returncode == 0, alone.stderr
    assert read_report(folder / "alone")["calibration"]["factory"].startswith("IVF")
    return folder


def test_workers_are_killed_and_the_rest_is_done_by_as_many_or_fewer(files):
    for victim in ("cells-1", "offers-3-2"):
        shared = ["--streamed", "--num_processes=2"]
        killed = drive(files, "shared", *shared, victim=victim)
        assert killed.returncode == 2, killed.stderr
        said = [line for line in killed.stderr.splitlines() if "process" in line]
        assert re.search(r"process [01] of 2 (died|is gone)", said[-1])
        assert not (files / "shared" / "refined.npy").exists()
        kept = list((files / "shared" / "search").glob(f"{victim}.npz"))
        assert not kept
    # Process 1 has saved what comes before, whatever process 0 has.
    assert (files / "shared" / "search" / "neighbors-1.npz").exists()
    resumed = drive(files, "shared", "--streamed")
    assert resumed.returncode == 0, resumed.stderr
    whole, resumed = (files / name / "refined.npy" for name in ("alone", "shared"))
    assert whole.read_bytes() == resumed.read_bytes()
    reports = [read_report(files / name) for name in ("alone", "shared")]
    assert reports[0]["calibration"] == reports[1]["calibration"]


def test_rows_on_devices_have_the_same_neighbors(files):
    done = drive(files, "devices", "--num_processes=2")
    assert done.returncode == 0, done.stderr
    found = read_report(files / "devices")["calibration"]
    assert found == read_report(files / "alone")["calibration"]
    refined = np.concatenate(datasets.open_shards(files / "devices/refined").arrays)
    alone = np.load(files / "alone" / "refined.npy")
    np.testing.assert_allclose(refined, alone, rtol=0, atol=1e-6)
