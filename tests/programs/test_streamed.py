"""`streamed` end to end: the result of `refine` from a map, resumed, or refused."""

import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from tests.programs.programs import (
    REPOSITORY,
    read_report,
    refine,
    refuse,
    run,
    succeed,
)


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=600, dim=64, seed=1).features


@pytest.fixture
def files(tmp_path, sample):
    np.save(tmp_path / "features.npy", sample)
    return tmp_path


def test_the_result_is_that_of_refine(files, sample, rng):
    flags = ["--k=8", "--threshold=0.4", "--num_steps=2", "--preset=paper"]
    given = f"--features={files}/features.npy"
    want, other = refine(files / "refine", given, *flags, "--noplots")
    result = run("streamed", given, *flags, "--noplots", f"--output_dir={files}/out")
    assert result.returncode == 0, result.stderr
    assert f"{files}/out: refined.npy, dropped.npy, report.json" in result.stdout
    got = np.load(files / "out" / "refined.npy")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    # The search is gone, and nothing else is left.
    names = {path.name for path in (files / "out").iterdir()}
    assert names == {"refined.npy", "dropped.npy", "report.json"}
    report = read_report(files / "out")
    np.testing.assert_allclose(report["residual"], other["residual"], rtol=1e-4)
    assert report["degree"] == pytest.approx(other["degree"])
    assert report["rows_without_neighbour"] == other["rows_without_neighbour"]
    assert report["settings"]["graph"] == "rescore"
    assert report.keys() == other.keys()

    # Without a threshold the pool chooses the same settings and drops the same rows.
    whole, other = refine(files / "whole", given, "--noplots")
    alone, asked = refine(files / "alone", given, "--noplots", program="streamed")
    np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-5)
    for name in ("k", "gamma", "num_steps", "half_cosine"):
        assert asked["settings"][name] == other["settings"][name]
    assert asked["dropped"] == other["dropped"]

    # What cannot be mapped goes through a file that is gone afterwards.
    np.savez_compressed(files / "packed.npz", features=sample)
    flags[0:0] = ["--noplots"]
    given = f"--features={files}/packed.npz"
    again, _ = refine(files / "packed", given, *flags, program="streamed")
    np.testing.assert_array_equal(again, got)
    names = {path.name for path in (files / "packed").iterdir()}
    assert names == {"refined.npy", "dropped.npy", "report.json"}

    # Rows of other lengths are scaled as they are read; half the bytes are written.
    scaled = sample * rng.uniform(0.1, 9, (600, 1)).astype(np.float32)
    np.savez(files / "scaled.npz", features=scaled)
    flags += [f"--features={files}/scaled.npz", "--storage=bfloat16", "--noplots"]
    half, report = refine(files / "half", *flags, program="streamed")
    half = half.view(ml_dtypes.bfloat16)
    # Two roundings to 2⁻⁹ of values below 1/2.
    np.testing.assert_allclose(half.astype(np.float32), want, rtol=0, atol=2**-8)
    assert report["pool"]["normalized"]


# Small chunks and groups of cells, each saved; with "stop" a Ctrl-C after some of them.
_DRIVER = """
import sys
from gfa_jax.programs import cli, streamed
from gfa_jax.streaming import workspace
from gfa_jax.neighbors.ivf import calibrated, cell_search, cells
calibrated.FEWEST_ROWS, calibrated.LARGEST_SHARE = 0, float(sys.argv.pop(2))
cells.CHUNK_ROWS, cell_search._GROUP_VALUES = 128, 2**13
workspace._MOST_MAPPED = 2**14
stops = sys.argv.pop(1) == "stop"
def progress(iterable, *, total, desc):
    print(desc, total)
    for number, item in enumerate(iterable):
        if stops and desc == "neighbors" and number == 3:
            raise KeyboardInterrupt
        yield item
cli.progress = progress
cli.run(streamed)
"""


