"""The paper's tables end to end, each from small files in the format as distributed."""

import pathlib

import numpy as np
import pytest

from experiments.paper import failures, grid, paper
from gfa_jax import datasets
from gfa_jax.programs import evaluation, inputs
from tests import oracle
from tests.experiments.paper.table_problems import (
    IMAGES,
    PEOPLE,
    check_cells,
    choose_pairs,
    make_faces,
    oracle_tprs,
    person,
)
from tests.programs.programs import refuse, succeed

TABLES = {
    name: table for name, table in vars(paper).items() if isinstance(table, paper.Table)
}


@pytest.fixture(scope="module")
def faces():
    return make_faces()


# --- figures of the paper, and what is measured beside them -------------------------


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_papers_figures_have_the_shape_of_their_table(table):
    assert len(table.cells) in (8, 10, 12)
    for tprs in (table.raw, *table.cells.values()):
        assert len(tprs) == (len(table.fprs) if table.raw else 0)
        # Rising along the row, as TPRs must; one printed figure is no exception.
        assert list(tprs) == sorted(tprs)
        assert all(0 < tpr < 1 for tpr in tprs)


def test_accuracy_is_at_the_best_threshold_of_the_other_folds(rng):
    features = oracle.unit_rows(rng.standard_normal((60, 4)))
    features[1::2] = oracle.unit_rows(features[::2] + 0.4 * features[1::2])
    first = np.arange(0, 60, 2)
    indices = np.concatenate(
        [np.stack([first, first + 1], 1), np.stack([first, (first + 7) % 60], 1)]
    )
    same, folds = np.arange(60) < 30, np.arange(60) % 3
    scores = np.einsum("md,md->m", features[indices[:, 0]], features[indices[:, 1]])
    expected = []
    for fold in range(3):
        train = folds != fold
        ordered = np.sort(scores[train])[::-1]
        between = np.append((ordered[:-1] + ordered[1:]) / 2, ordered[-1])
        hits = ((scores[train, None] >= between) == same[train, None]).sum(axis=0)
        best = between[np.argmax(hits)]
        expected.append(((scores >= best) == same)[~train].mean())
    pairs = datasets.Pairs(indices, same)
    found = grid.fold_accuracies(features, pairs, folds)
    np.testing.assert_allclose(found, expected)
    assert 0.5 < found.min() < 1.0
    with pytest.raises(ValueError, match="got 1 fold"):
        grid.fold_accuracies(features, pairs, np.zeros(60))


@pytest.mark.parametrize(
    ("file", "pairs", "folds", "accuracy"),
    [
        ("lfw.npz", "pairs", "pair_fold", 0.9942),
        ("cfp_dev.npz", "pairs_fp", "pairs_fp_fold", 0.890),
    ],
)
def test_accuracy_of_real_embeddings(real_data, file, pairs, folds, accuracy):
    data = real_data(file)
    listed = datasets.Pairs(data[pairs][:, :2].astype(int), data[pairs][:, 2] == 1)
    found = grid.fold_accuracies(data["features"], listed, data[folds])
    # Which of several best thresholds is taken moves LFW by one pair in 6,000.
    assert found.mean() == pytest.approx(accuracy, abs=5e-4)


def test_harm_is_what_a_row_lost(rng):
    before, after = (oracle.unit_rows(rng.standard_normal((9, 5))) for _ in range(2))
    indices = rng.integers(8, size=(40, 2))  # row 8 has no pair
    same = rng.random(40) < 0.4
    harm = failures.measure(before, after, datasets.Pairs(indices, same))
    for i in range(9):
        changes: dict[bool, list] = {True: [], False: []}
        for (a, b), kind in zip(indices, same, strict=True):
            change = after[a] @ after[b] - before[a] @ before[b]
            changes[bool(kind)] += [change] * (int(a == i) + int(b == i))
        mean = {kind: sum(c) / max(len(c), 1) for kind, c in changes.items()}
        assert harm.harm[i] == pytest.approx(mean[False] - mean[True], abs=1e-12)
        assert (harm.num_genuine[i], harm.num_impostor[i]) == (
            len(changes[True]),
            len(changes[False]),
        )
    lines = failures.as_csv(harm, {"image": np.array(list("abcdefghi"))}, count=3)
    listed = [line.split(",")[0] for line in lines.splitlines()[1:]]
    worst = np.argsort(-harm.harm)[:3]
    assert listed == [chr(ord("a") + i) for i in worst]


