"""`gfa verify`: the figures of rows as they are, and folders that are of one run."""

import numpy as np
import pytest

from gfa_jax import datasets, metrics
from tests.programs.programs import call, read_report, succeed


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    sample = datasets.synthetic_features(num_rows=400, dim=24, seed=4)
    np.save(folder / "x.npy", 3 * sample.features)
    np.save(folder / "y.npy", sample.labels)
    pairs = np.random.default_rng(0).integers(400, size=(5000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    np.savetxt(folder / "pairs.csv", pairs, "%d", ",")
    given = (f"--{n}={folder}/{f}.npy" for n, f in (("features", "x"), ("labels", "y")))
    succeed("refine", *given, f"--output_dir={folder}/out", "--noplots")
    return folder


@pytest.mark.parametrize(("rows", "name"), [("x", "before"), ("out/refined", "after")])
def test_its_figures_are_those_of_refine(made, tmp_path, rows, name):
    given = f"--features={made}/{rows}.npy", f"--labels={made}/y.npy"
    said = succeed("verify", *given, f"--output_dir={tmp_path}").stdout
    found = read_report(tmp_path)["verification"]
    stored = read_report(made / "out")["verification"][name]
    for own, other in zip(found["tpr_at_fpr"], stored["tpr_at_fpr"], strict=True):
        assert own == {key: other[key] for key in own}
        low, high = own["interval"]
        assert f"{own['tpr']:.4f}" in said and f"[{low:.4f}, {high:.4f}]" in said


def test_listed_pairs_are_measured_alone(made, tmp_path):
    given = f"--features={made}/x.npy", f"--labels={made}/y.npy", "--fprs=1e-2"
    more = f"--pairs={made}/pairs.csv", f"--output_dir={tmp_path}", "--resamples=0"
    said = succeed("verify", *given, *more).stdout
    pairs = datasets.read_pairs(made / "pairs.csv").indices
    rows, labels = np.load(made / "x.npy"), np.load(made / "y.npy")
    roc = metrics.roc_curve(
        metrics.pair_scores(rows / np.linalg.norm(rows, axis=1)[:, None], pairs),
        labels[pairs[:, 0]] == labels[pairs[:, 1]],
    )
    (point,) = metrics.tpr_at_fpr(roc, [1e-2])
    assert f"{point.tpr:.4f}" in said and f"{roc.num_genuine:,} genuine" in said


def test_a_folder_of_results_is_checked(made, tmp_path):
    output = made / "out"
    said = succeed("verify", str(output)).stdout
    assert said.startswith(f"{output}: all 2 files are of the run of refine of ")
    rows = (output / "refined.npy").read_bytes()
    (output / "refined.npy").write_bytes(rows[:-1] + b"\0")
    (output / "dropped.npy").rename(tmp_path / "dropped.npy")
    result = call("verify", f"--results={output}")
    assert (result.returncode, result.stdout) == (2, "")
    assert "refined.npy, dropped.npy changed, gone or of another run" in result.stderr
    assert f"run refine again with --config={output}/report.json" in result.stderr
    (output / "refined.npy").write_bytes(rows)
    (tmp_path / "dropped.npy").rename(output / "dropped.npy")
    np.save(made / "y.npy", np.load(made / "y.npy") + 1)
    told = succeed("verify", str(output)).stderr
    assert told == (
        f"warning: --labels={made}/y.npy is not, or no more, what that run read\n"
    )
