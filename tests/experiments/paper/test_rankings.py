"""Searches end to end: Market-1501 in its own format, and a labelled set of images."""

import json

import numpy as np
import pytest

from tests import oracle
from tests.experiments.paper.table_problems import IMAGES, make_faces, person
from tests.metrics.test_retrieval import rank_literally
from tests.programs.programs import call, succeed


def check_rows(folder, features, rank):
    """Every row of the report, and of the table, is the oracle's."""
    report = json.loads((folder / "report.json").read_text())
    text = (folder / "table.txt").read_text()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for entry in report["rows"]:
        F, name = oracle.unit_rows(features.astype(np.float64)), "raw - -"
        if setting := entry["setting"]:
            preset, k, t = (setting[key] for key in ("preset", "k", "threshold"))
            indices = oracle.exact_neighbors(F, k).indices
            options = oracle.PAPER if preset == "paper" else oracle.SAFE
            F = oracle.aggregate(F, indices, 0.5, t, num_steps=4, **options).features
            name = f"{preset} {k} {t:.2f}"
        found = [each for each in rank(F) if each[2]]
        expected = [
            np.mean([ap for ap, _, _ in found]),
            *(np.mean([first <= r for _, first, _ in found]) for r in (1, 5, 10)),
        ]
        values = [entry["mean_average_precision"], *entry["cmc"].values()]
        # Two scores that are one in float32 may change places.
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-3)
        assert entry["queries_with_a_match"] == len(found)
        assert 0 <= entry["map_at_r"] <= entry["mean_average_precision"] + 1e-12
        assert f"{name} " + " ".join(f"{value:.4f}" for value in values) in lines
        for value, (low, high) in zip(values, entry["interval"], strict=True):
            assert 0 <= low <= value <= high <= 1
        if setting:
            shown = [f"{low:+.4f}..{high:+.4f}" for low, high in entry["gain_interval"]]
            assert f"{name} " + " ".join(shown) in lines
    assert (folder / "cmc.png").read_bytes().startswith(b"\x89PNG")
    return report


@pytest.fixture
def market(tmp_path):
    """A folder of queries, a list of the gallery, features in their order."""
    faces = make_faces()
    names = []
    for row in range(len(faces)):
        who = int(person(np.array(row)))
        # The last two people: a distractor and a bad detection.
        who = {10: 0, 11: -1}.get(who, who + 1)
        number = "-1" if who < 0 else f"{who:04d}"
        names.append(f"{number}_c{row % 3 + 1}s1_{row:06d}_00.jpg")
    is_query = np.arange(len(faces)) % IMAGES < 2
    (tmp_path / "query").mkdir()
    queries = np.flatnonzero(is_query)
    for row in queries:
        (tmp_path / "query" / names[row]).touch()
    queries = queries[np.argsort([names[row] for row in queries])]
    gallery = np.random.default_rng(1).permutation(np.flatnonzero(~is_query))
    listed = "\r\n".join(f"bounding_box_test/{names[row]}" for row in gallery)
    (tmp_path / "gallery.txt").write_text(listed)
    np.save(tmp_path / "query.npy", faces[queries])
    np.save(tmp_path / "gallery.npy", faces[gallery])
    order = np.concatenate([queries, gallery])
    parsed = np.array(
        [[int(n[: n.index("_")]), int(n[n.index("_c") + 2])] for n in names]
    )
    flags = [
        f"--query={tmp_path}/query.npy",
        f"--query_names={tmp_path}/query",
        f"--gallery={tmp_path}/gallery.npy",
        f"--gallery_names={tmp_path}/gallery.txt",
    ]
    return tmp_path, faces[order], parsed[order].T, len(queries), flags


def test_market1501(market):
    folder, features, (people, cameras), num_queries, flags = market
    result = succeed(
        "market1501",
        *flags,
        "--preset=paper,affinity",
        "--k=4,8",
        "--threshold=0.45",
        "--resamples=20",
        f"--output_dir={folder}/out",
    )
    assert "warning" in result.stderr and "expected 3,368" in result.stderr
    known, seen = people[num_queries:].tolist(), cameras[num_queries:]

    def rank(F):
        scores = F[:num_queries] @ F[num_queries:].T
        return [
            rank_literally(
                scores[q], people[q], known, cameras=(cameras[q], seen), market=True
            )
            for q in range(num_queries)
            if people[q] >= 0
        ]

    report = check_rows(folder / "out", features, rank)
    assert len(report["rows"]) == 5
    # The junk is in the pool, and in no ranking; the distractors' queries are skipped.
    assert report["pool"]["rows"] == len(features) == 96
    assert report["pool"]["name"].endswith("gallery.npy, every row")
    assert report["rows"][0]["queries"] == 22
    assert report["rows"][0]["queries_with_a_match"] == 20
    counts = {count["name"]: count["found"] for count in report["counts"]}
    assert counts["gallery bad detections left out"] == 6
    assert counts["gallery distractors"] == 6


def test_market1501_refuses_features_that_do_not_fit(market):
    folder, features, _, num_queries, flags = market
    np.save(folder / "query.npy", features[:num_queries, :5])
    result = call("market1501", *flags, f"--output_dir={folder}/out")
    assert result.returncode == 2
    assert "expected features of one network" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_retrieval(tmp_path):
    faces = make_faces()
    labels = [f"class {who}" for who in person(np.arange(len(faces)))]
    labels[-3:] = ["alone 1", "alone 2", "alone 3"]
    np.save(tmp_path / "images.npy", faces)
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    queries = [95, 3, 40, 41, 0, 77]
    (tmp_path / "queries.txt").write_text("\n".join(map(str, queries)))
    flags = [
        f"--features={tmp_path}/images.npy",
        f"--labels={tmp_path}/labels.txt",
        f"--output_dir={tmp_path}/out",
        "--threshold=0.5",
        "--resamples=10",
    ]

    def rank(F, listed=tuple(range(96))):
        return [rank_literally(F[q] @ F.T, labels[q], labels, own=q) for q in listed]

    succeed("retrieval", *flags, "--k=6")
    report = check_rows(tmp_path / "out", faces, rank)
    assert report["rows"][0]["queries_with_a_match"] == 93
    assert report["rules"]["the_query_itself"] == "left out"

    succeed("retrieval", *flags, "--k=6", f"--queries={tmp_path}/queries.txt")
    report = check_rows(tmp_path / "out", faces, lambda F: rank(F, queries))
    assert report["rows"][1]["queries"] == 6
    assert report["rows"][1]["queries_with_a_match"] == 5

    # Of one table: people, and cameras that a match must not share.
    cameras = [f"c{row % 3}" for row in range(96)]
    lines = [f"{a},{b}" for a, b in zip(labels, cameras, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["label,cam", *lines]))
    flags[1] = f"--labels={tmp_path}/labels.csv"
    succeed("retrieval", *flags, "--k=6", "--camera_column=cam")

    def rank_apart(F):
        return [
            rank_literally(
                F[q] @ F.T, labels[q], labels, own=q, cameras=(cameras[q], cameras)
            )
            for q in range(96)
        ]

    check_rows(tmp_path / "out", faces, rank_apart)
    lines = [f"{label},c0" for label in labels]
    (tmp_path / "labels.csv").write_text("\n".join(["label,cam", *lines]))
    result = call("retrieval", *flags, "--k=6", "--camera_column=cam")
    assert result.returncode == 2 and "own camera" in result.stderr

    (tmp_path / "queries.txt").write_text("96")
    result = call("retrieval", *flags, f"--queries={tmp_path}/queries.txt")
    assert result.returncode == 2 and "got row 96, expected 0 to 95" in result.stderr
