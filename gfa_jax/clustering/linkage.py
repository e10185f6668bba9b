"""Average linkage on the graph of the surviving pairs.

Components are single linkage: one wrong pair joins two people, and the more rows, the
more wrong pairs. Here two clusters join by the mean of all their pairs instead,

    S(A, B) = (1 / |A| |B|) Σ_{i ∈ A} Σ_{j ∈ B} F_i · F_j = s_A · s_B / (|A| |B|)

with s_A the sum of the rows of A, so that a mean over |A| |B| pairs costs D products
and no list of pairs. A and B are adjacent where a surviving pair leads from one to the
other. Every round

    1. prunes the adjacent pairs with S(A, B) < t_s, as the paper prunes rows,
    2. joins all pairs that are each other's most similar,

until none is left. Where every row lists every row, the result is the classical one of
average linkage cut at t_s: the join of two clusters is never more similar to a third
than the more similar of both was, so the order of the joins does not matter, and what
was pruned would never have been joined.

Source of the rounds: Sumengen et al., "Scaling hierarchical agglomerative clustering to
billion-sized datasets", 2021 (reciprocal merges).
"""

import concurrent.futures
import itertools
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfa_jax.clustering.forest import parent_dtype

# Candidates whose pairs are sorted at once.
_SORTED_AT_ONCE = 2**24
# Pairs that a thread scores at once: two blocks of rows, of 1 MB each at D = 128.
_BLOCK_PAIRS = 2**11
# More do not read the memory any faster.
_THREADS = min(4, os.cpu_count() or 1)


class _Pairs(NamedTuple):
    """Adjacent clusters, each pair once."""

    first: np.ndarray  # [E] integer cluster
    second: np.ndarray  # [E] integer cluster, another one
    similarity: np.ndarray  # [E] floating S(first, second)

    def take(self, rows: np.ndarray) -> "_Pairs":
        return _Pairs(*(column[rows] for column in self))


class Tree(NamedTuple):
    """What joined what: rows are the nodes 0 … N − 1, every join is one more."""

    num_rows: int  # N
    children: np.ndarray  # [M, 2] int64 nodes that join N + m made one; each joins once
    height: np.ndarray  # [M] floating S of the two
    # [R + 1] int64 ends of the rounds: joins of a round share no node.
    rounds: np.ndarray


def average_linkage(
    features: np.ndarray,
    indices: np.ndarray,
    similarity: np.ndarray,
    survives: np.ndarray,
    *,
    threshold: float,
    progress: Callable | None = None,
) -> Tree:
    """Joins clusters while the mean cosine of their pairs reaches t_s.

    The equations are in the module's docstring. Features are [N, D] unit rows (or
    zero), candidates and their cosines [N, K]; of those that survive one direction is
    enough. Equal similarities join in the order of the rows. `progress` goes around the
    rounds, whose number is not known before. The roots of the tree are the clusters.

    Cost: E D multiply-adds for every time that an end of an edge has grown, in rounds
    whose number is about the size of the largest cluster at worst; NumPy, the products
    on up to four threads.
    Memory: a copy of the features, and about 50 bytes a pair.
    """
    pairs = unique_pairs(indices, similarity, survives)
    return join_pairs(np.array(features), pairs, threshold, progress)


def join_pairs(
    sums: np.ndarray,
    pairs: _Pairs,
    threshold: float,
    progress: Callable | None = None,
) -> Tree:
    """Joins clusters as `average_linkage` does, adding up their rows in `sums` [N, D].

    Memory: about 50 bytes a pair.
    """
    num_rows = len(sums)
    sizes = np.ones(num_rows, np.int64)
    parent = np.arange(num_rows, dtype=pairs.first.dtype)
    node = np.arange(num_rows)  # of the cluster that a row stands for
    children, heights, ends = [np.empty((0, 2), np.int64)], [sums[:0, 0]], [0]
    rounds = itertools.count()
    for _ in rounds if progress is None else progress(rounds, total=None, desc="joins"):
        pairs = pairs.take(pairs.similarity >= threshold)
        if not len(pairs.first):
            break
        joins = _reciprocal(pairs, num_rows)
        kept, gone = pairs.first[joins], pairs.second[joins]
        children.append(np.stack([node[kept], node[gone]], axis=1))
        heights.append(pairs.similarity[joins])
        node[kept] = num_rows + ends[-1] + np.arange(len(kept))
        ends.append(ends[-1] + len(kept))
        parent[gone] = kept
        sums[kept] += sums[gone]
        sizes[kept] += sizes[gone]
        pairs = _contract(pairs, parent, kept, sums, sizes)
    return Tree(
        num_rows, np.concatenate(children), np.concatenate(heights), np.asarray(ends)
    )


