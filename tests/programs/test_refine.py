"""`refine` end to end, as a person runs it: files in, files out, bad input refused."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from tests import oracle
from tests.programs.programs import (
    REPOSITORY,
    call,
    command,
    read_report,
    refine,
    refuse,
    run,
    succeed,
)


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=600, dim=64, seed=1)


@pytest.fixture
def files(tmp_path, sample):
    """A folder with the sample as a person might have it."""
    np.save(tmp_path / "features.npy", sample.features)
    np.save(tmp_path / "labels.npy", sample.labels)
    return tmp_path


def test_without_flags_it_refines_a_generated_sample(tmp_path):
    result = run("refine", f"--output_dir={tmp_path}", "--resamples=5")
    assert result.returncode == 0, result.stderr
    starts = (
        "pool: 8,000 rows of 256",
        "neighbors: exact",
        "settings: K = ",
        "edges: ",
    )
    for line in (*starts, "rows dropped: ", "TPR at FPR"):
        assert f"\n{line}" in f"\n{result.stdout}"
    said = f"{tmp_path}: refined.npy, dropped.npy, summary.png, report.json"
    assert result.stdout.splitlines()[-1] == said
    told = said.partition(": ")[2].split(", ")
    assert {path.name for path in tmp_path.iterdir()} == {*told}
    assert (tmp_path / "summary.png").read_bytes().startswith(b"\x89PNG")
    report = read_report(tmp_path)
    refined = np.load(tmp_path / "refined.npy")
    assert list(refined.shape) == [report["pool"]["rows"], report["pool"]["dimensions"]]
    assert report["settings"]["half_cosine"] > 0
    stages = "load neighbors settings updates evaluation files"
    assert list(report["seconds"]) == stages.split()
    assert report["peak_memory"]["resident_bytes"] > refined.nbytes
    before, after = (
        {p["fpr_target"]: p for p in report["verification"][name]["tpr_at_fpr"]}
        for name in ("before", "after")
    )
    assert 0.6 <= before[1e-4]["tpr"] <= 0.8
    assert all(after[fpr]["tpr"] > before[fpr]["tpr"] for fpr in (1e-6, 1e-5, 1e-3))
    # The sample has junk.
    assert report["dropped"] == np.load(tmp_path / "dropped.npy").sum() > 0
    low, high = after[1e-3]["interval"]
    assert 0 < low < high < 1


@pytest.mark.parametrize(
    ("preset", "search"),
    list(itertools.product(["default", "paper"], ["exact", "faiss"])),
)
def test_refined_features_and_figures_are_those_of_the_oracle(
    files, sample, preset, search
):
    if search == "faiss":
        pytest.importorskip("faiss")
    refined, report = refine(
        files / "out",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--preset={preset}",
        f"--neighbors={search}",
        "--k=8",
        "--threshold=0.4",
        "--gamma=0.7",
        "--num_steps=3",
        "--noplots",
        "--resamples=0",
    )
    wide = sample.features.astype(np.float64)
    indices = oracle.exact_neighbors(wide, 8).indices
    form: dict[str, Any] = {
        "default": {"weighting": "affinity", "graph": "fixed"},
        "paper": {"weighting": "uniform", "graph": "rescore"},
    }[preset]
    expected = oracle.aggregate(wide, indices, 0.7, 0.4, num_steps=3, **form)
    # float32 against float64, three steps: a few 2⁻²⁴ of unit rows.
    np.testing.assert_allclose(refined, expected.features, rtol=0, atol=1e-5)
    assert not list((files / "out").glob("*.png"))
    first, second = np.triu_indices(len(wide), 1)
    for name, features in (("before", sample.features), ("after", refined)):
        scores = np.einsum("md,md->m", features[first], features[second])
        roc = metrics.roc_curve(scores, sample.labels[first] == sample.labels[second])
        stored = report["verification"][name]
        assert stored["genuine_pairs"] == roc.num_genuine
        tprs = [p["tpr"] for p in stored["tpr_at_fpr"]]
        # One pair more or less where two scores tie in float32.
        want = [p.tpr for p in metrics.tpr_at_fpr(roc)]
        np.testing.assert_allclose(tprs, want, rtol=0, atol=2 / roc.num_genuine)


def test_every_feature_format_gives_the_same_result(files, sample):
    sample.features.tofile(files / "raw.bin")
    datasets.write_features(files / "lfr.bin", sample.features)
    np.savez(files / "both.npz", features=sample.features, labels=sample.labels)
    (files / "labels.txt").write_text("\n".join(f"id{n}" for n in sample.labels))
    results = []
    for number, flags in enumerate(
        (
            ["--features={}/features.npy", "--labels={}/labels.npy"],
            ["--features={}/raw.bin", "--dim=64", "--labels={}/labels.txt"],
            ["--features={}/lfr.bin", "--labels={}/both.npz"],
            ["--features={}/both.npz", "--labels={}/both.npz"],
        )
    ):
        flags = [flag.format(files) for flag in (*flags, "--noplots", "--resamples=0")]
        refined, report = refine(files / f"out{number}", *flags)
        results.append((refined.tobytes(), report["verification"]["after"]))
    assert all(result == results[0] for result in results)


def test_rows_of_any_length_are_scaled_and_the_input_is_untouched(files, sample, rng):
    scaled = sample.features * rng.uniform(0.1, 9, (600, 1)).astype(np.float32)
    np.save(files / "scaled.npy", scaled)
    before = (files / "scaled.npy").read_bytes()
    outputs = []
    for name in ("features", "scaled"):
        rows, report = refine(files / name, f"--features={files}/{name}.npy")
        outputs.append(rows)
        assert report["pool"]["normalized"] == (name == "scaled")
        assert report["verification"] == {}
    np.testing.assert_allclose(*outputs, rtol=0, atol=1e-5)
    assert (files / "scaled.npy").read_bytes() == before


def test_listed_pairs_and_candidates_are_used(files, sample, rng):
    first, step = rng.integers(600, size=4000), rng.integers(1, 600, size=4000)
    second = (first + step) % 600
    same = sample.labels[first] == sample.labels[second]
    lines = [f"{i},{j}" for i, j in zip(first, second, strict=True)]
    (files / "pairs.csv").write_text("i,j\n" + "\n".join(lines) + "\n")
    candidates = gfa.exact_neighbors(sample.features, k=9, include_self=False)
    np.save(files / "candidates.npy", np.asarray(candidates.indices))
    common = [
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--pairs={files}/pairs.csv",
        "--noplots",
        "--k=10",
        "--resamples=10",
        "--fprs=1e-2,1e-1",
        "--threshold=0.4",
    ]
    searched, _ = refine(files / "searched", *common)
    listed = f"--candidates={files}/candidates.npy"
    given, report = refine(files / "given", *common, listed)
    np.testing.assert_array_equal(searched, given)
    stored = report["verification"]["after"]
    scores = np.einsum("md,md->m", given[first], given[second])
    points = metrics.tpr_at_fpr(metrics.roc_curve(scores, same), (1e-2, 1e-1))
    assert stored["genuine_pairs"] == same.sum()
    for entry, point in zip(stored["tpr_at_fpr"], points, strict=True):
        assert entry["tpr"] == pytest.approx(point.tpr, abs=2 / same.sum())
        assert entry["interval"][0] <= entry["interval"][1]


def test_candidates_that_lost_most_edges_are_refused_and_some_are_warned_of(
    files, sample, rng
):
    given = f"--features={files}/features.npy", "--noplots", "--threshold=0.4"
    exact = gfa.exact_neighbors(sample.features, k=30)
    good = np.asarray(exact.indices)
    for name, kept, expected in (
        ("all", 600, 1.0),
        ("some", 550, 0.92),
        ("few", 80, 0),
    ):
        # Of the other rows it holds what belongs to any other, as after a broken build.
        indices, lost = good.copy(), rng.permutation(600)[kept:]
        indices[lost, 1:] = good[rng.permutation(600)[: len(lost)], 1:]
        distances = 1 - np.einsum(
            "nd,nkd->nk", sample.features, sample.features[indices]
        )
        path = files / f"{name}.npz"
        np.savez(path, data=np.stack([indices, distances.clip(0, 2)], axis=1))
        flags = [*given, f"--candidates={path}"]
        if not expected:
            refuse(files, "accept them with --edge_recall=0", *flags)
            succeed("refine", *flags, "--edge_recall=0", f"--output_dir={files}/few")
            continue
        said = succeed("refine", *flags, f"--output_dir={files}/{name}").stderr
        assert ("that --edge_recall asks for" in said) == (expected < 1)
        measured = read_report(files / name)["calibration"]
        assert measured["recall"] == pytest.approx(expected, abs=0.03)
        assert measured["sample_rows"] == 600


def test_the_same_seed_gives_the_same_bits(files):
    outputs = []
    for number in range(2):
        output, flags = files / f"out{number}", ("--threshold=0.4", "--resamples=20")
        files_given = [f"--{n}={files}/{n}.npy" for n in ("features", "labels")]
        refined, report = refine(output, *files_given, *flags)
        drawn = (output / "summary.png").read_bytes()
        outputs.append([refined.tobytes(), report["verification"], drawn])
    assert outputs[0] == outputs[1]


def test_all_plots_are_the_panels_of_the_summary(files):
    given = f"--features={files}/features.npy", "--num_steps=0"
    drawn = []
    for flag in ("--plots=all", "--threshold=0.5"):
        refine(files / flag, *given, flag)
        drawn.append({path.stem for path in (files / flag).glob("*.png")})
    assert drawn[0] == {"summary", "edges", "closure", "degree", "residual"}
    assert drawn[1] == {"summary"}


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--k=600"], "k is 600 with 600 rows"),
        (["--k=0"], "--k=0"),
        (["--threshold=1.5"], "--threshold=1.5"),
        (["--threshold=high"], "--threshold=high"),
        (["--streamed", "--num_devices=1"], "leave --num_devices out"),
        (["--threshold=nan"], "--threshold=nan; expected a finite"),
        (["--gamma=-0.1"], "--gamma=-0.1"),
        (["--num_steps=-1"], "--num_steps=-1"),
        (["--fprs=1e-3,x"], "--fprs=1e-3,x"),
        (["--preset=bold"], "--preset=bold"),
        (["--plots=some"], "--plots=some"),
        (["--no_such_flag"], "no_such_flag"),
        (["stray"], "stray"),
        (["--labels={}/short.npy"], "599"),
        (["--labels={}/one.npy"], "no impostor pair"),
        (["--labels={}/all.npy"], "no genuine pair"),
        (["--pairs={}/outside.csv"], "outside"),
        (["--pairs={}/genuine.csv"], "0 impostor"),
        (["--pairs={}/unknown.csv"], "third column"),
        (["--features={}/missing.npy"], "missing.npy"),
        (["--features={}/nan.npy"], "2 of 600 rows hold NaN, Inf"),
        (["--features={}/objects.npy"], "object"),
        (["--features={}/one_row.npy"], "got 1 rows, expected at least 2"),
    ],
)
def test_bad_input_is_refused(files, sample, flags, message):
    broken = sample.features.copy()
    broken[[3, 77], 5] = np.nan
    np.save(files / "nan.npy", broken)
    np.save(files / "objects.npy", np.array([[{}]], object), allow_pickle=True)
    np.save(files / "one_row.npy", broken[:1])
    np.save(files / "short.npy", sample.labels[1:])
    np.save(files / "one.npy", np.zeros(600, int))
    np.save(files / "all.npy", np.arange(600))
    (files / "outside.csv").write_text("0,1,1\n3,600,0\n")
    (files / "genuine.csv").write_text("0,1,1\n3,5,1\n")
    (files / "unknown.csv").write_text("0,1\n3,5\n")
    given = [flag.format(files) for flag in flags]
    refuse(files, message, f"--features={files}/features.npy", *given)


def test_flags_that_do_not_fit_are_refused(files):
    refuse(files, "--features", f"--labels={files}/labels.npy")
    result = call(
        "refine", f"--features={files}/features.npy", "--output_dir=/dev/null"
    )
    assert result.returncode == 2 and "--output_dir=/dev/null" in result.stderr


def test_an_input_is_never_overwritten(files, sample):
    np.save(files / "refined.npy", sample.features)
    before = (files / "refined.npy").read_bytes()
    result = call("refine", f"--features={files}/refined.npy", f"--output_dir={files}")
    assert result.returncode == 2
    assert "would be overwritten" in result.stderr
    assert (files / "refined.npy").read_bytes() == before


def test_a_full_disk_leaves_the_old_results(files):
    output = files / "out"
    flags = [f"--features={files}/features.npy", f"--output_dir={output}"]
    succeed("refine", *flags, "--noplots")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    # A count of lines in the process would be a file of its own.
    here = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    # No file may grow past 32 KiB: what a full disk does, in the middle of a write.
    limited = subprocess.run(
        [
            *("bash", "-c", 'trap "" XFSZ; ulimit -f 32; exec "$@"', "bash"),
            *command("refine", *flags, "--noplots", "--gamma=0.1"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=here | {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        timeout=300,
        check=False,
    )
    assert limited.returncode == 2, limited.stderr
    assert "nothing was written" in limited.stderr.splitlines()[-1]
    assert "Traceback" not in limited.stderr
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_ctrl_c_ends_it_with_nothing_written(tmp_path, rng):
    # Large enough to be in the search when the signal comes.
    np.save(tmp_path / "large.npy", rng.standard_normal((80_000, 128), np.float32))
    output = tmp_path / "out"
    # A runner in the background hands down an ignored SIGINT; a terminal does not.
    program = (
        "import runpy, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('experiments.refine', run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            f"--features={tmp_path}/large.npy",
            f"--output_dir={output}",
        ],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not output.exists():  # it is made when the input has been checked
        assert process.poll() is None
        time.sleep(0.02)
    stderr = None
    while stderr is None:
        # Pressed again, as a person would: Python drops an interrupt that arrives in
        # a callback of the runtime, and the device is being set up just now.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, stderr = process.communicate(timeout=1)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in stderr
    assert "Traceback" not in stderr
    assert list(output.iterdir()) == []
