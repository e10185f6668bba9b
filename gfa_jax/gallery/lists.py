"""Lists of nearest rows: found, checked, and merged as rows come."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gfa_jax.datasets import rows as unit_rows
from gfa_jax.datasets.features import check_features, check_matrix

Search = Callable[[np.ndarray, int], tuple[Any, Any]]

_BLOCK_VALUES = 1 << 25  # cosines at once, 128 MB
_SAMPLED = 16  # one column of so many says how large the K-th best cosine is
_SURE = 8  # of the sampled, at least
_ASKED = 1024  # probes that a search from elsewhere is given at once


def check_new(features: Any, *, dim: int) -> np.ndarray:
    """Checks rows of any number from one on, and scales them: [P, D] float32."""
    given = unit_rows.take(features)[0]
    check_matrix(given)
    if not len(given) or given.shape[1] != dim:
        raise ValueError(
            f"features: got shape {given.shape}, expected rows of {dim} values, as in "
            "the gallery"
        )
    return unit_rows.unit_rows(given, check_features(given, least=1), scaled=True)


def check_ids(ids: Any, num_rows: int | None = None) -> np.ndarray:
    """Refuses what are no keys of so many rows: [N] int64."""
    keys = np.asarray(ids)
    count = keys.size if num_rows is None else num_rows
    if keys.dtype.kind not in "iu" or keys.shape != (count,):
        raise ValueError(
            f"ids are {keys.dtype} {keys.shape}; expected ({count},) integers, one a "
            "row"
        )
    if count and not 0 <= int(keys.min()) <= int(keys.max()) < 2**63:
        raise ValueError(
            f"ids span [{keys.min()}, {keys.max()}]; expected integers in [0, 2^63)"
        )
    found, counts = np.unique(keys, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"id {found[counts > 1][0]} is given {counts[counts > 1][0]} times; "
            "expected each once"
        )
    return keys.astype(np.int64)


def places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Finds the row of each id that is wanted, of any shape; -1 for none."""
    order = None
    if (ids[1:] < ids[:-1]).any():
        order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    at = at if order is None else order[at]
    return np.where(ids[at] == wanted, at, -1)


