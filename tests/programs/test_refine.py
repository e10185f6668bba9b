"""`refine` end to end, as a person runs it: files in, files out, bad input refused."""

import contextlib
import itertools
import json
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
from tests.programs.programs import REPOSITORY, call, command, refuse, run, succeed


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
    for line in ("pool: 8,000 rows of 256", "settings: K = ", "edges: ", "TPR at FPR"):
        assert f"\n{line}" in f"\n{result.stdout}"
    assert result.stdout.splitlines()[-1] == (
        f"{tmp_path}: refined.npy, dropped.npy, residual.png, degree.png, "
        "settings.png, roc.png, similarity.png, report.json"
    )
    names = ("residual", "degree", "settings", "roc", "similarity")
    figures = {f"{name}.png" for name in names}
    names = {"refined.npy", "dropped.npy", "report.json"} | figures
    assert {path.name for path in tmp_path.iterdir()} == names
    for figure in figures:
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "report.json").read_text())
    refined = np.load(tmp_path / "refined.npy")
    assert list(refined.shape) == [report["pool"]["rows"], report["pool"]["dimensions"]]
    assert report["settings"]["half_cosine"] > 0
    assert set(report["seconds"]) == {
        "load",
        "neighbors",
        "settings",
        "updates",
        "evaluation",
        "files",
    }
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
    output = files / "out"
    succeed(
        "refine",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={output}",
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
    refined = np.load(output / "refined.npy")
    # float32 against float64, three steps: a few 2⁻²⁴ of unit rows.
    np.testing.assert_allclose(refined, expected.features, rtol=0, atol=1e-5)
    assert not (output / "roc.png").exists()

    report = json.loads((output / "report.json").read_text())
    first, second = np.triu_indices(len(wide), 1)
    for name, features in (("before", sample.features), ("after", refined)):
        scores = np.einsum("md,md->m", features[first], features[second])
        roc = metrics.roc_curve(scores, sample.labels[first] == sample.labels[second])
        stored = report["verification"][name]
        assert stored["genuine_pairs"] == roc.num_genuine
        tprs = [p["tpr"] for p in stored["tpr_at_fpr"]]
        # One pair more or less where two scores tie in float32.
        np.testing.assert_allclose(
            tprs,
            [p.tpr for p in metrics.tpr_at_fpr(roc)],
            rtol=0,
            atol=2 / roc.num_genuine,
        )


def test_every_feature_format_gives_the_same_result(files, sample):
    raw = files / "raw.bin"
    sample.features.tofile(raw)
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
        output = files / f"out{number}"
        succeed(
            "refine",
            *(flag.format(files) for flag in flags),
            f"--output_dir={output}",
            "--noplots",
            "--resamples=0",
        )
        report = json.loads((output / "report.json").read_text())
        results.append(
            ((output / "refined.npy").read_bytes(), report["verification"]["after"])
        )
    assert all(result == results[0] for result in results)


def test_rows_of_any_length_are_scaled_and_the_input_is_untouched(files, sample, rng):
    scaled = sample.features * rng.uniform(0.1, 9, (600, 1)).astype(np.float32)
    np.save(files / "scaled.npy", scaled)
    before = (files / "scaled.npy").read_bytes()
    refined = []
    for name in ("features", "scaled"):
        output = files / f"out_{name}"
        succeed("refine", f"--features={files}/{name}.npy", f"--output_dir={output}")
        refined.append(np.load(output / "refined.npy"))
        report = json.loads((output / "report.json").read_text())
        assert report["pool"]["normalized"] == (name == "scaled")
        assert report["verification"] == {}
    np.testing.assert_allclose(*refined, rtol=0, atol=1e-5)
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
    succeed("refine", *common, f"--output_dir={files}/searched")
    succeed(
        "refine",
        *common,
        f"--output_dir={files}/given",
        f"--candidates={files}/candidates.npy",
    )
    searched, given = (
        np.load(files / name / "refined.npy") for name in ("searched", "given")
    )
    np.testing.assert_array_equal(searched, given)
    report = json.loads((files / "given" / "report.json").read_text())
    stored = report["verification"]["after"]
    scores = np.einsum("md,md->m", given[first], given[second])
    points = metrics.tpr_at_fpr(metrics.roc_curve(scores, same), (1e-2, 1e-1))
    assert stored["genuine_pairs"] == same.sum()
    for entry, point in zip(stored["tpr_at_fpr"], points, strict=True):
        assert entry["tpr"] == pytest.approx(point.tpr, abs=2 / same.sum())
        assert entry["interval"][0] <= entry["interval"][1]


def test_approximate_search_says_what_it_reached(files):
    pytest.importorskip("faiss")
    output = files / "out"
    flags = [f"--features={files}/features.npy", f"--output_dir={output}"]
    refined = []
    for search in ("exact", "approximate"):
        succeed("refine", *flags, f"--neighbors={search}")
        refined.append(np.load(output / "refined.npy"))
    calibration = json.loads((output / "report.json").read_text())["calibration"]
    # 600 rows are searched exactly, and the report says so.
    assert calibration["factory"] == "Flat"
    assert calibration["recall"] == 1.0
    np.testing.assert_allclose(*refined, rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(files):
    outputs = []
    for number in range(2):
        output = files / f"out{number}"
        succeed(
            "refine",
            f"--features={files}/features.npy",
            f"--labels={files}/labels.npy",
            f"--output_dir={output}",
            "--threshold=0.4",
            "--resamples=20",
        )
        report = json.loads((output / "report.json").read_text())
        outputs.append(
            [(output / "refined.npy").read_bytes(), report["verification"]]
            + [(output / f"{name}.png").read_bytes() for name in ("roc", "similarity")]
        )
    assert outputs[0] == outputs[1]


# --- bad input ----------------------------------------------------------------------


def bad_features(kind: str, features: np.ndarray) -> np.ndarray:
    features = features.copy()
    match kind:
        case "nan":
            features[[3, 77], 5] = np.nan
        case "zero":
            features[9] = 0
        case "1d":
            return features[0]
        case "3d":
            return features.reshape(600, 8, 8)
        case "integers":
            return (features * 100).astype(np.int64)
        case "one row":
            return features[:1]
        case "objects":
            return np.array([[{}]], object)
    return features


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "2 of 600 rows hold NaN, Inf"),
        ("zero", "1 of 600 rows are zero"),
        ("1d", "got 1 dimensions"),
        ("3d", "got 3 dimensions"),
        ("integers", "got dtype int64"),
        ("one row", "got 1 rows"),
        ("objects", "object"),
    ],
)
def test_bad_features_are_refused(files, sample, kind, message):
    np.save(files / "bad.npy", bad_features(kind, sample.features), allow_pickle=True)
    refuse(files, message, f"--features={files}/bad.npy")


