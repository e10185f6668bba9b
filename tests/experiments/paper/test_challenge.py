"""TrillionPairs and iQIYI-VID end to end, from small files as they are distributed."""

import json
import struct

import numpy as np
import pytest

from experiments.paper import impostor_readings, paper
from gfa_jax import datasets, metrics
from tests import oracle
from tests.experiments.paper.table_problems import IMAGES, PEOPLE, make_faces, person
from tests.programs.programs import run, succeed

# The last four people are distractors, as far as anybody knows.
KNOWN = 8


def write_bin(path, rows):
    """The challenge's file, byte by byte."""
    header = struct.pack("<4i", *rows.shape, 4 * rows.shape[1], 5)
    path.write_bytes(header + rows.astype("<f4").tobytes())


def read_readings(F, people, fpr):
    """TPR and false accepts of both readings, from the list of all pairs."""
    known = np.asarray(people) < KNOWN
    first, second = np.triu_indices(len(F), 1)
    scores = np.einsum("md,md->m", F[first], F[second])
    same = (people[first] == people[second]) & known[first]
    results = []
    for impostor in (~same, known[first] != known[second]):
        genuine, others = scores[same], np.sort(scores[impostor])[::-1]
        allowed = int(fpr * len(others) + 1e-9)
        limit = np.append(others, -np.inf)[allowed]
        # The strictest threshold with the largest TPR; the accepts above the limit.
        results.append(((genuine > limit).mean(), int((others > limit).sum())))
    return results


@pytest.mark.parametrize("tail_size", [60, 700, 10**5])
def test_ground_truth_against_distractors(tail_size):
    faces = oracle.unit_rows(make_faces().astype(np.float64)).astype(np.float32)
    people = person(np.arange(len(faces)))
    is_distractor = people >= KNOWN
    identities = np.where(is_distractor, 100 + np.arange(len(faces)), people)
    result = metrics.all_pairs_roc(faces, identities, tail_size=tail_size)
    known, num_impostor = 0, KNOWN * (PEOPLE - KNOWN) * IMAGES**2
    for fpr in (0.0, 0.001, 0.02, 0.3, 1.0):
        point = impostor_readings.against_distractors(
            result, is_distractor, fpr=fpr, rule="conservative"
        )
        crossing = is_distractor[result.impostor_tail.rows].sum(axis=1) == 1
        kept = int(crossing.sum())
        # It answers wherever the tail reaches, and never where it does not.
        too_short = kept < num_impostor and kept <= int(fpr * num_impostor)
        assert (point is None) == too_short
        if point is not None:
            known += 1
            tpr, false_accepts = read_readings(faces.astype(np.float64), people, fpr)[1]
            assert point.tpr == pytest.approx(tpr)
            if fpr < 1:
                assert point.false_accepts == false_accepts
    assert known == {60: 2, 700: 3, 10**5: 5}[tail_size]


def test_distractors_on_people_drawn_anew():
    faces = oracle.unit_rows(make_faces().astype(np.float64)).astype(np.float32)
    people = person(np.arange(len(faces)))
    is_distractor = people >= KNOWN
    identities = np.where(is_distractor, 100 + np.arange(len(faces)), people)
    result = metrics.all_pairs_roc(faces, identities)
    found = impostor_readings.resample_distractors(
        result, is_distractor, fpr=0.02, num_resamples=8, seed=4
    )
    assert found is not None
    first, second = np.triu_indices(len(faces), 1)
    scores = np.einsum("md,md->m", *faces[np.stack([first, second])])
    same = result.identities[first] == result.identities[second]
    crossing = is_distractor[first] != is_distractor[second]
    random, count = np.random.default_rng(4), result.identities.max() + 1
    for (tpr,), weight in zip(found.tprs, found.genuine_weights, strict=True):
        draws = np.bincount(random.integers(count, size=count), minlength=count)
        m, n = draws[result.identities[first]], draws[result.identities[second]]
        # Every draw written out as a list in which a pair stands as often as it weighs.
        genuine = np.repeat(scores[same], m[same])
        impostor = np.repeat(scores[crossing], (m * n)[crossing])
        roc = metrics.roc_curve(
            np.concatenate([genuine, impostor]),
            np.arange(genuine.size + impostor.size) < genuine.size,
        )
        assert genuine.size == weight
        assert tpr == metrics.tpr_at_fpr(roc, (0.02,))[0].tpr


