"""`tune` end to end: files in, files out, beside a grid, bad input refused."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.types import check_params
from tests.programs.programs import run

# The score is the mean over these multiples of --fpr.
_AROUND = (0.25, 0.5, 1, 2, 4)
_SMALL = ("--resamples=0", "--k=8", "--fpr=1e-3", "--fprs=1e-3,1e-2", "--num_steps=3")
_SMALL += ("--noisolate_outliers",)


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=800, dim=32, seed=1, max_size=20)


@pytest.fixture
def files(tmp_path, sample):
    np.save(tmp_path / "features.npy", sample.features)
    np.save(tmp_path / "labels.npy", sample.labels)
    return tmp_path


def tuned(files, name: str, *flags: str):
    output = files / name
    result = run(
        "tune",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={output}",
        *_SMALL,
        *flags,
    )
    assert result.returncode == 0, result.stderr
    return output, json.loads((output / "report.json").read_text()), result.stdout


def read_params(values):
    return gfa.Params(*(values[name] for name in gfa.Params._fields))


def halves_of(sample, seed=0):
    """Rows of the half that is learnt on, as the program splits."""
    people = np.random.default_rng(seed).permutation(np.unique(sample.labels))
    return np.isin(sample.labels, people[: len(people) // 2])


def tprs_of(sample, rows, params, fprs=(1e-3,)):
    """Refines a half as a pool by itself and counts all its pairs."""
    features, labels = sample.features[rows], sample.labels[rows]
    neighbors = gfa.exact_neighbors(features, k=8)
    refined = np.asarray(
        gfa.aggregate(features, neighbors, params, num_steps=3).features
    )
    first, second = np.triu_indices(len(labels), 1)
    scores = np.einsum("md,md->m", refined[first], refined[second])
    roc = metrics.roc_curve(scores, labels[first] == labels[second])
    return [point.tpr for point in metrics.tpr_at_fpr(roc, fprs)]


def score_of(sample, rows, params):
    return np.mean(tprs_of(sample, rows, params, [1e-3 * f for f in _AROUND]))


def test_it_learns_on_one_half_and_reports_on_the_other(files, sample):
    output, report, printed = tuned(
        files, "out", "--tuning_steps=16", "--validate_every=8", "--min_gain=0"
    )
    assert "on the other" in printed
    names = {"params.json", "report.json", "curves.png"}
    assert {path.name for path in output.iterdir()} == names
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")

    values = json.loads((output / "params.json").read_text())
    assert (values["k"], values["num_steps"], values["mask"]) == (8, 3, "hard")
    assert values["weighting"] == gfa.SAFE["weighting"]
    params = read_params(values)
    check_params(params)

    # What was chosen by is the score of the first half; what is reported, the TPR of
    # the other.
    learning = report["learning"]
    first = halves_of(sample)
    # A few pairs more or less where scores tie in float32.
    assert learning["score"]["hard"] == pytest.approx(
        score_of(sample, first, params), abs=3e-3
    )
    (point, _) = report["verification"]["after"]["tpr_at_fpr"]
    (tpr,) = tprs_of(sample, ~first, params)
    assert point["tpr"] == pytest.approx(tpr, abs=3e-3)
    history = learning["history"]
    assert len(history["loss"]) == 16
    assert history["validated"] == [0, 8, 16]
    assert learning["score"]["hard"] == max(history["score"])
    assert history["score"][0] == max(history["start_score"])
    assert len(history["start_score"]) == len(report["starts"]) == 10

    # refine takes the file.
    refined = run(
        "refine",
        f"--features={files}/features.npy",
        f"--params={output}/params.json",
        f"--output_dir={files}/refined",
    )
    assert refined.returncode == 0, refined.stderr


def test_beside_a_grid_and_suggestions(files, sample):
    output, report, printed = tuned(
        files,
        "compared",
        "--grid",
        "--seeds=0,5",
        "--tuning_steps=4",
        "--validate_every=2",
        "--grid_thresholds=0.3,0.5",
        "--grid_gammas=0.5",
        "--grid_exponents=1,3",
        "--resamples=20",
    )
    names = {"table.txt", "race.png", "report.json"}
    assert {path.name for path in output.iterdir()} == names
    assert (output / "table.txt").read_text().strip() in printed
    rows = report["rows"]
    ways = ["raw", "suggested", "grid", "grid by mean"]
    ways += ["starts only", "gradient only", "learnt"]
    assert [row["way"] for row in rows] == ways * 2
    assert [row["split"] for row in rows] == [0] * 7 + [5] * 7
    for row in rows:
        low, high = row["interval"]
        assert low <= row["tpr"] <= high

    by_way = {row["way"]: row for row in rows[:7]}
    grid, learnt = by_way["grid"]["chosen"], by_way["learnt"]["chosen"]
    looks = [len(by_way[way]["chosen"]["looks"]) for way in ways[2:]]
    assert looks == [4, 4, 11, 4, 13]
    assert grid["seconds"] > 0
    first = halves_of(sample)
    scores = [score for _, score in grid["looks"]]
    cells = [gfa.Params(0.5, t, 0.02, e) for t in (0.3, 0.5) for e in (1.0, 3.0)]
    for score, cell in zip(scores, cells, strict=True):
        assert score == pytest.approx(score_of(sample, first, cell), abs=3e-3)
    by_mean = by_way["grid by mean"]["chosen"]["params"]
    assert gfa.Params(*by_mean) == cells[int(np.argmax(scores))]
    assert gfa.Params(*grid["params"]) in cells
    for way in ("grid", "learnt"):
        params = gfa.Params(*by_way[way]["chosen"]["params"])
        (want,) = tprs_of(sample, ~first, params)
        assert by_way[way]["tpr"] == pytest.approx(want, abs=3e-3)
    assert learnt["score"] >= by_way["starts only"]["chosen"]["score"]


def test_both_modes_learn_the_same(files):
    flags = (
        "--tuning_steps=5",
        "--threshold=0.4",
        "--exponent=2",
        "--loss=contrastive",
    )
    reports = [
        tuned(files, mode, *flags, f"--differentiation={mode}")[1]
        for mode in ("reverse", "forward")
    ]
    assert len(reports[0]["starts"]) == 1
    # Adam divides by the size of the gradient: float32 shows in the fourth digit.
    first, second = (report["learning"]["history"]["params"] for report in reports)
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_held_out_identities_choose_and_each_update_learns_its_own(files, sample):
    flags = ("--held_out=0.4", "--per_step", "--graph=rescore", "--tuning_steps=4")
    flags += ("--validate_every=2",)
    output, report, _ = tuned(files, "out", *flags, f"--checkpoint={files}/run")
    params = json.loads((output / "params.json").read_text())
    assert len(params["gamma"]) == len(params["threshold"]) == 3
    assert params["graph"] == "rescore"
    # All identities of the half would give another score.
    _, everyone, _ = tuned(files, "all", *flags[1:])
    scores = [
        run["learning"]["history"]["start_score"][0] for run in (report, everyone)
    ]
    assert scores[0] != scores[1]
    # The run is kept: another one does not go on from it.
    refused = run(
        "tune",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={output}",
        f"--checkpoint={files}/run",
        *_SMALL,
    )
    assert refused.returncode == 2
    assert "is of other inputs, options or versions" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--features={}/features.npy"], "halves need identities"),
        (["--labels={}/labels.npy"], "name that too"),
        (["--features={}/features.npy", "--labels={}/two.npy"], "impostor pair"),
        (["{both}", "--k=700"], "k is 700"),
        (["{both}", "--gamma=0", "--threshold=0.4"], "expected a start with gamma"),
        (["{both}", "--threshold=0.999"], "no candidate exceeds the threshold"),
        (["{both}", "--frozen=t"], "frozen names 't'"),
        (["{both}", "--max_images=2", "--k=8"], "no genuine pair teaches"),
        (["{both}", "--grid", "--checkpoint={}/run"], "leave it out with --grid"),
    ],
)
def test_bad_input_ends_with_one_line(files, flags, message):
    np.save(files / "two.npy", np.arange(800) % 2)
    given = []
    for flag in flags:
        if flag == "{both}":
            given += [f"--features={files}/features.npy"]
            given += [f"--labels={files}/labels.npy"]
        else:
            given.append(flag.format(files))
    output = files / "refused"
    result = run("tune", *given, f"--output_dir={output}")
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.endswith(" s")]
    assert len(lines) == 1, result.stderr
    assert message in lines[0]
    assert not output.exists() or list(output.iterdir()) == []
