"""YouTube Faces: ten folds of video pairs, as text or as a MATLAB file.

    splits.txt            fold, pair, Name/video, Name/video, same
    splits_corrected.txt  the same with six columns, the label in the last
    meta_and_splits.mat   `video_names` and `Splits` [pairs, 3, folds], from 1

Folds are numbered from 1 in the files and from 0 here. A pair is scored by the pooled
frames of each video (`pool`, method "sum").
"""

import os
from typing import Any

import numpy as np

from experiments.paper.protocols.counts import Count, count_pairs
from experiments.paper.protocols.lines import malformed, text_lines, to_integer
from experiments.paper.protocols.names import PairList
from gfa_jax.datasets.arrays import open_input, whole_numbers
from gfa_jax.datasets.pairs import Pairs

_PAIRS, _HALF, _FOLDS, _VIDEOS = 5000, 2500, 10, 3425
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
    half = _HALF if width == _PLAIN else None
    return _pair_list(names, indices.reshape(-1, 2), folds, np.array(same), half, None)


def read_ytf_mat(path: str | os.PathLike[str]) -> PairList:
    """Reads `meta_and_splits.mat` of YTF.

    Args:
        path: the file, of any MATLAB format before 7.3.

    Returns:
        The pairs; `names` are all videos, in the order of the file.

    Raises:
        ValueError: not such a file, no `video_names` or `Splits` in it, another shape,
            a video number outside the list, a label other than 0 and 1, or a video
            that is listed twice.
    """
    content = _load_mat(path)
    names = np.array(
        [str(*np.ravel(cell)) for cell in content["video_names"].flat], np.str_
    )
    distinct, times = np.unique(names, return_counts=True)
    if (times > 1).any():
        raise ValueError(
            f"{path}: video {str(distinct[times > 1][0])!r} is listed twice"
        )
    splits = content["Splits"]
    if splits.ndim != 3 or splits.shape[1] != 3 or splits.size == 0:
        raise ValueError(
            f"{path}: Splits has shape {splits.shape}, expected [pairs, 3, folds]"
        )
    # Fold by fold, as splits.txt lists them.
    table = whole_numbers(np.moveaxis(splits, 2, 0), name=f"{path}, Splits")
    num_folds, pairs_a_fold, _ = table.shape
    table = table.reshape(-1, 3)
    videos, label = table[:, :2], table[:, 2]
    if (
        videos.min() < 1
        or videos.max() > len(names)
        or not np.isin(label, (0, 1)).all()
    ):
        raise ValueError(
            f"{path}: Splits holds videos {videos.min()} to {videos.max()} and labels "
            f"{label.min()} to {label.max()}, expected 1 to {len(names)}, and 0 or 1"
        )
    folds = np.repeat(np.arange(num_folds, dtype=np.int32), pairs_a_fold)
    return _pair_list(names, videos - 1, folds, label == 1, _HALF, _VIDEOS)


def _pair_list(
    names: np.ndarray,
    indices: np.ndarray,
    folds: np.ndarray,
    same: np.ndarray,
    half: int | None,
    videos: int | None,
) -> PairList:
    counts = (
        Count("videos", len(names), videos),
        Count("folds", len(np.unique(folds)), _FOLDS),
        *count_pairs(same, total=_PAIRS, genuine=half, impostor=half),
    )
    return PairList(names, Pairs(indices, same), folds, counts)


def _check_places(places: list[tuple[int, int, int]], source: str) -> None:
    lines: dict[tuple[int, int], int] = {}
    for fold, pair, number in places:
        first = lines.setdefault((fold, pair), number)
        if first != number:
            raise ValueError(
                f"{source}, line {number}: pair {pair} of fold {fold} stands in line "
                f"{first} too"
            )


def _load_mat(path: str | os.PathLike[str]) -> dict[str, Any]:
    import scipy.io

    wanted = ("video_names", "Splits")
    with open_input(path) as file:
        try:
            content = scipy.io.loadmat(file, variable_names=wanted)
        except Exception as error:  # scipy raises a dozen kinds on a damaged file
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"cannot read {path}: not a whole MATLAB file before version 7.3 "
                f"({reason})"
            ) from error
    for name in wanted:
        if name not in content:
            raise ValueError(
                f"cannot read {path}: no array {name!r} in it; is it YTF's "
                "meta_and_splits.mat?"
            )
    return content
