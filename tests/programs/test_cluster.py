"""`cluster` end to end, on plain files and on a learn-to-cluster folder."""

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from tests.programs.programs import read_report, refuse, run, succeed


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=800, dim=48, seed=2, junk_share=0.0)


@pytest.fixture
def given(tmp_path, sample):
    np.save(tmp_path / "features.npy", sample.features)
    return f"--features={tmp_path}/features.npy"


def test_labels_and_scores_are_those_of_the_library(tmp_path, sample, given):
    np.save(tmp_path / "labels.npy", sample.labels)
    output = tmp_path / "out"
    result = run(
        "cluster",
        given,
        f"--labels={tmp_path}/labels.npy",
        f"--output_dir={output}",
        "--k=10",
        "--threshold=0.5",
        "--merge_threshold=0.75",
        "--min_size=2",
    )
    assert result.returncode == 0, result.stderr
    names = "confidence.npy dropped.npy labels.npy report.json summary.png"
    assert sorted(path.name for path in output.iterdir()) == names.split()
    neighbors = gfa.exact_neighbors(sample.features, k=10)
    refined = gfa.aggregate(
        sample.features, neighbors, gfa.Params(0.5, 0.5), num_steps=4
    ).features
    expected = gfa.cluster(refined, neighbors, threshold=0.75, min_size=2)
    labels = np.load(output / "labels.npy")
    np.testing.assert_array_equal(labels, expected.labels)
    report = read_report(output)
    scores = metrics.cluster_scores(sample.labels, labels)
    assert report["clusters"] == expected.num_clusters
    assert report["left_out"] == np.sum(labels < 0)
    assert report["scores"]["bcubed"]["f_score"] == scores.bcubed.f_score
    assert f"F {scores.pairwise.f_score:.4f}" in result.stdout
    # Not a triviality: people are told apart, and mostly kept together.
    assert scores.bcubed.precision > 0.8 and scores.bcubed.recall > 0.5


def test_a_learn_to_cluster_folder_is_read_as_it_is(tmp_path, sample):
    for folder in ("features", "labels", "knns/part"):
        (tmp_path / folder).mkdir(parents=True)
    sample.features.tofile(tmp_path / "features/part.bin")
    np.savetxt(tmp_path / "labels/part.meta", sample.labels, fmt="%d")
    neighbors = gfa.exact_neighbors(sample.features, k=20)
    data = np.stack([neighbors.indices, 1 - np.asarray(neighbors.similarity)], axis=1)
    np.savez_compressed(tmp_path / "knns/part/faiss_k_20.npz", data=data)
    features = (f"--features={tmp_path}/features/part.bin", "--dim=48")
    options = ("--k=12", "--threshold=0.5")
    output, searched = tmp_path / "out", tmp_path / "searched"
    succeed(
        "cluster",
        *features,
        f"--labels={tmp_path}/labels/part.meta",
        f"--candidates={tmp_path}/knns/part/faiss_k_20.npz",
        f"--output_dir={output}",
        *options,
    )
    options += ("--plots=all",)
    succeed("cluster", *features, f"--output_dir={searched}", *options)
    read, own = (np.load(folder / "labels.npy") for folder in (output, searched))
    np.testing.assert_array_equal(read, own)
    names = {path.stem for path in searched.glob("*.png")}
    assert names == {"summary", "sizes", "confidence"}  # no labels, no purity


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--merge_threshold=1.5", "--merge_threshold=1.5"),
        ("--min_size=0", "--min_size=0"),
        ("--method=complete", "--method=complete"),
        ("--images=nowhere", "--images=nowhere: expected a folder"),
        ("--k=800", "k is 800"),
        ("--labels={}/short.npy", "799"),
    ],
)
def test_bad_options_are_refused(tmp_path, sample, given, flag, message):
    np.save(tmp_path / "short.npy", sample.labels[:-1])
    refuse(tmp_path, message, given, flag.format(tmp_path), module="cluster")


def cluster_of(tmp_path, *flags):
    succeed("cluster", f"--output_dir={tmp_path}/out", *flags)
    return np.load(tmp_path / "out" / "labels.npy"), read_report(tmp_path / "out")


@pytest.mark.parametrize("method", ["components", "average"])
def test_one_component(tmp_path, given, method):
    everything = ("--k=60", "--threshold=-1", "--merge_threshold=-1")
    labels, report = cluster_of(tmp_path, given, *everything, f"--method={method}")
    np.testing.assert_array_equal(labels, np.zeros(800))
    assert (report["clusters"], report["largest"], report["singletons"]) == (1, 800, 0)


def test_all_singletons_with_and_without_a_label(tmp_path, given):
    # No two rows are equal, so no pair reaches 1; without updates none moves.
    alone = ("--merge_threshold=1", "--num_steps=0", "--k=5", "--threshold=0.5")
    labels, report = cluster_of(tmp_path, given, *alone, "--method=average")
    np.testing.assert_array_equal(labels, np.arange(800))
    assert report["singletons"] == 800
    labels, report = cluster_of(tmp_path, given, *alone, "--min_size=2")
    np.testing.assert_array_equal(labels, np.full(800, -1))
    assert (report["clusters"], report["largest"], report["left_out"]) == (0, 0, 800)


def test_an_empty_graph_is_refused_and_one_of_loops_joins_nothing(tmp_path, given):
    candidates = f"--candidates={tmp_path}/candidates.npy"
    np.save(tmp_path / "candidates.npy", np.full((800, 3), -1))
    refuse(tmp_path, "no candidate at all", given, candidates, module="cluster")
    np.save(tmp_path / "candidates.npy", np.arange(800)[:, None])
    loops = ("--k=1", "--threshold=0.5", "--method=average")
    labels, _ = cluster_of(tmp_path, given, candidates, *loops)
    np.testing.assert_array_equal(labels, np.arange(800))


def test_pairs_to_review_and_numbers_that_stay(tmp_path, sample):
    folder = tmp_path / "first"
    for rows, output, more in (
        (600, folder, ()),
        (800, tmp_path / "second", (f"--previous={folder}/labels.npy", "--review=3")),
    ):
        np.save(tmp_path / f"{rows}.npy", sample.features[:rows])
        features = f"--features={tmp_path}/{rows}.npy"
        result = succeed("cluster", features, f"--output_dir={output}", *more)
    first = np.load(folder / "labels.npy")
    labels = np.load(tmp_path / "second" / "labels.npy")
    assert np.mean(labels[:600] == first) > 0.8
    new = np.setdiff1d(labels, first)
    assert new.min() >= read_report(folder)["first_free_label"] == first.max() + 1
    assert read_report(tmp_path / "second")["first_free_label"] == new.max() + 1
    table = (tmp_path / "second" / "review.csv").read_text().splitlines()
    assert table[0].startswith("row,other,cluster,other_cluster,together,prob")
    assert len(table) == 4
    row, other, cluster, other_cluster, together = map(int, table[1].split(",")[:5])
    assert [cluster, other_cluster] == labels[[row, other]].tolist()
    assert together == (cluster == other_cluster)
    assert f"rows {row} and {other}," in result.stdout


@pytest.mark.parametrize(
    ("previous", "message"),
    [
        (np.zeros(801, int), "has 801 rows; expected at most 800"),
        (np.full(4, "a"), "expected cluster numbers"),
        (None, "previous.npy"),
    ],
)
def test_bad_previous_labels_are_refused(tmp_path, given, previous, message):
    if previous is not None:
        np.save(tmp_path / "previous.npy", previous)
    flag = f"--previous={tmp_path}/previous.npy"
    refuse(tmp_path, message, given, flag, module="cluster")
