"""`tune` end to end: files in, files out, bad input refused."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.checks import check_params
from tests.programs.programs import call, succeed

# The score is the mean over these multiples of --fpr.
_AROUND = (0.25, 0.5, 1, 2, 4)
_SMALL = ("--resamples=0", "--k=8", "--fpr=1e-3", "--fprs=1e-3,1e-2", "--num_steps=3")
_SMALL += ("--nochosen_edges",)


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=800, dim=32, seed=1, max_size=20)


@pytest.fixture
def files(tmp_path, sample):
    np.save(tmp_path / "features.npy", sample.features)
    np.save(tmp_path / "labels.npy", sample.labels)
    return tmp_path


def flags_of(files):
    return f"--features={files}/features.npy", f"--labels={files}/labels.npy"


def tuned(files, name: str, *flags: str):
    output = files / name
    given = (*flags_of(files), f"--output_dir={output}", *_SMALL, *flags)
    result = succeed("tune", *given)
    return output, json.loads((output / "report.json").read_text()), result.stdout


def people_of(sample):
    """Identities in the order in which the program deals with them."""
    return np.random.default_rng(0).permutation(np.unique(sample.labels))


def halves_of(sample):
    """Rows of the half that is learnt on, as the program splits."""
    people = people_of(sample)
    return np.isin(sample.labels, people[: len(people) // 2])


def tprs_of(sample, rows, params, fprs=(1e-3,)):
    """Refines a half as a pool by itself and counts all its pairs."""
    features, labels = sample.features[rows], sample.labels[rows]
    refined = gfa.aggregate(
        features,
        gfa.exact_neighbors(features, k=8),
        params,
        num_steps=3,
        options=gfa.Options(mask="soft"),
    ).features
    first, second = np.triu_indices(len(labels), 1)
    scores = metrics.pair_scores(np.asarray(refined), np.stack([first, second], axis=1))
    roc = metrics.roc_curve(scores, labels[first] == labels[second])
    return [point.tpr for point in metrics.tpr_at_fpr(roc, fprs)]


def test_it_learns_on_one_half_and_reports_on_the_other(files, sample):
    output, report, printed = tuned(
        files, "out", "--max_iterations=16", "--validate_every=8", "--min_gain=0"
    )
    assert "on the other" in printed
    names = {"params.json", "report.json", "summary.png"}
    assert {path.name for path in output.iterdir()} == names
    assert (output / "summary.png").read_bytes().startswith(b"\x89PNG")

    values = json.loads((output / "params.json").read_text())
    assert (values["k"], values["num_steps"], values["mask"]) == (8, 3, "soft")
    params = gfa.Params(*(values[name] for name in gfa.Params._fields))
    check_params(params)

    # What was chosen by is the score of the first half; what is reported, the TPR of
    # the other. A few pairs more or less where scores tie in float32.
    learning = report["learning"]
    first = halves_of(sample)
    score = np.mean(tprs_of(sample, first, params, [1e-3 * f for f in _AROUND]))
    assert learning["score"]["soft"] == pytest.approx(score, abs=3e-3)
    (point, _) = report["verification"]["after"]["tpr_at_fpr"]
    (tpr,) = tprs_of(sample, ~first, params)
    assert point["tpr"] == pytest.approx(tpr, abs=3e-3)
    history = learning["history"]
    assert len(history["loss"]) == 16
    assert history["validated"] == [0, 8, 16]
    assert learning["score"]["soft"] == max(history["score"])
    assert history["score"][0] == max(history["start_score"])
    assert len(history["start_score"]) == len(report["starts"]) == 10

    # refine takes the file.
    succeed(
        "refine",
        f"--features={files}/features.npy",
        f"--params={output}/params.json",
        f"--output_dir={files}/refined",
    )


def test_held_out_identities_choose_and_the_run_is_kept(files, sample):
    flags = ("--held_out=0.4", "--max_iterations=4", "--validate_every=2")
    flags += ("--mask=hard", "--threshold=auto")
    kept = f"--checkpoint={files}/run.npz"
    flags += ("--min_gain=0.9",)  # more than any step can add
    output, report, printed = tuned(files, "out", *flags, kept)
    assert "learning gained nothing: no step adds --min_gain=0.9" in printed
    assert report["learning"]["step"] == 0
    assert json.loads((output / "params.json").read_text())["mask"] == "hard"
    # All identities of the half would give another score.
    _, everyone, _ = tuned(files, "all", *flags[1:])
    scores = [
        run["learning"]["history"]["start_score"][0] for run in (report, everyone)
    ]
    assert scores[0] != scores[1]
    # The one threshold misjudges the fewest candidates of those that teach.
    (start, _) = report["starts"]
    rows = np.flatnonzero(halves_of(sample))
    labels = sample.labels[rows]
    indices, cosines = map(np.asarray, gfa.exact_neighbors(sample.features[rows], k=8))
    people = people_of(sample)
    half = len(people) // 2
    teaches = np.isin(labels, people[: half - round(half * 0.4)])
    counts = teaches[:, None] & teaches[indices]
    counts &= indices != np.arange(len(rows))[:, None]
    same = labels[indices] == labels[:, None]
    errors = [
        np.count_nonzero(counts & ((cosines > t) != same))
        for t in (start["threshold"], *np.linspace(-0.2, 0.9, 200))
    ]
    assert errors[0] == min(errors)
    # Another run does not go on from it.
    refused = call("tune", *flags_of(files), f"--output_dir={output}", kept, *_SMALL)
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
        (["{both}", "--max_images=2", "--k=8"], "no genuine pair teaches"),
    ],
)
def test_bad_input_ends_with_one_line(files, flags, message):
    np.save(files / "two.npy", np.arange(800) % 2)
    given = []
    for flag in flags:
        given += flags_of(files) if flag == "{both}" else [flag.format(files)]
    output = files / "refused"
    result = call("tune", *given, f"--output_dir={output}")
    assert result.returncode == 2, result.stderr
    (line,) = (x for x in result.stderr.splitlines() if not x.endswith(" s"))
    assert message in line
    assert not output.exists() or list(output.iterdir()) == []
