"""`tune` end to end: files in, files out, bad input refused."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from tests.experiments.programs import run

_SMALL = ("--resamples=0", "--impostor_pairs=600", "--k=8", "--fprs=1e-3,1e-2")


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
    assert "on the other" in result.stdout
    return output, json.loads((output / "report.json").read_text())


def test_it_learns_on_one_half_and_reports_on_the_other(files, sample):
    output, report = tuned(files, "out", "--tuning_steps=20", "--num_steps=3")
    names = {"params.json", "report.json", "curves.png"}
    assert {path.name for path in output.iterdir()} == names
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")

    params = json.loads((output / "params.json").read_text())
    assert (params["k"], params["num_steps"], params["mask"]) == (8, 3, "hard")
    assert params["weighting"] == gfa.SAFE["weighting"]
    gfa.check_params(gfa.Params(*(params[name] for name in gfa.Params._fields)))

    # No row is in both halves, and the figures are those of the second alone.
    verification = report["verification"]
    pairs = (
        verification["after"]["genuine_pairs"] + verification["after"]["impostor_pairs"]
    )
    rows = (1 + np.sqrt(1 + 8 * pairs)) / 2
    assert rows == int(rows) < 800
    history = report["history"]
    assert len(history["loss"]) == 20
    assert report["partial_auc"]["hard"] == max(history["score"])

    # The figures are what `aggregate` gives on that half with params.json.
    people = np.random.default_rng(0).permutation(np.unique(sample.labels))
    other = ~np.isin(sample.labels, people[: len(people) // 2])
    assert other.sum() == rows
    features = sample.features[other]
    refined = gfa.aggregate(
        features,
        gfa.exact_neighbors(features, k=8),
        gfa.Params(*(params[name] for name in gfa.Params._fields)),
        num_steps=3,
    ).features
    labels = sample.labels[other]
    first, second = np.triu_indices(len(labels), 1)
    scores = np.einsum("md,md->m", *(np.asarray(refined)[s] for s in (first, second)))
    roc = metrics.roc_curve(scores, labels[first] == labels[second])
    for point in verification["after"]["tpr_at_fpr"]:
        (want,) = metrics.tpr_at_fpr(roc, (point["fpr_target"],))
        # A few pairs more or less where scores tie in float32.
        assert point["tpr"] == pytest.approx(want.tpr, abs=3e-3)


def test_both_modes_learn_the_same(files):
    flags = ("--tuning_steps=5", "--threshold=0.4", "--loss=partial_auc")
    reports = [
        tuned(files, mode, *flags, f"--differentiation={mode}")[1]
        for mode in ("reverse", "forward")
    ]
    assert reports[0]["start"]["threshold"] == 0.4
    # Adam divides by the size of the gradient: float32 shows in the fourth digit.
    first, second = (report["history"]["params"] for report in reports)
    np.testing.assert_allclose(first, second, rtol=1e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--features={}/features.npy"], "halves need identities"),
        (["--labels={}/labels.npy"], "name that too"),
        (["--features={}/features.npy", "--labels={}/two.npy"], "impostor pair"),
        (["{both}", "--k=700"], "k is 700"),
        (["{both}", "--gamma=0", "--threshold=0.4"], "expected a start with gamma"),
        (["{both}", "--threshold=0.999"], "no candidate exceeds the threshold"),
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
    result = run("tune", *given, "--impostor_pairs=600", f"--output_dir={output}")
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.endswith(" s")]
    assert len(lines) == 1, result.stderr
    assert message in lines[0]
    assert not output.exists() or list(output.iterdir()) == []
