"""The published figures of the MS1M clustering protocol, to stand beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

# Rows of the published columns, to three figures.
_SIZES = (584_000, 1_740_000, 2_890_000, 4_050_000, 5_210_000)
# Pairwise F / BCubed F in percent, from the project pages of learn-to-cluster, STAR-FC,
# Ada-NETS, B-Attention and FC-ESER, and FaceMap's paper; None where none was published.
PUBLISHED: Mapping[str, Sequence[tuple[float, float] | None]] = {
    "k-means": ((79.21, 81.23), (73.04, 75.20), (69.83, 72.34), (67.90, 70.57),
                (66.47, 69.42)),
    "HAC, single link": ((70.63, 70.46), (54.40, 69.53), (11.08, 68.62), (1.40, 67.69),
                         (0.37, 66.96)),
    "DBSCAN": ((67.93, 67.17), (63.41, 66.53), (52.50, 66.26), (45.24, 44.87),
               (44.94, 44.74)),
    "CDP": ((75.02, 78.70), (70.75, 75.82), (69.51, 74.58), (68.62, 73.62),
            (68.06, 72.92)),
    "L-GCN": ((78.68, 84.37), (75.83, 81.61), (74.29, 80.11), (73.70, 79.33),
              (72.99, 78.60)),
    "GCN-V+E": ((87.93, 86.09), (84.04, 82.84), (82.10, 81.24), (80.45, 80.09),
                (79.30, 79.25)),
    "STAR-FC": ((91.97, 90.21), (88.28, 86.26), (86.17, 84.13), (84.70, 82.63),
                (83.46, 81.47)),
    "Ada-NETS": ((92.79, 91.40), (89.33, 87.98), (87.50, 86.03), (85.40, 84.48),
                 (83.99, 83.28)),
    "Infomap": ((93.91, 92.42), (90.10, 89.08), (88.49, 87.30), (85.31, 86.01),
                (83.08, 85.01)),
    "B-Attention+Infomap": ((94.94, 93.67), (91.74, 90.81), (89.50, 89.15),
                            (87.04, 87.81), (85.40, 86.76)),
    "FaceMap": ((94.24, 92.55), (91.31, 89.67), (89.32, 88.20), (87.74, 87.11),
                (86.37, 86.29)),
    "FC-ES": (None, None, None, None, (88.75, 87.23)),
    "FC-ESER": (None, None, None, None, (89.40, 88.80)),
}  # fmt: skip


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Lays pairwise F / BCubed F in percent out, our rules above the published.

    Args:
        results: `part`, `rows`, `rule` and `scores` of each part and rule.

    Returns:
        Lines; a part of another size than the published ones has a column of its own.
    """
    parts = {each["part"]: each["rows"] for each in results}
    width = 16
    lines = [
        f"{'pairwise F/BCubed F':24}" + "".join(f"{part:>{width}}" for part in parts),
        f"{'rows':24}" + "".join(f"{rows:>{width},}" for rows in parts.values()),
    ]
    for rule in dict.fromkeys(each["rule"] for each in results):
        cells = [
            tuple(100 * each["scores"][of]["f_score"] for of in ("pairwise", "bcubed"))
            for each in results
            if each["rule"] == rule
        ]
        lines.append(_line(rule, cells, width))
    columns = [_column(rows) for rows in parts.values()]
    if all(column is None for column in columns):
        lines.append("no part has the rows of a published column (within 1 %)")
        return "\n".join(lines)
    lines.append("published:")
    for name, figures in PUBLISHED.items():
        cells = [None if c is None else figures[c] for c in columns]
        lines.append(_line(name, cells, width))
    return "\n".join(lines)


def _column(rows: int) -> int | None:
    """Finds the published column of a size, within 1 %."""
    for column, size in enumerate(_SIZES):
        if abs(rows - size) <= size // 100:
            return column
    return None


def _line(name: str, cells: Sequence[Sequence[float] | None], width: int) -> str:
    texts = (
        "–" if cell is None else "/".join(f"{figure:.2f}" for figure in cell)
        for cell in cells
    )
    return f"{name:24}" + "".join(f"{text:>{width}}" for text in texts)