def test_the_gain_stands_under_before_and_after_with_its_interval(rng):
    labels = np.repeat(np.arange(12), 4)
    centers = rng.standard_normal((12, 8))[labels]
    before, after = (
        oracle.unit_rows(centers + s * rng.standard_normal((48, 8))) for s in (1.5, 0.3)
    )
    pool = inputs.Pool("faces", before, np.ones(48), labels, None)
    options = {"fprs": (0.01, 0.1), "rule": "conservative", "seed": 0}
    figures = [
        evaluation.verify(each, pool, num_resamples=30, **options)
        for each in (before, after)
    ]
    gains = evaluation.gains(*figures)
    for gain, old, new in zip(gains, *(f.points for f in figures), strict=True):
        assert gain.gain == new.tpr - old.tpr
        assert gain.lower is not None and gain.upper is not None
        assert 0 < gain.lower <= gain.upper
    _, *lines, _ = evaluation.table(*figures).splitlines()
    for gain, line in zip(gains, lines, strict=True):
        interval = f"[{gain.lower:+.4f}, {gain.upper:+.4f}]"
        assert f"{gain.gain:+.4f} {interval}" in line
    same = evaluation.gains(figures[0], figures[0])
    assert {(gain.gain, gain.lower, gain.upper) for gain in same} == {(0, 0, 0)}
    # Without draws there are no bounds, and the table says none.
    bare = evaluation.verify(before, pool, num_resamples=0, **options)
    assert "95 %" not in evaluation.table(bare, bare)
    report = evaluation.as_report(figures[1], before=figures[0])
    assert report["tpr_at_fpr"][0]["gain_interval"] == [gains[0].lower, gains[0].upper]


# --- pairs of named images: LFW, CFP ------------------------------------------------


def lfw_name(image: int) -> str:
    name = f"Person_{person(np.array(image)):02d}"
    return f"{name}/{name}_{image % IMAGES + 1:04d}.jpg"


@pytest.fixture
def lfw(tmp_path, faces, rng):
    """pairs.txt, features in another order, and the same pairs as an array."""
    folds = choose_pairs(rng, folds=5, half=30)
    lines = ["5\t30"]
    for pairs in folds:
        for i, j in pairs:
            (a, x), (b, y) = (
                (lfw_name(n).split("/")[0], n % IMAGES + 1) for n in (i, j)
            )
            lines.append(f"{a}\t{x}\t{y}" if a == b else f"{a}\t{x}\t{b}\t{y}")
    (tmp_path / "pairs.txt").write_text("\r\n".join(lines))
    order = rng.permutation(len(faces))
    np.save(tmp_path / "faces.npy", faces[order])
    names = [f"crops/{lfw_name(i)}".replace(".jpg", ".png") for i in order]
    (tmp_path / "names.txt").write_text("\n".join(names))
    place = np.argsort(order)
    indices = place[np.concatenate([np.array(pairs) for pairs in folds])]
    same = np.tile(np.repeat([True, False], 30), 5)
    np.savez(
        tmp_path / "arrays.npz",
        features=faces[order],
        labels=person(order),
        some_pairs=np.column_stack([indices, same]),
        some_folds=np.repeat(np.arange(5), 60),
    )
    return tmp_path, faces[order], indices, same


def lfw_flags(folder: pathlib.Path) -> list[str]:
    return [
        f"--features={folder}/faces.npy",
        f"--names={folder}/names.txt",
        f"--protocol={folder}/pairs.txt",
    ]