def check_report(folder, pool, people, table, k, thresholds, fpr):
    """The cells are the oracle's, and the submission is the first setting's rows."""
    report = json.loads((folder / "report.json").read_text())
    text = (folder / "table.txt").read_text()
    F = oracle.unit_rows(pool.astype(np.float64))
    indices = oracle.exact_neighbors(F, k).indices
    settings = [None, *thresholds]
    assert len(report["rows"]) == len(settings)
    for t, entry in zip(settings, report["rows"], strict=True):
        refined = F
        if t is not None:
            refined = oracle.aggregate(
                F, indices, 0.5, t, num_steps=4, **oracle.PAPER
            ).features
        if t == settings[1]:
            submission = (folder / "submission.bin").read_bytes()
            rows, columns, stride, code = struct.unpack("<4i", submission[:16])
            assert (rows, columns, stride, code) == (*F.shape, 4 * F.shape[1], 5)
            stored = np.frombuffer(submission[16:], "<f4").reshape(F.shape)
            np.testing.assert_allclose(stored, refined, rtol=0, atol=1e-5)
        readings = read_readings(refined, people, fpr)
        found = entry["all pairs"]["tpr_at_fpr"][0]
        both = zip((found, entry["distractors"]), readings, strict=True)
        for point, (expected, false_accepts) in both:
            assert point["false_accepts"] == false_accepts
            # One pair more or less where two scores are one in float32.
            genuine = KNOWN * IMAGES * (IMAGES - 1) / 2
            assert point["tpr"] == pytest.approx(expected, abs=1.5 / genuine)
            star = "*" * (false_accepts < 10)
            assert f"{point['tpr']:.4f} ({false_accepts}){star}" in text
        raw = report["rows"][0]
        for point, old in (
            (found, raw["all pairs"]["tpr_at_fpr"][0]),
            (entry["distractors"], raw["distractors"]),
        ):
            low, high = point["interval"]
            assert 0 <= low <= point["tpr"] <= high <= 1
            assert f"{low:.4f}-{high:.4f}" in text
            if t is not None:
                assert point["gain"] == point["tpr"] - old["tpr"]
                least, most = point["gain_interval"]
                assert least <= most
                assert f"{point['gain']:+.4f} [{least:+.4f}, {most:+.4f}]" in text
    assert (folder / "roc.png").read_bytes().startswith(b"\x89PNG")
    for name, (base, after) in table.models.items():
        line = f"{name} {base:.4f} {after:.4f} {after - base:+.4f}"
        assert line in [" ".join(each.split()) for each in text.splitlines()]
    counts = {count["name"]: count["found"] for count in report["counts"]}
    assert counts["rows of the ground truth"] == KNOWN * IMAGES
    assert counts["distractors"] == (PEOPLE - KNOWN) * IMAGES
    assert (counts["identities"], report["pool"]["rows"]) == (KNOWN, len(F))
    assert set(report["readings"]) == {"all pairs", "distractors"}
    return report


@pytest.fixture
def images(tmp_path, rng):
    """The files of the image track, rows in a drawn order."""
    order = rng.permutation(PEOPLE * IMAGES)
    rows, people = make_faces()[order], person(order)
    write_bin(tmp_path / "image.bin", rows)
    names = [f"{n // 10}/{n}.jpg" for n in order]
    (tmp_path / "filelist.txt").write_text("\r\n".join(names))
    labels = [str(p) if p < KNOWN else "-1" for p in people]
    (tmp_path / "truth.txt").write_text("\n".join(labels))
    flags = [f"--features={tmp_path}/image.bin", f"--filelist={tmp_path}/filelist.txt"]
    return tmp_path, rows, people, flags


def test_trillion_pairs(images):
    folder, rows, people, flags = images
    result = succeed(
        "trillion_pairs",
        *flags,
        f"--ground_truth={folder}/truth.txt",
        "--k=5",
        "--threshold=0.5,0.6",
        "--resamples=10",
        f"--output_dir={folder}/out",
    )
    assert "warning: 96 images (expected 1,862,120)" in result.stderr
    assert "the winner 0.9420" in result.stdout
    report = check_report(
        folder / "out", rows, people, paper.TRILLION_PAIRS, 5, (0.5, 0.6), 1e-8
    )
    assert report["submitted"] == {"preset": "paper", "k": 5, "threshold": 0.5}
    assert report["options"]["ground_truth"].endswith("truth.txt")


