"""IJB-C test 1, 1:1 templates: several images and videos a template.

insightface's form (recognition/_evaluation_/ijb), all without header, by blanks:

    ijbc_face_tid_mid.txt         image template medium, row i is feature row i
    ijbc_template_pair_label.txt  template template label
    ijbc_name_5pts_score.txt      image x1 y1 … x5 y5 score, row i likewise

NIST's form: ijbc_1N_gallery_G1.csv, ijbc_1N_gallery_G2.csv, ijbc_1N_probe_mixed.csv
(see `ijbc_csv`) and ijbc_11_G1_G2_matches.csv, template,template without header.
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.paper.protocols.counts import Count, count_pairs
from experiments.paper.protocols.ijbc_csv import FaceTable, read_face_table
from experiments.paper.protocols.lines import malformed, text_lines, to_integer
from experiments.paper.protocols.template_ids import (
    index_templates,
    read_template_pairs,
)
from gfa_jax.datasets.pairs import Pairs

_FACES, _TEMPLATES = 469_375, 23_124
_PAIRS, _GENUINE = 15_658_489, 19_557
_SCORE_FIELDS = 12


class TemplateProtocol(NamedTuple):
    """IJB-C test 1; what `pool` and `pool_media` need and what is scored after them."""

    names: np.ndarray  # [M] str image of each face
    segments: np.ndarray  # [M] int64 template of each face, in [0, S)
    media: np.ndarray  # [M] int64 medium of each face; the frames of a video share one
    scores: np.ndarray | None  # [M] float32 detector score of each face, or None
    template_ids: np.ndarray  # [S] int64 numbers of the templates, ascending
    pairs: Pairs  # pairs of templates in [0, S), with `same` known
    counts: tuple[Count, ...]  # what was read beside what was published


def read_ijbc_templates(
    face_tid_mid: str | os.PathLike[str],
    template_pair_label: str | os.PathLike[str],
    *,
    name_5pts_score: str | os.PathLike[str] | None = None,
    progress: Callable | None = None,
) -> TemplateProtocol:
    """Reads IJB-C test 1 in insightface's form.

    Cost: two passes over the 15.7 million pairs, about 10 s on one core with the
    faces. Memory: 17 bytes a pair and about 400 MB.

    Args:
        face_tid_mid: `ijbc_face_tid_mid.txt`.
        template_pair_label: `ijbc_template_pair_label.txt`.
        name_5pts_score: `ijbc_name_5pts_score.txt`, for the detector scores.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        The protocol; feature row i belongs to face i.

    Raises:
        ValueError: missing or empty file, a malformed line, a pair with a template
            that has no face, or a face list and a score list that disagree, each
            named by file and line.
    """
    names, ids = _read_faces(face_tid_mid)
    scores = None if name_5pts_score is None else _read_scores(name_5pts_score, names)
    template_ids, segments = np.unique(ids[:, 0], return_inverse=True)
    positions = index_templates(template_ids)
    indices, same, _ = read_template_pairs(
        template_pair_label, positions, progress=progress
    )
    return TemplateProtocol(
        names,
        segments,
        ids[:, 1],
        scores,
        template_ids,
        Pairs(indices, same),
        _count(len(names), _FACES, len(template_ids), same),
    )


def read_ijbc_nist_templates(
    galleries: Sequence[str | os.PathLike[str]],
    probe: str | os.PathLike[str],
    matches: str | os.PathLike[str],
    *,
    progress: Callable | None = None,
) -> TemplateProtocol:
    """Reads IJB-C test 1 in NIST's form.

    A medium is a SIGHTING_ID, one person in one image or video; a pair is genuine
    where both templates have the same SUBJECT_ID. Cost and memory as
    `read_ijbc_templates`.

    Args:
        galleries: `ijbc_1N_gallery_G1.csv` and `ijbc_1N_gallery_G2.csv`.
        probe: `ijbc_1N_probe_mixed.csv`.
        matches: `ijbc_11_G1_G2_matches.csv`.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        The protocol; feature row i belongs to row i of the galleries and the probes
        one after the other.

    Raises:
        ValueError: missing or empty file, a malformed line or a pair with a template
            that is not listed (named by file and line), or a template of two
            subjects or in two files.
    """
    columns = ("TEMPLATE_ID", "SUBJECT_ID", "SIGHTING_ID")
    paths = (*galleries, probe)
    tables = [read_face_table(path, columns=columns) for path in paths]
    names = np.concatenate([table.names for table in tables])
    templates, subjects, media = np.concatenate([table.ids for table in tables]).T
    template_ids, first, segments = np.unique(
        templates, return_index=True, return_inverse=True
    )
    _check_whole(templates, subjects, first[segments], tables, paths)
    indices, same, _ = read_template_pairs(
        matches,
        index_templates(template_ids),
        subject_ids=subjects[first],
        progress=progress,
    )
    return TemplateProtocol(
        names,
        segments,
        media,
        None,
        template_ids,
        Pairs(indices, same),
        # The published number of faces is that of insightface's list.
        _count(len(names), None, len(template_ids), same),
    )


def _count(
    faces: int, published_faces: int | None, templates: int, same: np.ndarray
) -> tuple[Count, ...]:
    return (
        Count("faces", faces, published_faces),
        Count("templates", templates, _TEMPLATES),
        *count_pairs(same, total=_PAIRS, genuine=_GENUINE, impostor=_PAIRS - _GENUINE),
    )


def _read_faces(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    names: list[str] = []
    ids: list[list[int | None]] = []
    for number, line in text_lines(path):
        fields = line.split()
        integers = [to_integer(field) for field in fields[1:]]
        if len(fields) != 3 or None in integers:
            raise malformed(path, number, line, "'image template medium'")
        names.append(fields[0])
        ids.append(integers)
    return np.array(names, np.str_), np.array(ids, np.int64)


def _read_scores(path: str | os.PathLike[str], names: np.ndarray) -> np.ndarray:
    expected_names = names.tolist()
    scores: list[float] = []
    for number, line in text_lines(path):
        fields = line.split()
        try:
            values = [float(field) for field in fields[1:]]
        except ValueError:
            values = []
        if len(fields) != _SCORE_FIELDS or not np.isfinite(values).all() or not values:
            raise malformed(path, number, line, "'image x1 y1 … x5 y5 score'")
        if len(scores) == len(expected_names):
            raise malformed(path, number, line, f"{len(scores)} lines, one a face")
        if fields[0] != expected_names[len(scores)]:
            raise malformed(
                path,
                number,
                line,
                f"image {expected_names[len(scores)]!r} as in the list of faces",
            )
        scores.append(values[-1])
    if len(scores) != len(expected_names):
        raise ValueError(
            f"{path}: got {len(scores)} lines, expected {len(expected_names)}, one a "
            "face; the file is cut short"
        )
    return np.array(scores, np.float32)


def _check_whole(
    templates: np.ndarray,
    subjects: np.ndarray,
    first_rows: np.ndarray,
    tables: Sequence[FaceTable],
    paths: Sequence[str | os.PathLike[str]],
) -> None:
    """Refuses a template that is of two subjects or in two files."""
    sizes = [len(table.names) for table in tables]
    files = np.repeat(np.arange(len(paths)), sizes)
    torn = np.flatnonzero(
        (subjects != subjects[first_rows]) | (files != files[first_rows])
    )
    if torn.size:
        starts = np.concatenate([[0], np.cumsum(sizes)])

        def place(row: int) -> str:
            file = int(files[row])
            return f"{paths[file]}, line {row - starts[file] + 2}"

        row = int(torn[0])
        first = int(first_rows[row])
        raise ValueError(
            f"{place(row)}: template {templates[row]} of subject {subjects[row]} is of "
            f"subject {subjects[first]} in {place(first)}; expected one file and one "
            "subject a template"
        )