def drive(files, name, word, *, share=0.5):
    flags = [f"--features={files}/{name}.npy", f"--output_dir={files}/out"]
    flags += ["--neighbors=approximate", "--edge_recall=0.9"]
    flags += ["--threshold=0.7", "--noplots"]
    return subprocess.run(
        [sys.executable, "-c", _DRIVER, word, str(share), *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_an_interrupted_search_goes_on_and_that_of_other_features_is_refused(
    files, sample
):
    pytest.importorskip("faiss")
    stopped = drive(files, "features", "stop")
    assert stopped.returncode == 130, stopped.stderr
    assert {path.name for path in (files / "out").iterdir()} == {"search", "stages"}

    other = sample.copy()
    other[5] = sample[6]
    np.save(files / "other.npy", other)
    refused = drive(files, "other", "go on")
    assert refused.returncode == 2
    assert "is of other inputs, options or versions" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1

    resumed = drive(files, "features", "go on")
    assert resumed.returncode == 0, resumed.stderr
    steps = [int(n) for n in re.findall(r"neighbors (\d+)", stopped.stdout)]
    assert f"neighbors {steps[0] - 3}\n" in resumed.stdout and steps[0] > 8
    report = read_report(files / "out")
    assert report["calibration"]["factory"].startswith("IVF")
    assert report["calibration"]["lower_bound"] >= 0.9
    names = {path.name for path in (files / "out").iterdir()}
    assert names == {"refined.npy", "dropped.npy", "report.json"}
    resumed_bytes = (files / "out" / "refined.npy").read_bytes()
    assert drive(files, "features", "go on").returncode == 0
    assert (files / "out" / "refined.npy").read_bytes() == resumed_bytes


def test_it_says_how_long_an_exact_search_takes_that_was_not_asked_for(files, sample):
    pytest.importorskip("faiss")
    result = drive(files, "features", "go on", share=0.0)
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if "exact neighbors" in line]
    assert len(said) == 1
    told = r"exact neighbors after all, about [\d,]+ s: \d+% of all products would"
    assert re.match(told, said[0])
    report = read_report(files / "out")
    assert report["calibration"]["factory"] == "Flat"
    # The pages are given back all the time, and the rows stay what they are.
    neighbors = gfa.exact_neighbors(sample, k=15)
    want = gfa.aggregate(sample, neighbors, gfa.Params(0.5, 0.7), num_steps=4)
    got = np.load(files / "out" / "refined.npy")
    np.testing.assert_allclose(got, want.features, rtol=0, atol=1e-6)


def test_clusters_of_shards_on_disk_are_those_of_memory(files, sample):
    flags = ["--noplots", "--neighbors=exact", "--num_candidates=16"]
    whole = [f"--features={files}/features.npy", *flags]
    datasets.write_shards(files / "shards", sample, rows_per_shard=250)
    parts = [f"--features={files}/shards", "--streamed", *flags]
    for method in ("persistent", "components"):
        own = [f"--method={method}"]
        succeed("cluster", *whole, *own, f"--output_dir={files}/whole")
        succeed("cluster", *parts, *own, f"--output_dir={files}/parts")
        found, want = (np.load(files / n / "labels.npy") for n in ("parts", "whole"))
        np.testing.assert_array_equal(found, want)
        assert 10 < want.max() < 500
    names = [{path.name for path in (files / n).iterdir()} for n in ("parts", "whole")]
    assert names[0] == names[1]
    # A part that is missing, and one whose bytes are others.
    path = sorted((files / "shards").glob("part-*"))[1]
    rows = np.load(path)
    np.save(path, rows[::-1])
    refuse(files, "the file is damaged", *parts, module="cluster")
    path.unlink()
    refuse(files, path.name, *parts, module="cluster")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--features is missing"),
        (["--features={}/nan.npy"], "1 of 600 rows hold NaN"),
        (["--features={}/features.npy", "--neighbors=faiss"], "--neighbors=faiss"),
        (["--features={}/features.npy", "--storage=float16"], "--storage=float16"),
    ],
)
def test_bad_input_is_refused(files, sample, flags, message):
    broken = sample.copy()
    broken[3, 4] = np.nan
    np.save(files / "nan.npy", broken)
    datasets.write_shards(files, sample, rows_per_shard=300)
    refuse(files, message, *(f.format(files) for f in flags), module="streamed")
