"""Names of images and videos, and the feature rows that they stand for.

Protocols name files; features are rows of a matrix, whose order a list of names
gives. The folders in front differ from machine to machine and the suffix from crop to
crop, so a name is compared by its last parts: two names are one if the shorter ends
the longer, the suffix of an image aside, both in Unicode's form NFC.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.paper.protocols.counts import Count
from experiments.paper.protocols.lines import text_lines
from gfa_jax.datasets.pairs import Pairs

_IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|webp|ppm)$", re.IGNORECASE)
_AMBIGUOUS = -1


class PairList(NamedTuple):
    """A verification protocol over named images or videos."""

    names: np.ndarray  # [N] str, every image or video of the protocol once
    pairs: Pairs  # pairs of positions in `names`, with `same` known
    folds: np.ndarray  # [M] int32 fold of each pair, from 0
    counts: tuple[Count, ...]  # what was read beside what was published


def read_names(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads the names of feature rows, [R], one a line: line i names row i − 1."""
    return np.array([line for _, line in text_lines(path)], np.str_)


def match_names(names: Iterable[str], row_names: Iterable[str]) -> np.ndarray:
    """Finds the feature row of every name.

    All names are cut to the number of path components that the shortest one has, on
    either side: "lfw/A/A_0001.png" and "A/A_0001.jpg" are both "A/A_0001". Cost
    O(N + R); memory 8 bytes a name, and two strings for every different one and for
    every row.

    Args:
        names: N names, repeats allowed.
        row_names: R names, that of every feature row.

    Returns:
        [N] int64 row numbers in [0, R).

    Raises:
        ValueError: an empty name, a name that no row has or that fits two rows, or
            two names that fit one row because the shortest name is too short to tell
            them apart.
    """
    places: dict[str, int] = {}
    inverse = np.fromiter(
        (places.setdefault(name, len(places)) for name in _strings(names)), np.int64
    )
    listed = list(_strings(row_names))
    depth = min((len(_components(name)) for name in (*places, *listed)), default=1)
    if depth == 0:
        raise ValueError("names: got an empty one; expected every row and file named")
    rows: dict[str, int] = {}
    for row, name in enumerate(listed):
        key = _key(name, depth)
        rows[key] = _AMBIGUOUS if key in rows else row
    keys = [_key(name, depth) for name in places]
    _check_matches(list(places), keys, rows, len(listed))
    return np.array([rows[key] for key in keys], np.int64)[inverse]


def match_folders(names: Iterable[str], folder_names: Iterable[str]) -> np.ndarray:
    """Finds the video of every frame, [M]: the one named like the frame's folder.

    What `pool` takes as `segments`. Cost, memory and errors as for `match_names`.
    """
    folders = (name.replace("\\", "/").rpartition("/")[0] for name in _strings(names))
    return match_names(folders, folder_names)


def _strings(names: Iterable[str]) -> Iterable[str]:
    # Plain strings: NumPy's own, one by one, are slow and large.
    return names.tolist() if isinstance(names, np.ndarray) else names


def _components(name: str) -> list[str]:
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    parts = _IMAGE_SUFFIX.sub("", name).split("/")
    return [part for part in parts if part not in ("", ".", "..")]


def _key(name: str, depth: int) -> str:
    parts = _components(name)
    return "/".join(parts[len(parts) - depth :])


def _check_matches(
    names: list[str], keys: list[str], rows: dict[str, int], num_rows: int
) -> None:
    missing = [name for name, key in zip(names, keys, strict=True) if key not in rows]
    if missing:
        raise ValueError(
            f"names: {len(missing)} of {len(names)} are not among the {num_rows} row "
            f"names, first {missing[0]!r}; is the list of the same images?"
        )
    owners: dict[str, str] = {}
    for name, key in zip(names, keys, strict=True):
        if rows[key] == _AMBIGUOUS or owners.setdefault(key, name) != name:
            raise ValueError(
                f"names: {key!r} stands for more than one row or name; list the rows "
                "with their folders, each once"
            )