def test_lfw_from_its_protocol_and_from_arrays(lfw):
    folder, features, indices, same = lfw
    grid = ["--k=3,6", "--threshold=0.45", "--preset=paper,affinity", "--resamples=20"]
    succeed("lfw", *lfw_flags(folder), *grid, f"--output_dir={folder}/a")
    result = succeed(
        "lfw",
        f"--features={folder}/arrays.npz",
        f"--labels={folder}/arrays.npz",
        f"--pairs={folder}/arrays.npz",
        "--pairs_key=some_pairs",
        "--folds_key=some_folds",
        *grid,
        f"--output_dir={folder}/b",
    )
    assert "warning: 300 pairs (expected 6,000)" in result.stderr
    assert (folder / "a" / "table.txt").read_text() in result.stdout
    reports = [
        check_cells(folder / name, features, indices, same, paper.LFW, num_rows=5)
        for name in "ab"
    ]
    assert reports[0]["rows"] == reports[1]["rows"]
    assert reports[0]["open_points"]["affinity"]["exponent"] == 3.0
    counts = {count["name"]: count["found"] for count in reports[0]["counts"]}
    assert (counts["pairs"], counts["folds"]) == (300, 5)
    for entry, refined in zip(reports[0]["rows"][:2], (None, 3), strict=True):
        _, scores = oracle_tprs(
            features, indices, same, (0.1,), k=refined, t=0.45, preset=oracle.PAPER
        )
        # The fold's own accuracy may not exceed what its own best threshold gives.
        for fold, accuracy in enumerate(entry["fold_accuracies"]):
            inside = slice(fold * 60, fold * 60 + 60)
            hits = (scores[inside, None] >= np.sort(scores)) == same[inside, None]
            assert 0.8 < accuracy <= hits.mean(axis=0).max()
        low, high = entry["tpr_at_fpr"][-1]["interval"]
        assert 0 < low <= entry["tpr_at_fpr"][-1]["tpr"] <= high <= 1


def cfp_name(image: int) -> str:
    kind = "frontal" if image % IMAGES < 5 else "profile"
    return f"{person(np.array(image)) + 1:03d}/{kind}/{image % IMAGES + 1:02d}.jpg"


@pytest.fixture
def cfp(tmp_path, faces, rng):
    """The folder Protocol: 5 frontals and 3 profiles a person, 10 folds."""
    images = np.arange(len(faces))
    lists = {"F": images[images % IMAGES < 5], "P": images[images % IMAGES >= 5]}
    root = tmp_path / "Protocol"
    first, second = (lists[kind][:, None] for kind in "FP")
    same = person(first) == person(second.T)
    indices, kinds = [], []
    for fold in range(10):
        split = root / "Split" / "FP" / f"{fold + 1:02d}"
        split.mkdir(parents=True)
        for name, allowed in (("same", same), ("diff", ~same)):
            pairs = rng.permutation(np.argwhere(allowed))[:12]
            lines = [f"{i + 1},{j + 1}\n" for i, j in pairs]
            (split / f"{name}.txt").write_text("".join(lines))
            indices += [(lists["F"][i], lists["P"][j]) for i, j in pairs]
            kinds += [name == "same"] * 12
    for kind, members in lists.items():
        lines = [f"{n} ../Data/Images/{cfp_name(i)}" for n, i in enumerate(members, 1)]
        (root / f"Pair_list_{kind}.txt").write_text("\n".join(lines))
    np.save(tmp_path / "faces.npy", faces)
    (tmp_path / "names.txt").write_text("\n".join(map(cfp_name, images.tolist())))
    return tmp_path, indices, kinds


def test_cfp_fp(cfp, faces):
    folder, indices, same = cfp
    result = succeed(
        "cfp_fp",
        f"--features={folder}/faces.npy",
        f"--names={folder}/names.txt",
        f"--protocol={folder}/Protocol",
        "--k=5,10",
        "--threshold=0.6,0.65",
        "--resamples=10",
        f"--output_dir={folder}/out",
    )
    assert "expected 7,000" in result.stderr
    assert "repeats the raw row" in result.stdout
    report = check_cells(folder / "out", faces, indices, same, paper.CFP_FP, num_rows=5)
    raw = report["rows"][0]
    assert len(raw["fold_accuracies"]) == 10
    _, scores = oracle_tprs(faces, np.array(indices), np.array(same), (), k=None, t=0)
    genuine, impostor = scores[np.array(same)], scores[~np.array(same)]
    wins = (genuine[:, None] > impostor).mean()
    assert raw["auc"] == pytest.approx(wins, abs=1e-4)
    assert raw["tpr_at_fpr"][0]["interval"][0] is not None


