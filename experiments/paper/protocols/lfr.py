"""ICCV19 lightweight face recognition challenge: the order of its feature rows.

    filelist.txt (image track)   path of an image a line           TrillionPairs
    filelist.txt (video track)   name of a video, first of a line  iQIYI-VID

The features themselves are the `.bin` of `read_features`. The frames of a video lie in
the folder of its name; `match_folders` and `pool` turn them into rows. Who is who was
never published (insightface, challenges/iccv19-lfr).
"""

import os
from typing import Literal, NamedTuple, get_args

import numpy as np

from experiments.paper.protocols.counts import Count
from experiments.paper.protocols.lines import malformed, text_lines

Track = Literal["image", "video"]
_ROWS = {"image": 1_862_120, "video": 203_848}


class FileList(NamedTuple):
    """The rows of a track."""

    names: np.ndarray  # [N] str image or video of each feature row
    counts: tuple[Count, ...]  # what was read beside what was published


def read_lfr_filelist(path: str | os.PathLike[str], *, track: Track) -> FileList:
    """Reads `filelist.txt` of a track.

    Args:
        path: the file.
        track: "image", where a line is a path, or "video", where the first word of a
            line is the name of a video.

    Returns:
        The names, in the order of the feature rows.

    Raises:
        ValueError: unknown track, missing or empty file, text that is not UTF-8, or a
            name that is listed twice (named by its lines).
    """
    if track not in _ROWS:
        raise ValueError(
            f"track is {track!r}; expected one of {', '.join(get_args(Track))}"
        )
    lines: dict[str, int] = {}
    for number, line in text_lines(path):
        name = line if track == "image" else line.split()[0]
        first = lines.setdefault(name, number)
        if first != number:
            raise malformed(path, number, name, f"each once; it is in line {first} too")
    names = np.array(list(lines), np.str_)
    return FileList(names, (Count(f"{track}s", len(names), _ROWS[track]),))