def test_bad_files_are_refused(files, sample):
    (files / "empty.npy").touch()
    datasets.write_features(files / "whole.bin", sample.features)
    whole = (files / "whole.bin").read_bytes()
    (files / "short.bin").write_bytes(whole[:-7])
    (files / "long.bin").write_bytes(whole + b"\0" * 12)
    for name, message in (
        ("missing.npy", "missing.npy"),
        ("empty.npy", "empty"),
        ("short.bin", "bytes"),
        ("long.bin", "bytes"),
    ):
        refuse(files, message, f"--features={files}/{name}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--k=600"], "k is 600 with 600 rows"),
        (["--k=0"], "--k=0"),
        (["--threshold=1.5"], "--threshold=1.5"),
        (["--threshold=high"], "--threshold=high"),
        (["--streamed", "--num_devices=1"], "--streamed is for one process"),
        (["--threshold=nan"], "threshold is nan"),
        (["--gamma=-0.1"], "--gamma=-0.1"),
        (["--num_steps=-1"], "--num_steps=-1"),
        (["--fprs=1e-3,x"], "--fprs=1e-3,x"),
        (["--preset=bold"], "--preset=bold"),
        (["--no_such_flag"], "no_such_flag"),
        (["stray"], "stray"),
        (["--labels={}/short.npy"], "599"),
        (["--labels={}/one.npy"], "no impostor pair"),
        (["--labels={}/all.npy"], "no genuine pair"),
        (["--pairs={}/outside.csv"], "outside"),
        (["--pairs={}/genuine.csv"], "0 impostor"),
        (["--pairs={}/unknown.csv"], "third column"),
        (["--features={}/features.npy", "--output_dir=/dev/null/x"], "/dev/null/x"),
    ],
)
def test_bad_options_are_refused(files, sample, flags, message):
    np.save(files / "short.npy", sample.labels[1:])
    np.save(files / "one.npy", np.zeros(600, int))
    np.save(files / "all.npy", np.arange(600))
    (files / "outside.csv").write_text("0,1,1\n3,600,0\n")
    (files / "genuine.csv").write_text("0,1,1\n3,5,1\n")
    (files / "unknown.csv").write_text("0,1\n3,5\n")
    given = [flag.format(files) for flag in flags]
    if not any(flag.startswith("--output_dir") for flag in given):
        given.insert(0, f"--features={files}/features.npy")
        refuse(files, message, *given)
        return
    result = call("refine", *given)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_labels_without_features_are_refused(files):
    refuse(files, "--features", f"--labels={files}/labels.npy")


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
    # No file may grow past 32 KiB: what a full disk does, in the middle of a write.
    limited = subprocess.run(
        [
            "bash",
            "-c",
            'trap "" XFSZ; ulimit -f 32; exec "$@"',
            "bash",
            *command("refine", *flags, "--noplots", "--gamma=0.1"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"},
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


def test_help_is_one_screen_and_all_of_it_by_group():
    short, whole = (call("refine", f"--help{more}") for more in ("", "=all"))
    lines = short.stdout.splitlines()
    assert short.returncode == whole.returncode == 0
    assert len(lines) <= 24 and max(map(len, lines)) < 80
    assert "the row itself counted; 15 with" in short.stdout
    assert "--heartbeat_timeout" in whole.stdout
    assert "--heartbeat_timeout" not in short.stdout


# --- holdout -------------------------------------------------------------------------


def test_holdout_chooses_on_one_half_and_reports_on_the_other(files, sample):
    output = files / "out"
    result = succeed(
        "holdout",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={output}",
        "--k=5,10",
        "--threshold=0.4,0.9",
        "--gamma=0.5",
        "--num_steps=0,2",
        "--fprs=1e-2,1e-1",
        "--resamples=5",
    )
    assert "chosen on" in result.stdout
    report = json.loads((output / "report.json").read_text())
    cells = report["sweep"]["cells"]
    assert len(cells) == 8
    raw = np.array(report["sweep"]["raw"])
    for cell in cells:
        if cell["num_steps"] == 0:
            assert cell["tpr"] == list(raw)

    gains = [np.array(cell["tpr"]) - raw for cell in cells]
    best_worst = max(min(0.0, gain.min()) for gain in gains)
    harmless = [
        (gain.mean(), cell)
        for gain, cell in zip(gains, cells, strict=True)
        if min(0.0, gain.min()) == best_worst
    ]
    best_mean = max(mean for mean, _ in harmless)
    good = [cell for mean, cell in harmless if mean >= best_mean - 0.005]
    gentlest = min(
        good, key=lambda c: (c["gamma"] * c["num_steps"], -c["threshold"], c["k"])
    )
    assert {name: gentlest[name] for name in report["chosen"]} == report["chosen"]
    after = report["verification"]["after"]
    pairs = after["genuine_pairs"] + after["impostor_pairs"]
    rows = (1 + np.sqrt(1 + 8 * pairs)) / 2
    assert rows == int(rows) < 600
    assert (output / "roc.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--k=5,x"], "--k=5,x"),
        (["--k=400"], "k is 400"),
        (["--threshold=2"], "threshold is 2"),
        (["--gamma="], "--gamma"),
        (["--num_steps=-2"], "num_steps"),
    ],
)
def test_holdout_refuses_bad_grids(files, flags, message):
    refuse(
        files,
        message,
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        *flags,
        module="holdout",
    )
