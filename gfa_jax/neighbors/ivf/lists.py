"""The K best of every row so far, and candidates merged into them by sorting.

Candidates are collected, and one radix sort of all, 16 bits a pass, by row and by
descending similarity merges them at once.
"""

import concurrent.futures
from typing import NamedTuple

import numpy as np

# Rows whose lists are merged together: their numbers are 16-bit integers.
_RANGE = 2**16


class Lists(NamedTuple):
    """The best of every row."""

    similarity: np.ndarray  # [N, K] float32; -inf in an empty slot
    indices: np.ndarray  # [N, K] int32; -1 in an empty slot


class Found(NamedTuple):
    """Candidates `others` of `rows`."""

    rows: np.ndarray  # [M] int32
    others: np.ndarray  # [M] int32
    similarity: np.ndarray  # [M] float32


def empty(num_rows: int, k: int) -> Lists:
    """Makes empty lists."""
    return Lists(
        np.full((num_rows, k), -np.inf, np.float32),
        np.full((num_rows, k), -1, np.int32),
    )


def kth_best(best: Lists, least: float) -> np.ndarray:
    """Returns the K-th best of each list, [N], or `least` where that is more."""
    return np.maximum(best.similarity.min(axis=1), np.float32(least))


def join(parts: list[Found]) -> Found:
    """Concatenates candidates."""
    none = Found(*(np.zeros(0, dtype) for dtype in (np.int32, np.int32, np.float32)))
    return Found(*map(np.concatenate, zip(none, *parts, strict=True)))


def merge(best: Lists, found: list[Found], pool: concurrent.futures.Executor) -> Lists:
    """Merges candidates, in any order, perhaps repeated, into [N, K] lists, in place.

    The lists end by descending similarity, equal ones by lower index; the same other
    counts once. Memory: the candidates once more, and 80 bytes a candidate and a slot
    in 65,536 rows, a thread.
    """
    candidates = join(found)

    def merge_range(start: int) -> None:
        rows = slice(start, start + _RANGE)
        mine = candidates.rows // _RANGE == start // _RANGE
        part = Found(*(column[mine] for column in candidates))
        _merge(best.similarity[rows], best.indices[rows], part, start)

    list(pool.map(merge_range, range(0, len(best.indices), _RANGE)))
    return best


def _merge(similarity, indices, found: Found, first: int) -> None:
    row, column = np.nonzero(indices >= 0)
    rows = np.concatenate([row, found.rows - first]).astype(np.uint16)
    others = np.concatenate([indices[row, column], found.others])
    cosine = np.concatenate([similarity[row, column], found.similarity])

    order = np.arange(len(rows), dtype=np.int32)
    order = _sort(order, *_halves(others.view(np.uint32)), rows)
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(rows[order]) != 0) | (np.diff(others[order]) != 0)
    order = _sort(order[new], *_halves(_descending(cosine)), rows)
    rows = rows[order]
    counts = np.bincount(rows, minlength=len(indices))
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = rank < indices.shape[1]
    place, order = (rows[kept], rank[kept]), order[kept]
    similarity.fill(-np.inf)
    indices.fill(-1)
    similarity[place] = cosine[order]
    indices[place] = others[order]


def _sort(order: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Sorts stably by 16-bit keys, the least significant first."""
    for key in keys:
        # NumPy sorts 16-bit integers by their digits, in linear time.
        order = order[np.argsort(key[order], kind="stable")]
    return order


def _halves(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits 32-bit integers, the less significant half first."""
    return numbers.astype(np.uint16), (numbers >> np.uint32(16)).astype(np.uint16)


def _descending(similarity: np.ndarray) -> np.ndarray:
    """Maps float32 to 32-bit integers that ascend as the numbers descend."""
    # -0.0 and 0.0 are equal numbers of different bits.
    bits = (similarity + np.float32(0)).view(np.uint32)
    return np.where(bits >> np.uint32(31) == 1, bits, bits ^ np.uint32(0x7FFFFFFF))
