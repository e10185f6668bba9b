"""Rows of unknown identity are refined, left out of every figure, and counted."""

import numpy as np
import pytest

from gfa_jax import metrics
from gfa_jax.programs import halves, inputs
from tests.programs.programs import read_report, succeed


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Four people of two images with a cosine of .8, four strangers apart from all."""
    folder = tmp_path_factory.mktemp("unknown")
    features = np.eye(12, dtype=np.float32)
    features[1:8:2] = 0.8 * features[0:8:2] + 0.6 * features[1:8:2]
    np.save(folder / "f.npy", features)
    (folder / "l.txt").write_text("0\n0\n1\n1\n2\n2\n3\n3\n-1\n-1\n-1\n-1\n")
    return folder


def common(files, *flags):
    steps = ("--k=3", "--threshold=.5", *flags)
    inputs = (f"--features={files}/f.npy", f"--labels={files}/l.txt")
    return (*inputs, *steps, f"--output_dir={files}/out")


def report(files):
    return read_report(files / "out")


def test_in_refine(files):
    flags = ("--num_steps=0", "--fprs=1e-2", "--resamples=50", "--noplots")
    said = succeed("refine", *common(files, *flags))
    assert "4 of 12 rows have an unknown identity" in said.stderr
    got = report(files)
    assert got["pool"]["rows_of_unknown_identity"] == 4
    assert got["pool"]["identities"] == 4
    for figures in (got["verification"]["before"], got["verification"]["after"]):
        assert (figures["genuine_pairs"], figures["impostor_pairs"]) == (4, 24)
        assert figures["tpr_at_fpr"][0]["tpr"] == 1
    assert np.load(files / "out" / "refined.npy").shape == (12, 12)


def test_in_listed_pairs(files):
    (files / "pairs.csv").write_text("0,1\n2,3\n0,2\n0,8\n8,9\n")
    flags = ("--num_steps=0", "--fprs=.5", "--resamples=0", "--noplots")
    pairs = f"--pairs={files}/pairs.csv"
    said = succeed("refine", *common(files, pairs, *flags))
    assert "2 of 5 pairs are of a row of unknown identity" in said.stderr
    assert report(files)["verification"]["after"]["genuine_pairs"] == 2
    assert report(files)["verification"]["after"]["impostor_pairs"] == 1


def test_in_cluster(files):
    succeed("cluster", *common(files, "--num_steps=0", "--merge_threshold=.5"))
    scores = report(files)["scores"]
    assert scores["pairwise"]["recall"] == scores["pairwise"]["precision"] == 1
    assert scores["num_identities"] == 4


def test_in_retrieval(files):
    succeed("retrieval", *common(files, "--resamples=0"))
    for row in report(files)["rows"]:
        assert row["queries_with_a_match"] == 8
        assert row["mean_average_precision"] == 1


def test_in_every_metric(rng):
    rows = rng.standard_normal((40, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, found = rng.integers(-1, 6, 40), rng.integers(-1, 6, 40)
    known = labels >= 0
    left = np.flatnonzero(known)
    for kind in (labels, np.where(known, labels, np.nan).astype(str)):
        got = metrics.all_pairs_roc(rows, kind)
        expected = metrics.all_pairs_roc(rows[known], labels[known])
        for a, b in zip(got.roc, expected.roc, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(
            np.sort(got.impostor_tail.rows, axis=None),
            np.sort(left[expected.impostor_tail.rows], axis=None),
        )
        draws = [metrics.resample_all_pairs_tpr(each) for each in (got, expected)]
        np.testing.assert_array_equal(draws[0].tprs, draws[1].tprs)
        scores = metrics.cluster_scores(kind, found)
        assert scores == metrics.cluster_scores(labels[known], found[known])
        ranked = metrics.rank_gallery(rows, rows, kind, kind, own_rows=np.arange(40))
        own = rows[known], rows[known], labels[known], labels[known]
        expected = metrics.rank_gallery(*own, own_rows=np.arange(len(left)))
        np.testing.assert_array_equal(ranked.ranks, expected.ranks)
        np.testing.assert_array_equal(ranked.num_matches[known], expected.num_matches)
        assert not ranked.num_matches[~known].any()


def test_the_purity_of_a_cluster():
    purity = metrics.cluster_purity([1, 1, 2, -1, -1, 3], [0, 0, 0, 0, 1, -1])
    np.testing.assert_array_equal(purity, [2 / 3, np.nan])


def test_neither_half_holds_them():
    labels = np.array(["", "a", "a", "b", "nan", "b", "c", "c", "d", "d"])
    pool = inputs.Pool("sample", np.eye(10), np.ones(10), labels, None)
    halved = np.concatenate([half.features for half in halves.split(pool, seed=0)])
    np.testing.assert_array_equal(
        np.flatnonzero(halved.any(axis=0)), [1, 2, 3, *range(5, 10)]
    )
