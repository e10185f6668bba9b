"""The comparison with k-means end to end: what it times, and what it scores."""

import json

import numpy as np
import pytest
from scipy.sparse import coo_array, csgraph
from sklearn.metrics import normalized_mutual_info_score

from experiments.studies.clusterers import Problem, kmeans
from gfa_jax import Neighbors, datasets
from tests import oracle
from tests.programs.programs import succeed

FPRS = (1e-5, 1e-4, 1e-3)
CENTRES = 40


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=500, dim=16, seed=2)


def all_pairs_tprs(F, labels):
    first, second = np.triu_indices(len(F), 1)
    scores = np.einsum("md,md->m", F[first], F[second])
    same = labels[first] == labels[second]
    others = np.sort(scores[~same])[::-1]
    limits = others[[int(fpr * len(others)) for fpr in FPRS]]
    return (scores[same] > limits[:, None]).mean(axis=1), same.sum()


def test_times_ratios_and_quality(tmp_path, sample):
    features, labels = sample.features, sample.labels
    np.savez(tmp_path / "faces.npz", features=features, labels=labels)
    result = succeed(
        "kmeans_speed",
        f"--features={tmp_path}/faces.npz",
        f"--labels={tmp_path}/faces.npz",
        f"--clusters={CENTRES}",
        "--iterations=4",
        "--repeats=2",
        "--k=5",
        "--threshold=0.6",
        "--merge_thresholds=0.7,0.9",
        f"--output_dir={tmp_path}/out",
    )
    text = (tmp_path / "out" / "table.txt").read_text()
    assert text in result.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    told = len(np.unique(labels))
    seconds = report["runs_seconds"]
    assert set(seconds) == {
        "neighbours",
        "updates",
        "clusters",
        f"k-means, {CENTRES} centres",
        f"k-means, {told} centres",
    }
    assert all(len(runs) == 2 and min(runs) > 0 for runs in seconds.values())
    theirs = np.array(seconds[f"k-means, {CENTRES} centres"])
    ratios = report["times_as_fast_as_kmeans"]
    assert len(ratios) == 4
    counted = np.zeros(2)
    for name, stage in (
        ("the updates", "updates"),
        ("with the neighbours", "neighbours"),
        ("with neighbours and clusters", "clusters"),
    ):
        counted += seconds[stage]
        np.testing.assert_allclose(ratios[name], theirs / counted)
    # Four updates beside four rounds.
    np.testing.assert_allclose(
        ratios["one update against one round"], ratios["the updates"]
    )
    assert "100 is" in text

    F = oracle.unit_rows(features.astype(np.float64))
    indices = oracle.exact_neighbors(F, 5).indices
    refined = oracle.aggregate(
        F, indices, 0.5, 0.6, num_steps=4, **oracle.PAPER
    ).features
    for threshold in (0.7, 0.9):
        i, j = np.repeat(np.arange(len(F)), 5), indices.reshape(-1)
        near = np.einsum("md,md->m", refined[i], refined[j]) >= threshold
        graph = coo_array((near[near], (i[near], j[near])), (len(F), len(F)))
        count, found = csgraph.connected_components(graph, directed=False)
        scores = report["clusters"][f"ours, t_s = {threshold:g}"]
        assert scores["num_clusters"] == count
        nmi = normalized_mutual_info_score(labels, found)
        assert scores["nmi_arithmetic"] == pytest.approx(nmi, abs=1e-9)

    problem = Problem(features, Neighbors(indices, indices), CENTRES, 0)
    found = kmeans.cluster(problem, num_iterations=4, spherical=False, num_starts=1)
    centres = np.stack([F[found == c].mean(axis=0) for c in found])
    centres, moved = oracle.unit_rows(centres), F
    for _ in range(4):
        moved = oracle.unit_rows((moved + centres) / 2)
    expected = {"raw": F, "ours": refined, f"k-means, {CENTRES} centres": moved}
    for name, rows in expected.items():
        tprs, genuine = all_pairs_tprs(rows, labels)
        points = report["verification"][name]
        # One pair more or less where two scores are one in float32.
        np.testing.assert_allclose(
            [point["tpr"] for point in points], tprs, rtol=0, atol=1.5 / genuine
        )
