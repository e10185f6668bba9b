"""IJB-C's two tables end to end, from small files in the formats as distributed."""

import pathlib

import numpy as np
import pytest

from experiments.paper import paper
from gfa_jax import metrics
from tests import oracle
from tests.experiments.paper.protocols.test_ijbc_covariate import HEADER, row
from tests.experiments.paper.table_problems import (
    IMAGES,
    check_cells,
    choose_pairs,
    make_faces,
    person,
)
from tests.programs.programs import refuse, succeed


@pytest.fixture(scope="module")
def faces():
    return make_faces()


@pytest.fixture
def covariate(tmp_path, faces, rng):
    """One template an image, every 7th undetected; subject 3 is in the training set."""
    templates = 1000 + rng.permutation(len(faces))
    images = np.arange(len(faces))
    lines = [HEADER] + [row(templates[i], i // IMAGES, ",,,") for i in images]
    (tmp_path / "probe_reference.csv").write_text("\r\n".join(lines))
    pairs = np.concatenate([np.array(p) for p in choose_pairs(rng, folds=1, half=300)])
    lines = [f"{templates[i]},{templates[j]}\n" for i, j in pairs]
    (tmp_path / "matches.csv").write_text("".join(lines))
    (tmp_path / "overlap.txt").write_text("3\n77\n")
    (tmp_path / "undetected.txt").write_text("\n".join(map(str, templates[::7])))
    np.save(tmp_path / "faces.npy", faces)
    return tmp_path, pairs, templates


def covariate_flags(folder: pathlib.Path) -> list[str]:
    return [
        f"--features={folder}/faces.npy",
        f"--probe_reference={folder}/probe_reference.csv",
        f"--matches={folder}/matches.csv",
    ]


def test_ijbc_covariate(covariate, faces):
    folder, pairs, templates = covariate
    succeed(
        "ijbc_covariate",
        *covariate_flags(folder),
        f"--drop_subjects={folder}/overlap.txt",
        f"--undetected={folder}/undetected.txt",
        "--k=5,10",
        "--threshold=0.55",
        "--resamples=5",
        "--failures=4",
        f"--output_dir={folder}/out",
    )
    images = np.arange(len(faces))
    for half, table, kept in (
        ("all", paper.IJBC_COVARIATE, person(images) != 3),
        (
            "cleaned",
            paper.IJBC_COVARIATE_CLEANED,
            (person(images) != 3) & (images % 7 != 0),
        ),
    ):
        place = np.cumsum(kept) - 1
        listed = pairs[kept[pairs].all(axis=1)]
        same = person(listed[:, 0]) == person(listed[:, 1])
        output = folder / "out" / half
        report = check_cells(
            output, faces[kept], place[listed], same, table, num_rows=3
        )
        assert report["counts"][2] == {
            "name": "templates kept",
            "found": kept.sum(),
            "expected": None,
        }
        harmed = (output / "failures.csv").read_text().splitlines()[1:]
        rows, ids = np.array([line.split(",")[:2] for line in harmed], int).T
        np.testing.assert_array_equal(templates[rows], ids)
        assert 0 < len(rows) <= 4 and kept[rows].all()


@pytest.fixture
def templates(tmp_path, faces, rng):
    """Templates of 2 to 4 faces, the first two of each one video; both metadata forms.

    Template 2p and 2p + 1, numbered from 5, are person p's; the even one is gallery.
    """
    segments = 2 * person(np.arange(len(faces))) + (np.arange(96) % IMAGES >= 4)
    media = np.arange(96) - (np.arange(96) % 4 == 1)
    scores = rng.uniform(0.5, 1, 96).round(3)
    meta, nist = tmp_path / "meta", tmp_path / "nist"
    points = " ".join(["1.5"] * 10)
    order = rng.permutation(96)  # insightface's list mixes the templates
    content = {
        meta / "ijbc_face_tid_mid.txt": [
            f"{i}.jpg {segments[i] + 5} {media[i]}" for i in order
        ],
        meta / "ijbc_name_5pts_score.txt": [
            f"{i}.jpg {points} {scores[i]}" for i in order
        ],
        meta / "ijbc_template_pair_label.txt": [
            f"{i + 5} {j + 5} {int(i // 2 == j // 2)}"
            for i in range(0, 24, 2)
            for j in range(1, 24, 2)
        ],
        nist / "ijbc_11_G1_G2_matches.csv": [
            f"{i + 5},{j + 5}" for i in range(0, 24, 2) for j in range(1, 24, 2)
        ],
    }
    lists = {"gallery_G1": [], "gallery_G2": [], "probe_mixed": []}
    for i in range(96):
        half = "G1" if segments[i] < 12 else "G2"
        name = "probe_mixed" if segments[i] % 2 else f"gallery_{half}"
        lists[name].append(i)
    for name, members in lists.items():
        content[nist / f"ijbc_1N_{name}.csv"] = [
            "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID",
            *(
                f"{segments[i] + 5},{segments[i] // 2},{i}.png,{media[i]}"
                for i in members
            ),
        ]
    meta.mkdir()
    nist.mkdir()
    for path, lines in content.items():
        path.write_text("\n".join(lines) + "\n")
    np.save(meta / "faces.npy", faces[order])
    flipped = faces + 0.1 * rng.standard_normal(faces.shape).astype(np.float32)
    np.save(meta / "flipped.npy", flipped[order])
    np.save(nist / "faces.npy", faces[np.concatenate([*lists.values()])])
    return tmp_path, faces, flipped, segments, scores


@pytest.mark.parametrize(
    ("form", "pooling"), [("meta", "mean"), ("meta", "media"), ("nist", "mean")]
)
def test_ijbc_template(templates, form, pooling):
    folder, faces, flipped, segments, scores = templates
    flags = [f"--pooling={pooling}"]
    if pooling == "media":
        flags.append(f"--flipped={folder}/{form}/flipped.npy")
        rows = (faces + flipped) * scores[:, None]
        # The first two faces of a template are frames of one video.
        weights = np.where(np.arange(96) % 4 < 2, 0.5, 1.0)
    else:
        rows, weights = faces, np.ones(96)
    pooled = np.zeros((24, 24))
    np.add.at(pooled, segments, rows * weights[:, None])
    succeed(
        "ijbc_template",
        f"--features={folder}/{form}/faces.npy",
        f"--{form}={folder}/{form}",
        *flags,
        "--k=3,5",
        "--threshold=0.55",
        "--resamples=20",
        f"--output_dir={folder}/out",
    )
    indices = np.array([(i, j) for i in range(0, 24, 2) for j in range(1, 24, 2)])
    same = indices[:, 0] // 2 == indices[:, 1] // 2
    report = check_cells(
        folder / "out", pooled, indices, same, paper.IJBC_TEMPLATE, num_rows=3
    )
    assert report["notes"]["detector_scores"] == (pooling == "media")
    # The identities that the genuine pairs link are the people.
    unit = oracle.unit_rows(pooled).astype(np.float32)
    resampled = metrics.resample_tpr(
        metrics.pair_scores(unit, indices),
        same,
        indices // 2,
        paper.IJBC_TEMPLATE.fprs,
        num_resamples=20,
    )
    bounds = metrics.tpr_intervals(resampled)
    for point, bound in zip(report["rows"][0]["tpr_at_fpr"], bounds, strict=True):
        np.testing.assert_allclose(point["interval"], bound[1:], rtol=0, atol=0.05)


def test_undetected_faces_add_nothing(templates):
    folder, faces, _, segments, _ = templates
    names = (folder / "meta" / "ijbc_face_tid_mid.txt").read_text().split("\n")[:-1]
    order = [int(name.split(".")[0]) for name in names]
    for path in (folder / "meta").glob("ijbc_*"):
        path.rename(path.with_name(path.name.replace("ijbc", "ijbb")))
    faces = faces.copy()
    faces[segments == 7] = 0  # nothing is left of this template
    faces[np.flatnonzero(segments == 4)[0]] = 0
    np.save(folder / "faces.npy", faces[order])
    result = succeed(
        "ijbc_template",
        f"--features={folder}/faces.npy",
        f"--meta={folder}/meta",
        "--k=3",
        "--threshold=0.55",
        "--resamples=0",
        f"--output_dir={folder}/out",
    )
    zero = np.count_nonzero(~faces.any(axis=1))
    assert f"{zero} of 96 rows are zero" in result.stderr
    assert "1 of 24 templates have no face" in result.stderr
    pooled = np.zeros((24, 24))
    np.add.at(pooled, segments, faces)
    kept = np.arange(24) != 7
    indices = [(i, j) for i in range(0, 24, 2) for j in range(1, 24, 2) if j != 7]
    place = (np.cumsum(kept) - 1)[np.array(indices)]
    same = np.array([i // 2 == j // 2 for i, j in indices])
    check_cells(
        folder / "out", pooled[kept], place, same, paper.IJBC_TEMPLATE, num_rows=2
    )


# --- bad input ----------------------------------------------------------------------


def test_bad_lists_are_refused_before_any_half(covariate):
    folder = covariate[0]
    (folder / "undetected.txt").write_text("1\n")
    refuse(
        folder,
        "none of its numbers is in the protocol",
        *covariate_flags(folder),
        f"--undetected={folder}/undetected.txt",
        module="ijbc_covariate",
    )


def test_faces_without_their_lines_are_refused(templates):
    folder = templates[0]
    np.save(folder / "short.npy", templates[1][1:])
    refuse(
        folder,
        "got 95 rows, expected 96, one a listed face",
        f"--features={folder}/short.npy",
        f"--meta={folder}/meta",
        module="ijbc_template",
    )
