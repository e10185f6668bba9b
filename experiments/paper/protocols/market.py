"""Market-1501: identity and camera are in the name of an image.

0002_c1s1_000451_03.jpg     person 2, camera 1
0000_c1s1_000151_01.jpg     person 0: a distractor, never a match
-1_c1s1_000401_03.jpg       person −1: a bad detection, left out of every ranking
"""

import os
import pathlib
import re
from typing import Literal, NamedTuple, get_args

import numpy as np

from experiments.paper.protocols.counts import Count
from experiments.paper.protocols.names import read_names

Subset = Literal["train", "query", "gallery"]
# Kept images and identities, as torchreid states them.
_PUBLISHED = {"train": (12_936, 751), "query": (3_368, 750), "gallery": (15_913, 750)}
_NAME = re.compile(r"(-1|[0-9]+)_c([1-9][0-9]*)")
_LEFT_OUT, _DISTRACTOR = -1, 0


class MarketImages(NamedTuple):
    """The images of a subset that count."""

    # [N] int64 position of each among all names, bad detections included:
    # `features[rows]` where the features follow the names.
    rows: np.ndarray
    names: np.ndarray  # [N] str
    identities: np.ndarray  # [N] int64 person; 0 is a distractor
    cameras: np.ndarray  # [N] int64 camera, from 1
    counts: tuple[Count, ...]  # what was read beside what was published


def read_market(path: str | os.PathLike[str], *, subset: Subset) -> MarketImages:
    """Reads identities and cameras from file names.

    Args:
        path: the folder of the images (`bounding_box_train`, `query` or
            `bounding_box_test`), whose `.jpg` files are taken in ascending order, or a
            text file with one name a line.
        subset: "train", "query" or "gallery", for the published counts.

    Returns:
        The images without the bad detections.

    Raises:
        ValueError: unknown subset, missing or empty folder or file, or a name of
            another form.
    """
    if subset not in _PUBLISHED:
        raise ValueError(
            f"subset is {subset!r}; expected one of {', '.join(get_args(Subset))}"
        )
    is_folder = pathlib.Path(path).is_dir()
    names = _list_folder(path) if is_folder else read_names(path)
    parsed = np.array(
        [
            _parse(name, str(path) if is_folder else f"{path}, line {number}")
            for number, name in enumerate(names.tolist(), 1)
        ],
        np.int64,
    )
    rows = np.flatnonzero(parsed[:, 0] != _LEFT_OUT)
    identities, cameras = parsed[rows].T
    people = np.unique(identities[identities != _DISTRACTOR])
    images, persons = _PUBLISHED[subset]
    counts = (
        Count("images", len(rows), images),
        Count("identities", len(people), persons),
        Count("distractors", int(np.count_nonzero(identities == _DISTRACTOR)), None),
        Count("bad detections left out", len(names) - len(rows), None),
    )
    return MarketImages(rows, names[rows], identities, cameras, counts)


def _list_folder(path: str | os.PathLike[str]) -> np.ndarray:
    names = sorted(file.name for file in pathlib.Path(path).glob("*.jpg"))
    if not names:
        raise ValueError(f"cannot read {path}: no .jpg file in the folder")
    return np.array(names, np.str_)


def _parse(name: str, source: str) -> tuple[int, int]:
    found = _NAME.match(name.replace("\\", "/").rpartition("/")[2])
    if found is None:
        raise ValueError(
            f"{source}: got the name {name!r}, expected PERSON_cCAMERA…, as in "
            "0002_c1s1_000451_03.jpg"
        )
    person, camera = found.groups()
    return int(person), int(camera)
