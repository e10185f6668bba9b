"""IJB-C test 2, 1:1 covariates: single images, 47.4 million pairs.

    ijbc_11_covariate_probe_reference.csv   one template a row, one image a template
    ijbc_11_covariate_matches.csv           template,template; no header

A pair is genuine where the two templates have the same SUBJECT_ID. The paper (§4.1)
removes the identities that its training set shares, and for the "cleaned" figures the
faces that were not detected; it publishes neither list, so both are files to give.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.paper.protocols.counts import Count, count_pairs
from experiments.paper.protocols.ijbc_csv import read_face_table
from experiments.paper.protocols.template_ids import (
    index_templates,
    read_ids,
    read_template_pairs,
)
from gfa_jax.datasets.pairs import Pairs

_TEMPLATES, _PAIRS = 140_739, 47_404_001


class CovariateProtocol(NamedTuple):
    """IJB-C test 2 without the templates that were dropped."""

    # [N] int64 row of each template in the probe_reference file, from 0:
    # `features[rows]` are its features where the features follow that file.
    rows: np.ndarray
    template_ids: np.ndarray  # [N] int64
    subject_ids: np.ndarray  # [N] int64
    # [N] str image of each template. A picture of two people is the image of two
    # templates, so names alone do not tell features apart.
    names: np.ndarray
    pairs: Pairs  # pairs of positions in [0, N), with `same` known
    counts: tuple[Count, ...]  # what was read beside what was published


def read_ijbc_covariate(
    probe_reference: str | os.PathLike[str],
    matches: str | os.PathLike[str],
    *,
    drop_subjects: str | os.PathLike[str] | None = None,
    drop_templates: str | os.PathLike[str] | None = None,
    progress: Callable | None = None,
) -> CovariateProtocol:
    """Reads IJB-C test 2 and leaves out what the drop lists name.

    Cost: two passes over the matches, about 15 s on one core for the 47.4 million.
    Memory: 17 bytes a pair and about 200 MB.

    Args:
        probe_reference: `ijbc_11_covariate_probe_reference.csv`.
        matches: `ijbc_11_covariate_matches.csv`.
        drop_subjects: text, one SUBJECT_ID a line; it may name subjects of other sets.
        drop_templates: text, one TEMPLATE_ID a line.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        The protocol. Published numbers stand beside the counts of the whole files
        only: with a drop list there are none for the rest.

    Raises:
        ValueError: missing or empty file, a malformed line (named by file and number),
            a template that is listed twice, a pair with a template that is not listed,
            a drop list none of whose numbers is in the protocol, or no template left.
    """
    names, ids = read_face_table(probe_reference, columns=("TEMPLATE_ID", "SUBJECT_ID"))
    template_ids, subject_ids = ids.T
    _check_distinct(template_ids, str(probe_reference))
    dropped = _listed(subject_ids, drop_subjects) | _listed(
        template_ids, drop_templates
    )
    rows = np.flatnonzero(~dropped)
    if rows.size == 0:
        raise ValueError("the drop lists leave no template; are they of this protocol?")
    indices, same, num_pairs = read_template_pairs(
        matches,
        index_templates(template_ids, dropped=dropped),
        subject_ids=subject_ids[rows],
        progress=progress,
    )
    counts = (
        Count("templates in the file", len(ids), _TEMPLATES),
        Count("pairs in the file", num_pairs, _PAIRS),
        Count("templates kept", len(rows), None),
        Count("subjects kept", len(np.unique(subject_ids[rows])), None),
        *count_pairs(same),
    )
    return CovariateProtocol(
        rows,
        template_ids[rows],
        subject_ids[rows],
        names[rows],
        Pairs(indices, same),
        counts,
    )


def _listed(ids: np.ndarray, path: str | os.PathLike[str] | None) -> np.ndarray:
    if path is None:
        return np.zeros(len(ids), np.bool_)
    listed = np.isin(ids, read_ids(path))
    if not listed.any():
        raise ValueError(
            f"{path}: none of its numbers is in the protocol; is it a list of the "
            "other kind?"
        )
    return listed


def _check_distinct(template_ids: np.ndarray, source: str) -> None:
    distinct, first = np.unique(template_ids, return_index=True)
    if len(distinct) != len(template_ids):
        repeats = np.setdiff1d(np.arange(len(template_ids)), first)
        raise ValueError(
            f"{source}, line {repeats[0] + 2}: template {template_ids[repeats[0]]} is "
            "listed before, expected one image a template"
        )
