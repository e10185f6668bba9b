"""`learn_to_cluster` on small folders of the exact format."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from experiments.studies.clusterers import published
from gfa_jax import datasets
from tests.programs.programs import refuse, succeed


def write_part(folder, part, seed, num_rows=400):
    """As distributed: no header, rows of any length, the row itself first, some -1."""
    sample = datasets.synthetic_features(num_rows=num_rows, dim=32, seed=seed)
    for name in ("features", "labels", f"knns/{part}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (3 * sample.features).tofile(folder / "features" / f"{part}.bin")
    lines = "".join(f"{label}\n" for label in sample.labels)
    (folder / "labels" / f"{part}.meta").write_text(lines)
    found = gfa.exact_neighbors(sample.features, k=20)
    data = np.stack([found.indices, 1 - np.asarray(found.similarity)], axis=1)
    data = data.astype(np.float32)
    data[::7, 0, -1] = -1
    np.savez_compressed(folder / "knns" / part / "faiss_k_80.npz", data=data)
    return sample.labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, part in enumerate(("part0_train", "part1_test", "part3_test")):
        write_part(folder, part, seed)
    return folder


SMALL = ("--dim=32", "--trials=2", "--k=20")


def test_one_command_gives_the_columns_of_the_table(tmp_path, folder):
    output = tmp_path / "out"
    result = succeed(
        "learn_to_cluster", f"--folder={folder}", f"--output_dir={output}", *SMALL
    )
    assert "part5_test, part7_test, part9_test" in result.stderr
    assert {path.name for path in output.iterdir()} == {
        "labels_part1_test.npy",
        "labels_part3_test.npy",
        "report.json",
        "table.txt",
    }
    assert (output / "table.txt").read_text() == result.stdout
    report = json.loads((output / "report.json").read_text())
    assert [(r["part"], r["rule"]) for r in report["results"]] == [
        (part, rule)
        for part in ("part1_test", "part3_test")
        for rule in ("ours", "components")
    ]
    header, rows, ours, components, note = result.stdout.splitlines()
    assert header.split()[-2:] == ["part1_test", "part3_test"]
    assert rows.split() == ["rows", "400", "400"]
    scores = report["results"][0]["scores"]
    cell = f"{100 * scores['pairwise']['f_score']:.2f}"
    assert ours.split()[1].startswith(cell)
    assert components.split()[0] == "components"
    assert "published column" in note
    labels = np.load(output / "labels_part1_test.npy", allow_pickle=False)
    assert len(labels) == 400
    assert len(np.unique(labels)) == scores["num_clusters"]
    assert scores["bcubed"]["f_score"] > 0.4


def test_a_part_of_a_published_size_stands_above_the_published_figures():
    def result(part, rows):
        scores = {"pairwise": {"f_score": 0.95}, "bcubed": {"f_score": 0.9412}}
        return {"part": part, "rows": rows, "rule": "ours", "scores": scores}

    text = published.table(
        [result("part1_test", 584_013), result("small", 900), result("p9", 5_206_761)]
    )
    lines = {line[:24].strip(): line[24:].split() for line in text.splitlines()}
    assert lines["ours"] == ["95.00/94.12"] * 3
    assert lines["Infomap"] == ["93.91/92.42", "–", "83.08/85.01"]
    assert lines["FC-ESER"] == ["–", "–", "89.40/88.80"]
    assert all(len(row) == 5 for row in published.PUBLISHED.values())


def test_what_is_missing_or_does_not_fit_is_refused(tmp_path, folder):
    def refused(message, *flags):
        refuse(tmp_path, message, *SMALL, *flags, module="learn_to_cluster")

    given = f"--folder={folder}"
    refused("--folder is not given")
    refused("part0_train.bin is not there", f"--folder={tmp_path}")
    refused("holds none of nothing", given, "--parts=nothing")
    refused("in --tune and in --parts", given, "--parts=part0_train")
    refused("--rules=best: expected some of", given, "--rules=best")
    refused("31", given, "--dim=31")


@pytest.mark.parametrize("broken", ["labels", "knns"])
def test_files_of_another_length_are_refused(tmp_path, broken):
    write_part(tmp_path, "part0_train", 0, num_rows=100)
    if broken == "labels":
        (tmp_path / "labels/part0_train.meta").write_text("0\n1\n")
    else:
        data = np.zeros((7, 2, 5), np.float32)
        np.savez(tmp_path / "knns/part0_train/faiss_k_80.npz", data=data)
    write_part(tmp_path, "part1_test", 1, num_rows=100)
    refuse(
        tmp_path,
        "expected 100",
        f"--folder={tmp_path}",
        *SMALL,
        module="learn_to_cluster",
    )
