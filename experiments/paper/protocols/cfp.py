"""Celebrities in Frontal-Profile: the folder `Protocol`, ten folds a kind.

    Pair_list_F.txt, Pair_list_P.txt        number from 1, path: frontals, profiles
    Split/FF/{01..10}/{same,diff}.txt       i,j  two frontals
    Split/FP/{01..10}/{same,diff}.txt       i,j  a frontal and a profile

insightface also hands out this protocol as a `.bin`, a pickle of the images, which can
run code when opened and is never opened here.
"""

import os
import pathlib
from typing import Literal, get_args

import numpy as np

from experiments.paper.protocols.counts import Count, count_pairs
from experiments.paper.protocols.lines import malformed, text_lines, to_integer
from experiments.paper.protocols.names import PairList
from gfa_jax.datasets.pairs import Pairs

Kind = Literal["FP", "FF"]
_FOLDS, _HALF = 10, 3500
_FRONTALS, _PROFILES = 5000, 2000


def read_cfp(folder: str | os.PathLike[str], *, kind: Kind = "FP") -> PairList:
    """Reads one of the two verification protocols of CFP.

    Args:
        folder: the folder `Protocol`, as it was distributed.
        kind: "FP" for frontal-profile pairs, "FF" for frontal-frontal pairs.

    Returns:
        The pairs. `names` are the frontals in the order of their list and, for "FP",
        the profiles after them.

    Raises:
        ValueError: no such folder or a file of it missing, a malformed line (named by
            file and number), or a number that the list does not have.
    """
    folder = pathlib.Path(folder)
    if kind not in get_args(Kind):
        raise ValueError(
            f"kind is {kind!r}; expected one of {', '.join(get_args(Kind))}"
        )
    if not folder.is_dir():
        raise ValueError(
            f"cannot read {folder}: not a folder; name CFP's folder Protocol (a .bin "
            "of its images is a pickle, not a protocol)"
        )
    frontals = _read_list(folder / "Pair_list_F.txt")
    profiles = _read_list(folder / "Pair_list_P.txt") if kind == "FP" else []
    names = frontals + profiles
    first = range(len(frontals))
    second = range(len(frontals), len(names)) if kind == "FP" else first
    indices, same, folds = [], [], []
    for fold in range(_FOLDS):
        for file, genuine in (("same.txt", True), ("diff.txt", False)):
            path = folder / "Split" / kind / f"{fold + 1:02d}" / file
            block = _read_pairs(path, first, second)
            indices += block
            same += [genuine] * len(block)
            folds += [fold] * len(block)
    same = np.array(same, np.bool_)
    counts = (
        Count("frontal images", len(frontals), _FRONTALS),
        *([Count("profile images", len(profiles), _PROFILES)] if profiles else []),
        Count("folds", _FOLDS, _FOLDS),
        *count_pairs(same, total=2 * _HALF, genuine=_HALF, impostor=_HALF),
    )
    pairs = Pairs(np.array(indices, np.int64).reshape(-1, 2), same)
    return PairList(np.array(names, np.str_), pairs, np.array(folds, np.int32), counts)


def _read_list(path: pathlib.Path) -> list[str]:
    names: list[str] = []
    for number, line in text_lines(path):
        fields = line.split(maxsplit=1)
        if len(fields) != 2 or to_integer(fields[0]) != len(names) + 1:
            raise malformed(path, number, line, f"'{len(names) + 1} path' of an image")
        names.append(fields[1])
    return names


def _read_pairs(
    path: pathlib.Path, first: range, second: range
) -> list[tuple[int, int]]:
    """Reads pairs of numbers from 1, each into the positions of its column."""
    pairs = []
    for number, line in text_lines(path):
        i, j = (to_integer(field) or 0 for field in (line + ",").split(",")[:2])
        if (
            line.count(",") != 1
            or not 1 <= i <= len(first)
            or not 1 <= j <= len(second)
        ):
            raise malformed(
                path, number, line, f"'i,j' from 1 to {len(first)} and {len(second)}"
            )
        pairs.append((first[i - 1], second[j - 1]))
    return pairs