def test_without_ground_truth_it_submits_all_the_same(images):
    folder, rows, _, flags = images
    result = succeed(
        "trillion_pairs",
        *flags,
        "--neighbors=approximate",
        "--edge_recall=0.9",
        f"--output_dir={folder}/out",
    )
    assert "no --ground_truth" in result.stdout and "0.9341" in result.stdout
    submission = datasets.read_features(folder / "out" / "submission.bin")
    assert submission.shape == rows.shape
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["rows"] == [] and report["calibration"]["factory"] == "Flat"
    assert report["search"] == {
        "neighbors": "approximate",
        "k": 15,
        "threshold": 0.55,
        "calibration": report["calibration"],
    }
    assert "approximate search (Flat): recall 1.0000 of the edges" in result.stdout


def test_several_devices_share_the_tiles(images, monkeypatch):
    folder, _, _, flags = images
    flags += [f"--ground_truth={folder}/truth.txt", "--fpr=0.01", "--k=5"]
    flags += ["--threshold=0.5", "--resamples=10", "--tail_size=3000"]
    rows = []
    for devices in (1, 4):
        monkeypatch.setenv(
            "XLA_FLAGS", f"--xla_force_host_platform_device_count={devices}"
        )
        ended = run("trillion_pairs", *flags, f"--output_dir={folder}/{devices}")
        assert ended.returncode == 0, ended.stderr
        report = json.loads((folder / str(devices) / "report.json").read_text())
        assert report["environment"]["device_count"] == devices
        rows.append(report["rows"])
    assert rows[0] == rows[1]


def test_lists_that_do_not_fit_are_refused(images):
    folder, _, _, flags = images
    (folder / "short.txt").write_text("a.jpg\nb.jpg\n")
    result = run(
        "trillion_pairs",
        flags[0],
        f"--filelist={folder}/short.txt",
        f"--output_dir={folder}/out",
    )
    assert result.returncode == 2
    assert "got 96 rows, expected 2, one a line of" in result.stderr
    assert not (folder / "out").exists()


def test_iqiyi(tmp_path, rng):
    rows = make_faces()
    owner = rng.permutation(np.repeat(np.arange(96), rng.integers(2, 6, 96)))
    frames = rows[owner] + 0.5 * rng.standard_normal((len(owner), 24))
    frames = (frames * rng.uniform(0.2, 3, (len(owner), 1))).astype(np.float32)
    write_bin(tmp_path / "frames.bin", frames)
    names = [f"IQIYI_VID_FACE/vid_{v}/{n}.jpg" for n, v in enumerate(owner)]
    (tmp_path / "frames.txt").write_text("\n".join(names))
    listed = rng.permutation(96)
    lines = [f"vid_{v} {n} frames" for n, v in enumerate(listed)]
    (tmp_path / "filelist.txt").write_text("\n".join(lines))
    people = person(listed)
    labels = ["nobody" if p >= KNOWN else f"star {p}" for p in people]
    (tmp_path / "truth.txt").write_text("\n".join(labels))
    result = succeed(
        "iqiyi",
        f"--features={tmp_path}/frames.bin",
        f"--frames={tmp_path}/frames.txt",
        f"--filelist={tmp_path}/filelist.txt",
        f"--ground_truth={tmp_path}/truth.txt",
        "--distractor=nobody",
        "--fpr=0.01",
        "--k=6",
        "--threshold=0.6",
        "--resamples=10",
        f"--output_dir={tmp_path}/out",
    )
    assert "expected 203,848" in result.stderr and "have length 1" not in result.stderr
    lengths = np.linalg.norm(frames.astype(np.float64), axis=1, keepdims=True)
    weighted = frames / lengths * lengths**3.6
    pool = np.stack([weighted[owner == v].sum(axis=0) for v in listed])
    report = check_report(tmp_path / "out", pool, people, paper.IQIYI, 6, (0.6,), 0.01)
    assert report["notes"] == {
        "pooling": "norm_power",
        "power": 3.6,
        "frames": len(frames),
    }
    assert "organisers' r100 figure" in result.stdout


@pytest.mark.parametrize("table", [paper.TRILLION_PAIRS, paper.IQIYI])
def test_the_papers_figures(table):
    assert table.cell == (15, 0.55)
    assert set(table.models) == {"light", "heavy"}
    for base, after in table.models.values():
        assert 0.5 < base < after < 1
    assert all(0.4 < tpr < 1 for tpr in table.others.values())
