"""Lists of nearest rows: found, checked, and kept exact as rows come and go."""

from collections.abc import Callable
from typing import Any

import numpy as np

Search = Callable[[np.ndarray, int], tuple[Any, Any]]

_BLOCK_VALUES = 1 << 25  # cosines at once, 128 MB
_SAMPLED = 16  # one column of so many says how large the K-th best cosine is
_SURE = 8  # of the sampled, at least


def check_ids(ids: Any, num_rows: int) -> np.ndarray:
    """Refuses what are no keys of so many rows: [N] int64."""
    keys = np.asarray(ids)
    if keys.dtype.kind not in "iu" or keys.shape != (num_rows,):
        raise ValueError(
            f"ids are {keys.dtype} {keys.shape}; expected {num_rows} integers, "
            "one a row"
        )
    if keys.size and not 0 <= int(keys.min()) <= int(keys.max()) < 2**63:
        raise ValueError(
            f"ids span [{keys.min()}, {keys.max()}]; expected integers in [0, 2^63)"
        )
    found, counts = np.unique(keys, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"id {found[counts > 1][0]} is given {counts.max()} times; expected each "
            "once"
        )
    return keys.astype(np.int64)


def find(
    probes: np.ndarray, rows: np.ndarray, k: int, *, search: Search | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k rows [N, D] nearest to each probe [P, D]: [P, k] int32, cosines.

    By descending cosine, ties by the lower number; -1 and -inf in an empty slot.
    """
    indices = np.full((len(probes), k), -1, np.int32)
    cosines = np.full((len(probes), k), -np.inf, np.float32)
    if search is None:
        for start, scores in products(probes, rows):
            for probe, row in enumerate(scores, start):
                chosen = largest(row, k)
                indices[probe, : len(chosen)] = chosen
                cosines[probe, : len(chosen)] = row[chosen]
        return indices, cosines
    found = np.asarray(search(probes, k)[0])
    if (
        found.shape[:1] != (len(probes),)
        or found.ndim != 2
        or found.dtype.kind not in "iu"
    ):
        raise ValueError(
            f"search gave {found.dtype} {found.shape}; expected row numbers "
            f"({len(probes)}, {k})"
        )
    low, high = found.min(initial=-1), found.max(initial=-1)
    if low < -1 or high >= len(rows):
        raise ValueError(
            f"search gave row numbers in [{low}, {high}]; expected [-1, {len(rows)})"
        )
    for probe, given in enumerate(found):
        chosen = np.unique(given[given >= 0])
        row = rows[chosen] @ probes[probe]  # an index may round its cosines
        order = np.argsort(-row, kind="stable")[:k]
        indices[probe, : len(order)] = chosen[order]
        cosines[probe, : len(order)] = row[order]
    return indices, cosines


def products(probes: np.ndarray, rows: np.ndarray):
    """Yields the number of the first probe of a block, and its cosines [b, N]."""
    size = max(1, _BLOCK_VALUES // max(len(rows), 1))
    for start in range(0, len(probes), size):
        yield start, probes[start : start + size] @ rows.T


def largest(row: np.ndarray, k: int) -> np.ndarray:
    """Numbers the k largest values, descending, ties by the lower number.

    A sample of the values bounds the k-th, so that few of them are sorted.
    """
    chosen = np.arange(len(row))
    sample = row[::_SAMPLED]
    rank = _SURE + 2 * k // _SAMPLED
    if rank < len(sample) // 2:
        above = np.flatnonzero(row >= np.partition(sample, -rank)[-rank])
        chosen = above if len(above) >= k else chosen
    if len(chosen) > 8 * k:
        least = np.partition(row[chosen], -k)[-k]
        chosen = chosen[row[chosen] >= least]
    return chosen[np.argsort(-row[chosen], kind="stable")[:k]]