# --- YouTube Faces ------------------------------------------------------------------


@pytest.fixture
def ytf(tmp_path, faces, rng):
    """Videos of 3 to 6 frames, and splits.txt."""
    videos = [f"Person_{i // IMAGES:02d}/{i % IMAGES}" for i in range(PEOPLE * IMAGES)]
    owner = rng.permutation(np.repeat(np.arange(len(videos)), rng.integers(3, 7, 96)))
    frames = faces[owner] + 0.2 * rng.standard_normal((len(owner), 24), np.float32)
    np.save(tmp_path / "frames.npy", frames)
    names = [f"data\\{videos[v]}\\{n}.jpg" for n, v in enumerate(owner)]
    (tmp_path / "frames.txt").write_text("\n".join(names).replace("\\", "/"))
    folds = choose_pairs(rng, folds=2, half=60)
    table = [
        (fold, i, j, int(person(np.array(i)) == person(np.array(j))))
        for fold in range(2)
        for i, j in folds[2 * fold] + folds[2 * fold + 1]
    ]
    lines = ["split number, pair number, first name, second name, is same"] + [
        f"{fold + 1}, {n}, {videos[i]}, {videos[j]}, {same}"
        for n, (fold, i, j, same) in enumerate(table)
    ]
    (tmp_path / "splits.txt").write_text("\r\n".join(lines))
    splits = np.array([(i, j, same) for _, i, j, same in table])
    sums = np.zeros((len(videos), 24))
    np.add.at(sums, owner, frames)
    return tmp_path, sums, splits[:, :2], splits[:, 2]


def test_ytf(ytf):
    folder, sums, indices, same = ytf
    succeed(
        "ytf",
        f"--features={folder}/frames.npy",
        f"--names={folder}/frames.txt",
        f"--splits={folder}/splits.txt",
        "--k=5,20",
        "--threshold=0.55",
        "--resamples=0",
        f"--output_dir={folder}/out",
    )
    report = check_cells(folder / "out", sums, indices, same, paper.YTF, num_rows=3)
    assert report["notes"]["frames"] > len(sums)
    assert len(report["rows"][0]["fold_accuracies"]) == 2


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"protocol": None}, "name one of --protocol, with --names, and --pairs"),
        ({"names": None}, "tell each row's with --names"),
        ({"names": "short.txt"}, "got 95 names, expected 96"),
        ({"names": "other.txt"}, "are not among the 96 row names"),
        ({"protocol": "bad.txt"}, "bad.txt, line 2: got"),
        ({"threshold": "0.5,x"}, "--threshold=0.5,x"),
        ({"k": "96"}, "k is 96 with 96 rows"),
        ({"preset": "bold"}, "--preset=bold"),
    ],
)
def test_bad_lfw_is_refused(lfw, edit, message):
    folder = lfw[0]
    names = (folder / "names.txt").read_text()
    (folder / "short.txt").write_text(names[: names.rindex("\n")])
    (folder / "other.txt").write_text(names.replace("Person_03", "Person_99"))
    (folder / "bad.txt").write_text("1\t1\nAnn\t1\n")
    given = dict(flag.removeprefix("--").split("=") for flag in lfw_flags(folder))
    for flag, value in edit.items():
        is_file = flag in ("names", "protocol")
        given[flag] = f"{folder}/{value}" if is_file and value else value
    flags = [f"--{flag}={value}" for flag, value in given.items() if value]
    refuse(folder, message, *flags, module="lfw")


def test_labels_that_contradict_the_pairs_give_no_intervals(lfw):
    folder = lfw[0]
    np.save(folder / "labels.npy", np.arange(96) // 2)
    result = succeed(
        "lfw",
        f"--features={folder}/arrays.npz",
        f"--labels={folder}/labels.npy",
        f"--pairs={folder}/arrays.npz",
        "--pairs_key=some_pairs",
        "--k=3",
        "--threshold=0.5",
        f"--output_dir={folder}/out",
    )
    assert "contradict the identities; no bootstrap intervals" in result.stderr
    assert "identities drawn anew" not in result.stdout
    assert "accuracy" not in result.stdout
