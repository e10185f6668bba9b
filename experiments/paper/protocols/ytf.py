"""YouTube Faces: ten folds of video pairs.

    splits.txt            fold, pair, Name/video, Name/video, same
    splits_corrected.txt  the same with six columns, the label in the last

Folds are numbered from 1 in the files and from 0 here. A pair is scored by the pooled
frames of each video (`pool`, method "sum").
"""

import os

import numpy as np

from experiments.paper.protocols.counts import Count, count_pairs
from experiments.paper.protocols.lines import malformed, text_lines, to_integer
from experiments.paper.protocols.names import PairList
from gfa_jax.datasets.pairs import Pairs

_PAIRS, _HALF, _FOLDS = 5000, 2500, 10
_PLAIN, _CORRECTED = 5, 6


def read_ytf_splits(path: str | os.PathLike[str]) -> PairList:
    """Reads `splits.txt` or `splits_corrected.txt`, with or without a header.

    The number of columns of the first pair tells which: the label is the last of five
    or of six. Only the first of the two has published numbers of genuine and impostor
    pairs.

    Args:
        path: the file, separated by commas.

    Returns:
        The pairs; `names` ascend and read "Name/video".

    Raises:
        ValueError: missing or empty file, a malformed line (named by its number), a
            pair number that a fold has twice, or no pair.
    """
    width, videos, same, places = None, [], [], []
    for number, line in text_lines(path):
        fields = [field.strip() for field in line.split(",")]
        integers = [to_integer(field) for field in fields]
        if number == 1 and not any(integer is not None for integer in integers):
            continue
        if width is None and len(fields) in (_PLAIN, _CORRECTED):
            width = len(fields)
        fold, label = integers[0], integers[-1]
        if (
            len(fields) != width
            or not fold
            or integers[1] is None
            or label not in (0, 1)
            or not all(fields[2:4])
        ):
            raise malformed(
                path,
                number,
                line,
                f"{width or f'{_PLAIN} or {_CORRECTED}'} fields: fold from 1, pair, "
                "video, video, …, 1 for the same person or 0",
            )
        places.append((fold, integers[1], number))
        videos.extend(fields[2:4])
        same.append(label == 1)
    if not places:
        raise ValueError(f"cannot read {path}: it holds only a header line")
    _check_places(places, str(path))
    names, indices = np.unique(np.array(videos, np.str_), return_inverse=True)
    folds = np.array([fold - 1 for fold, *_ in places], np.int32)
    same = np.array(same)
    half = _HALF if width == _PLAIN else None
    counts = (
        Count("videos", len(names), None),
        Count("folds", len(np.unique(folds)), _FOLDS),
        *count_pairs(same, total=_PAIRS, genuine=half, impostor=half),
    )
    return PairList(names, Pairs(indices.reshape(-1, 2), same), folds, counts)


def _check_places(places: list[tuple[int, int, int]], source: str) -> None:
    lines: dict[tuple[int, int], int] = {}
    for fold, pair, number in places:
        first = lines.setdefault((fold, pair), number)
        if first != number:
            raise ValueError(
                f"{source}, line {number}: pair {pair} of fold {fold} stands in line "
                f"{first} too"
            )
