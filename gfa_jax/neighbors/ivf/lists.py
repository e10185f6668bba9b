"""The K best of every row so far, and candidates merged into them by sorting.

Candidates are collected, and one sort of all by row and by descending similarity, two
32-bit halves of one key, merges them at once.
"""

import concurrent.futures
from typing import NamedTuple

import numpy as np

# Rows whose lists are merged together.
RANGE = 2**14


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


def join(parts: list[Found]) -> Found:
    """Concatenates candidates."""
    none = Found(*(np.zeros(0, dtype) for dtype in (np.int32, np.int32, np.float32)))
    return Found(*map(np.concatenate, zip(none, *parts, strict=True)))


def merge(best: Lists, found: list[Found], pool: concurrent.futures.Executor) -> None:
    """Merges candidates, in any order, into [N, K] lists, in place.

    The lists end by descending similarity, equal ones by lower index. The same other
    may occur twice, list included, and counts once, with the larger of its products.
    Memory: the candidates twice more, and 60 bytes a candidate and a slot in 16,384
    rows, a thread.
    """
    candidates = join(found)
    ranges = (candidates.rows // RANGE).astype(np.uint16)
    order = np.argsort(ranges, kind="stable")
    ends = np.searchsorted(
        ranges, np.arange(-(-len(best.indices) // RANGE) + 1), sorter=order
    )

    def merge_some(number: int) -> None:
        start = number * RANGE
        rows = slice(start, start + RANGE)
        part = Found(*(x[order[ends[number] : ends[number + 1]]] for x in candidates))
        part = part._replace(rows=part.rows - np.int32(start))
        merge_range(Lists(*(x[rows] for x in best)), part)

    list(pool.map(merge_some, range(len(ends) - 1)))


def merge_range(best: Lists, found: Found) -> None:
    """Merges candidates as `merge` does, of few rows."""
    similarity, indices = best
    k = indices.shape[1]
    row, column = np.nonzero(indices >= 0)
    held = Found(row.astype(np.int32), indices[row, column], similarity[row, column])
    twice = first(join([held, found]), 2 * k)
    pair = twice.rows.astype(np.uint64) << np.uint64(32)
    pair |= twice.others.view(np.uint32)
    order = np.argsort(pair)
    again = np.flatnonzero(pair[order[1:]] == pair[order[:-1]])
    # Of both the later one is the smaller.
    once = np.ones(len(pair), bool)
    once[np.maximum(order[1:], order[:-1])[again]] = False
    rows, others, cosine = (column[once] for column in twice)
    rank = _rank(rows)
    kept = rank < k
    place = rows[kept], rank[kept]
    similarity.fill(-np.inf)
    indices.fill(-1)
    similarity[place] = cosine[kept]
    indices[place] = others[kept]


def first(found: Found, k: int) -> Found:
    """Keeps the k best of every row: by row, descending similarity, ascending index."""
    key = found.rows.astype(np.uint64) << np.uint64(32)
    key |= _descending(found.similarity)
    order = np.argsort(key)
    key = key[order]
    tied = np.zeros(len(key) + 1, bool)
    tied[1:-1] = key[1:] == key[:-1]
    tied = np.flatnonzero(tied[1:] | tied[:-1])
    if len(tied):
        among = order[tied]
        order[tied] = among[np.lexsort((found.others[among], key[tied]))]
    order = order[_rank(found.rows[order]) < k]
    return Found(*(column[order] for column in found))


def _rank(rows: np.ndarray) -> np.ndarray:
    """Counts how many before an entry, of sorted ones, are of its row."""
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))


def _descending(similarity: np.ndarray) -> np.ndarray:
    """Maps float32 to 32-bit integers that ascend as the numbers descend."""
    # -0.0 and 0.0 are equal numbers of different bits.
    bits = (similarity + np.float32(0)).view(np.uint32)
    return np.where(bits >> np.uint32(31) == 1, bits, bits ^ np.uint32(0x7FFFFFFF))
