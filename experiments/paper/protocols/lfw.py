"""Labeled Faces in the Wild: `pairs.txt`, ten folds of genuine and impostor pairs.

    10<tab>300                          folds, pairs of each kind a fold
    Name<tab>1<tab>4                    two images of one person
    Name<tab>2<tab>Other_Name<tab>1     one image of each of two

In each fold the genuine pairs come first. Copies without the first line exist. Image
i of a person is `Name/Name_%04d.jpg`.
"""

import os

import numpy as np

from experiments.paper.protocols.counts import Count, count_pairs
from experiments.paper.protocols.lines import malformed, text_lines, to_integer
from experiments.paper.protocols.names import PairList
from gfa_jax.datasets.pairs import Pairs

_FOLDS, _PAIRS_A_FOLD = 10, 300
_EXPECTED = (
    "'name i j' for two images of one person or 'name i other_name j' for two people"
)


def read_lfw_pairs(path: str | os.PathLike[str]) -> PairList:
    """Reads `pairs.txt` of LFW, with or without its header.

    Args:
        path: the file, separated by tabs; by other blanks in lines without a tab.

    Returns:
        The pairs; `names` ascend. Without a header a fold begins at every genuine
        pair that follows an impostor pair.

    Raises:
        ValueError: missing or empty file, a malformed line (named by its number), or
            a number of pairs in a fold that is not the header's.
    """
    header, images, same = None, [], []
    for number, line in text_lines(path):
        tabs = line.count("\t")
        fields = [field.strip() for field in line.split("\t" if tabs else None)]
        if number == 1 and _is_header(fields):
            header = int(fields[0]), int(fields[1])
            continue
        pair = _parse(fields)
        if pair is None:
            raise malformed(path, number, line, _EXPECTED)
        images.extend(pair)
        same.append(len(fields) == 3)
    same = np.array(same, np.bool_)
    folds = _number_folds(same)
    if header is not None:
        _check_folds(same, folds, header, str(path))
    num_folds, pairs_a_fold = header or (_FOLDS, _PAIRS_A_FOLD)
    half = num_folds * pairs_a_fold
    names, indices = np.unique(np.array(images, np.str_), return_inverse=True)
    counts = (
        Count("images", len(names), None),
        Count("folds", len(np.unique(folds)), num_folds),
        *count_pairs(same, total=2 * half, genuine=half, impostor=half),
    )
    return PairList(names, Pairs(indices.reshape(-1, 2), same), folds, counts)


def _is_header(fields: list[str]) -> bool:
    return len(fields) == 2 and None not in map(to_integer, fields)


def _parse(fields: list[str]) -> tuple[str, str] | None:
    if len(fields) == 3:
        first, i, j = fields
        second = first
    elif len(fields) == 4 and fields[0] != fields[2]:
        first, i, second, j = fields
    else:
        return None
    i, j = to_integer(i), to_integer(j)
    # Neither an image 0, nor one that is no number, nor an image with itself.
    if not i or not j or (first, i) == (second, j):
        return None
    return f"{first}/{first}_{i:04d}.jpg", f"{second}/{second}_{j:04d}.jpg"


def _number_folds(same: np.ndarray) -> np.ndarray:
    begins = same[1:] & ~same[:-1]
    return np.concatenate([[0], np.cumsum(begins)]).astype(np.int32)[: len(same)]


def _check_folds(
    same: np.ndarray, folds: np.ndarray, header: tuple[int, int], source: str
) -> None:
    num_folds, pairs_a_fold = header
    size = 1 + int(folds.max(initial=-1))
    found = np.stack(
        [np.bincount(folds[same == kind], minlength=size) for kind in (True, False)]
    )
    if found.shape != (2, num_folds) or (found != pairs_a_fold).any():
        genuine, impostor = found.sum(axis=1)
        raise ValueError(
            f"{source}: got {genuine} genuine and {impostor} impostor pairs in "
            f"{found.shape[1]} folds, expected {pairs_a_fold} of each in each of the "
            f"header's {num_folds} folds; the file is cut short or damaged"
        )