def unique_pairs(
    indices: np.ndarray, similarity: np.ndarray, survives: np.ndarray
) -> _Pairs:
    """Lists the edges as pairs first < second, each once, in ascending order."""
    num_rows, width = indices.shape
    dtype = parent_dtype(num_rows)
    step = max(1, _SORTED_AT_ONCE // width)
    parts = []
    for start in range(0, num_rows, step):
        # Those whose smaller row is one of these lie here and further down.
        below, values, stays = (x[start:] for x in (indices, similarity, survives))
        if num_rows > step:
            rows = np.arange(start, num_rows)[:, None]
            stays = stays & (np.minimum(below, rows) < start + step) & (below >= start)
        # NumPy's nonzero and unique give the same, three times as slowly.
        rows = np.repeat(np.arange(start, num_rows), np.count_nonzero(stays, axis=1))
        others = below[stays].astype(np.int64)
        keys = np.minimum(rows, others) * num_rows + np.maximum(rows, others)
        order = np.argsort(keys)
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        earliest = np.minimum.reduceat(order, starts) if len(order) else order
        ends = (end.astype(dtype) for end in np.divmod(keys[starts], num_rows))
        parts.append((*ends, values[stays][earliest]))
    return _Pairs(*map(np.concatenate, zip(*parts, strict=True)))


def _reciprocal(pairs: _Pairs, num_rows: int) -> np.ndarray:
    """Finds the pairs that are the best of both their clusters: their places, in order.

    Pairs are ordered by similarity, then by position: the best of all is the best of
    both its ends, so there is always one.
    """
    best = np.full(num_rows, -np.inf, pairs.similarity.dtype)
    np.maximum.at(best, pairs.first, pairs.similarity)
    np.maximum.at(best, pairs.second, pairs.similarity)
    none = len(pairs.first)
    earliest = np.full(num_rows, none)
    for ends in (pairs.first, pairs.second):
        places = np.flatnonzero(pairs.similarity == best[ends])
        np.minimum.at(earliest, ends[places], places)
    places = np.unique(earliest[earliest < none])
    ends = pairs.first[places], pairs.second[places]
    return places[(earliest[ends[0]] == places) & (earliest[ends[1]] == places)]


def _contract(
    pairs: _Pairs,
    parent: np.ndarray,
    grown: np.ndarray,
    sums: np.ndarray,
    sizes: np.ndarray,
) -> _Pairs:
    """Renames the clusters that were joined, and scores anew what they touch."""
    has_grown = np.zeros(len(parent), bool)
    has_grown[grown] = True
    first, second = parent[pairs.first], parent[pairs.second]
    touched = has_grown[first] | has_grown[second]
    # A pair that was joined is a loop now; two that led to both halves are one.
    keys = np.minimum(first, second)[touched].astype(np.int64)
    high = np.maximum(first, second)[touched]
    is_pair = keys != high
    keys *= len(parent)
    keys += high
    keys = keys[is_pair]
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) > 0]  # np.unique hashes, more slowly
    low, high = (end.astype(parent.dtype) for end in np.divmod(keys, len(parent)))
    similarity = mean_cosines(sums, sizes, low, high)
    untouched = pairs.take(~touched)
    return _Pairs(
        np.concatenate([untouched.first, low]),
        np.concatenate([untouched.second, high]),
        np.concatenate([untouched.similarity, similarity]),
    )


def mean_cosines(
    sums: np.ndarray, sizes: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Evaluates S(A, B) of the module's equation, [E]."""
    pairs_of_rows = sizes[first] * sizes[second]
    return dot_pairs(sums, sums, first, second) / pairs_of_rows.astype(sums.dtype)


def dot_pairs(
    one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Evaluates the products of the rows `first` of one with `second` of other, [E]."""
    products = np.empty(len(first), one.dtype)

    def multiply(start: int) -> None:
        block = slice(start, start + _BLOCK_PAIRS)
        rows = np.take(one, first[block], 0), np.take(other, second[block], 0)
        np.einsum("ed,ed->e", *rows, out=products[block])

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(multiply, range(0, len(first), _BLOCK_PAIRS)))
    return products
