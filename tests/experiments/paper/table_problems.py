"""Small faces for the paper's tables, and the oracle that their cells are held to."""

import json

import numpy as np

from tests import oracle

PEOPLE, IMAGES = 12, 8


def make_faces() -> np.ndarray:
    """Rows of 12 people, 8 images each, person by person, of varied length."""
    rng = np.random.default_rng(5)
    centers = rng.standard_normal((PEOPLE, 1, 24))
    rows = centers + 0.9 * rng.standard_normal((PEOPLE, IMAGES, 24))
    rows *= rng.uniform(0.5, 2, (PEOPLE, IMAGES, 1))
    return rows.reshape(-1, 24).astype(np.float32)


def person(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows) // IMAGES


def choose_pairs(rng, *, folds: int, half: int) -> list[list[tuple[int, int]]]:
    """Genuine pairs, then impostor pairs, of every fold; no pair twice."""
    first, second = np.triu_indices(PEOPLE * IMAGES, 1)
    same = person(first) == person(second)
    chosen = []
    for kind in (same, ~same):
        places = rng.permutation(np.flatnonzero(kind))[: folds * half]
        listed = list(zip(first[places].tolist(), second[places].tolist(), strict=True))
        chosen.append([listed[n * half : (n + 1) * half] for n in range(folds)])
    return [pairs for fold in zip(*chosen, strict=True) for pairs in fold]


def oracle_tprs(features, pairs, same, fprs, *, k, t, preset=oracle.PAPER, num_steps=4):
    """TPR at each FPR by NumPy alone; k=None for the raw features."""
    F = oracle.unit_rows(features.astype(np.float64))
    if k is not None:
        indices = oracle.exact_neighbors(F, k).indices
        F = oracle.aggregate(F, indices, 0.5, t, num_steps=num_steps, **preset).features
    scores = np.einsum("md,md->m", F[pairs[:, 0]], F[pairs[:, 1]])
    genuine, impostor = scores[same], np.sort(scores[~same])[::-1]
    # The best threshold lets in all but the first impostor that is one too many.
    limits = np.append(impostor, -np.inf)[[int(x * len(impostor)) for x in fprs]]
    return (genuine > limits[:, None]).mean(axis=1), scores


def check_gains(raw, entry, lines):
    """A gain is the difference of two cells; its interval stands in the table."""
    shown = []
    for before, point in zip(raw["tpr_at_fpr"], entry["tpr_at_fpr"], strict=True):
        if entry["setting"] is None:
            assert "gain" not in point
        else:
            assert point["gain"] == point["tpr"] - before["tpr"]
            shown.append(point["gain_interval"])
    if entry["setting"] and "fold_accuracies" in entry:
        folds = np.subtract(entry["fold_accuracies"], raw["fold_accuracies"])
        error = folds.std(ddof=1) / np.sqrt(len(folds))
        cells = f"{entry['auc'] - raw['auc']:+.4f} {folds.mean():+.4f} ±{error:.4f}"
        assert any(line.endswith(cells) for line in lines)
    if shown and None not in shown[0]:
        assert all(low <= high for low, high in shown)
        cells = " ".join(f"{low:+.4f}..{high:+.4f}" for low, high in shown)
        assert any(line.endswith(cells) for line in lines)


def check_cells(folder, features, pairs, same, table, *, num_rows):
    """Every row of the report, and of the table in words, is the oracle's."""
    report = json.loads((folder / "report.json").read_text())
    text = (folder / "table.txt").read_text()
    pairs, same = np.asarray(pairs), np.asarray(same, bool)
    assert report["pool"]["rows"] == len(features)
    assert len(report["rows"]) == num_rows
    for entry in report["rows"]:
        setting = entry["setting"]
        k, t, preset = (
            (setting["k"], setting["threshold"], setting["preset"])
            if setting
            else (None, None, "paper")
        )
        expected, _ = oracle_tprs(
            features,
            pairs,
            same,
            table.fprs,
            k=k,
            t=t,
            preset=oracle.PAPER if preset == "paper" else oracle.SAFE,
        )
        points = entry["tpr_at_fpr"]
        found = np.array([point["tpr"] for point in points])
        # One pair more or less where two scores are one in float32.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1.5 / same.sum())
        assert (entry["genuine_pairs"], entry["impostor_pairs"]) == (
            same.sum(),
            (~same).sum(),
        )
        name = f"{preset} {k} {t:.2f}" if setting else "raw - -"
        lines = [" ".join(line.split()) for line in text.splitlines()]
        cells = " ".join(
            f"{point['tpr']:.4f} ({point['false_accepts']})"
            + "*" * (point["false_accepts"] < 10)
            for point in points
        )
        assert any(line.startswith(f"{name} {cells} ") for line in lines)
        check_gains(report["rows"][0], entry, lines)
        printed = table.cells.get((k, t), ()) if setting else table.raw
        assert entry["paper"] == (list(printed) or None)
        if printed:
            difference = " ".join(f"{d:+.4f}" for d in found - printed)
            assert f"{name} {difference}" in lines
    assert report["open_points"]["paper"].items() >= {
        ("weighting", "uniform"),
        ("graph", "rescore"),
        ("include_self", True),
        ("renormalize", True),
        ("gamma", 0.5),
        ("num_steps", 4),
        ("rule", "conservative"),
    }
    assert (folder / "roc.png").read_bytes().startswith(b"\x89PNG")
    return report