def find(
    probes: np.ndarray,
    rows: np.ndarray,
    ids: np.ndarray,
    k: int,
    *,
    search: Search | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k rows [N, D] nearest to each probe [P, D]: [P, k] int32, cosines.

    By descending cosine, ties by the lower number; -1 and -inf in an empty slot.
    """
    return find_both_ways(probes, rows, ids, k, None, search=search)[:2]


def find_both_ways(
    probes: np.ndarray,
    rows: np.ndarray,
    ids: np.ndarray,
    k: int,
    kth: np.ndarray | None,
    *,
    search: Search | None = None,
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Finds rows as `find` does, and the rows that would list a probe in turn.

    These are the ones to which it is nearer than `kth`, [N], if that is given: three
    arrays [E] of rows, ascending, probes and their cosines.
    """
    indices = np.full((len(probes), k), -1, np.int32)
    cosines = np.full((len(probes), k), -np.inf, np.float32)
    listed = [(np.zeros(0, np.int64),) * 2 + (cosines[:0, 0],)]
    if search is None or not len(rows):
        for start, scores in products(probes, rows):
            for probe, row in enumerate(scores, start):
                chosen = largest(row, k)
                indices[probe, : len(chosen)] = chosen
                cosines[probe, : len(chosen)] = row[chosen]
                if kth is not None:
                    near = np.flatnonzero(row > kth)
                    listed.append((near, np.full(len(near), probe), row[near]))
    else:
        for start in range(0, len(probes), _ASKED):
            block = probes[start : start + _ASKED]
            given = np.sort(_call(search, block, ids, k), axis=1)
            given[:, 1:][given[:, 1:] == given[:, :-1]] = -1
            # An index may round its cosines.
            scores = np.matmul(rows[np.maximum(given, 0)], block[:, :, None])[..., 0]
            scores[given < 0] = -np.inf
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            part = slice(start, start + len(block)), slice(order.shape[1])
            indices[part] = np.take_along_axis(given, order, axis=1)
            cosines[part] = np.take_along_axis(scores, order, axis=1)
            if kth is not None:
                near = (given >= 0) & (scores > kth[np.maximum(given, 0)])
                listed.append((given[near], start + np.nonzero(near)[0], scores[near]))
    others, near, values = (np.concatenate(x) for x in zip(*listed, strict=True))
    order = np.lexsort((near, others))
    return indices, cosines, (others[order], near[order], values[order])


def _call(search: Search, probes: np.ndarray, ids: np.ndarray, k: int) -> np.ndarray:
    """Gives the rows that a search from elsewhere found, [P, k], -1 for none."""
    found = np.asarray(search(probes, k)[0])
    if (
        found.shape[:1] != (len(probes),)
        or found.ndim != 2
        or found.dtype.kind not in "iu"
    ):
        raise ValueError(
            f"search gave {found.dtype} {found.shape}; expected ids ({len(probes)}, "
            f"{k}), -1 for none"
        )
    found = places(ids, found)
    if (found < 0).all():
        raise ValueError(f"search gave none of the {len(ids)} ids of the gallery")
    return found


def products(probes: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the number of the first probe of a block, and its cosines [b, N].

    All blocks are in one array, which the next one takes.
    """
    size = min(max(1, _BLOCK_VALUES // max(len(rows), 1)), len(probes))
    scores = np.empty((size, len(rows)), np.float32)
    for start in range(0, len(probes), size):
        block = probes[start : start + size]
        yield start, np.matmul(block, rows.T, out=scores[: len(block)])


def largest(row: np.ndarray, k: int) -> np.ndarray:
    """Numbers the k largest values, descending, ties by the lower number.

    A sample of the values bounds the k-th, so that few of them are sorted.
    """
    sample, chosen = row[::_SAMPLED], np.zeros(0, np.int64)
    rank = _SURE + 2 * k // _SAMPLED
    if rank < len(sample) // 2:
        chosen = np.flatnonzero(row >= np.partition(sample, -rank)[-rank])
    if len(chosen) < k:
        chosen = np.arange(len(row))
    if len(chosen) > 8 * k:
        least = np.partition(row[chosen], -k)[-k]
        chosen = chosen[row[chosen] >= least]
    return chosen[np.argsort(-row[chosen], kind="stable")[:k]]


def own_first(
    indices: np.ndarray, cosines: np.ndarray, numbers: np.ndarray, *, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Puts rows numbered [n] before what was found for them, [n, W]: [n, width].

    The others keep their order, without the row itself; cosines of empty slots are 0.
    """
    gone = (indices == numbers[:, None]) | (indices < 0)
    order = np.argsort(gone, axis=1, kind="stable")[:, : width - 1]
    indices, cosines, gone = (
        np.take_along_axis(x, order, axis=1) for x in (indices, cosines, gone)
    )
    lists = np.full((len(numbers), width), -1, np.int32)
    values = np.zeros((len(numbers), width), np.float32)
    lists[:, 0], values[:, 0] = numbers, 1
    lists[:, 1 : 1 + order.shape[1]] = np.where(gone, -1, indices)
    values[:, 1 : 1 + order.shape[1]] = np.where(gone, 0, cosines)
    return lists, values


def merge(
    lists: np.ndarray, cosines: np.ndarray, new: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Puts new candidates into the lists [N, W] where they stand; tells where.

    `new` are the rows that list them, ascending, the candidates and their cosines, each
    [E]. Returns the rows that changed, ascending, and for each the least rank at which.
    """
    rows, others, values = new
    changed, first, counts = np.unique(rows, return_index=True, return_counts=True)
    width, most = lists.shape[1], counts.max(initial=0)
    added = np.full((len(changed), most), -1, np.int32)
    cosine = np.full((len(changed), most), -np.inf, np.float32)
    slot = np.arange(len(rows)) - np.repeat(first, counts)
    row = np.repeat(np.arange(len(changed)), counts)
    added[row, slot], cosine[row, slot] = others, values
    old = lists[changed, 1:]
    known = np.where(old < 0, -np.inf, cosines[changed, 1:])
    both, scores = np.hstack([old, added]), np.hstack([known, cosine])
    # Equal cosines stand by the lower number: what is new has the higher ones.
    order = np.argsort(-scores, axis=1, kind="stable")[:, : width - 1]
    is_new = order >= width - 1
    both, scores = (np.take_along_axis(x, order, axis=1) for x in (both, scores))
    lists[changed, 1:], cosines[changed, 1:] = both, np.where(both < 0, 0, scores)
    return changed, np.where(is_new.any(axis=1), 1 + is_new.argmax(axis=1), width)
