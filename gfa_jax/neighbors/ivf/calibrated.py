"""Approximate neighbours whose recall is measured.

What a refinement needs is not all K neighbours but the edges that survive the
threshold. The rows are put into cells, and each probes the cells whose centroid is
nearly as near as its own's (`cells`). How nearly, ρ, follows from the edges of a sample
of rows, found by exact search: each says up to which ρ it would have been found,

    ρ_ij = max(F_i · c_j / F_i · c_i, F_j · c_i / F_j · c_j)

with c_i the centroid of the cell of i, and the largest ρ is taken for which the lower
confidence bound of their recall is at least the target. The result is measured on the
same sample. Where nothing would be saved, the search is exact, and the result says so.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.checks import check_flag, check_number
from gfa_jax.neighbors.exact import exact_neighbors
from gfa_jax.neighbors.faiss import as_searchable, import_faiss
from gfa_jax.neighbors.ivf import cell_search, cells, lists, recall
from gfa_jax.neighbors.ivf.recall import Calibration
from gfa_jax.types import Neighbors, track

# Exact search makes half of all products, and in larger blocks: with more than this
# share of them approximate search saves too little.
LARGEST_SHARE = 1 / 8
# Probes of a row to cells, at most on average: 2 KB a row.
_MOST_PROBES = 1024
# Below, the exact search ends before the cells are trained.
FEWEST_ROWS = 20_000
# How far below the threshold another cell's rows still count as candidates.
_BELOW_THRESHOLD = 0.1
# ρ is lowered by what products in blocks of other shapes may differ.
_ROUNDING = 1e-5
_BLOCK_ROWS = 1024


class Tasks(NamedTuple):
    """How a search is divided: who does its tasks, and who keeps what they give."""

    # Does the tasks 0 to n − 1 of a kind, each by its number and giving the named
    # arrays, and returns when all are done: what loads those of a task.
    run: Callable[
        [str, int, Sequence[str], Callable[[int], Sequence[np.ndarray]]],
        Callable[[int], Sequence[np.ndarray]],
    ]
    # Keeps what a group of cells offers to the rows of a chunk, and gives it, or the
    # best of all that was offered to them. By the group, the chunk and K.
    offer: Callable[[int, int, int, lists.Found], lists.Found]
    # Gives all that was offered to the rows of a chunk, by so many groups.
    offers: Callable[[int, int], list[lists.Found]]


def approximate_neighbors(
    features: jax.Array | np.ndarray,
    *,
    k: int,
    edge_recall: float = 0.99,
    threshold: float | None = None,
    include_self: bool = True,
    seed: int = 0,
    progress: Callable | None = None,
) -> tuple[Neighbors, Calibration]:
    """Finds nearly all neighbours that count, in a fraction of the exact time.

    Args:
        features: [N, D] floating unit rows; searched in float32.
        k: number of neighbours in [1, N), **the row itself counted** where
            `include_self`: k=15 then means the row and 14 others.
        edge_recall: share of the edges that must be found, in (0, 1].
        threshold: cosine that an edge to another row must exceed to count; all edges to
            the nearest others count where it is None. Slots that no edge fills hold the
            nearest rows of the own cell, and those of other cells that are at most 0.1
            below the threshold.
        include_self: as `exact_neighbors`.
        seed: of the sample of 1000 rows; above a recall of 0.997 it proves none.
        progress: called as tqdm is, around the stages of the search.

    Returns:
        The neighbours, NumPy arrays as of `faiss_neighbors`, and the Calibration:
        its lower bound is at least `edge_recall`, or the search was exact.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: k outside [1, N), a recall outside (0, 1], a threshold outside
            [-1, 1], rows that are not of unit length.

    Cost: training and assignment, O(N^1.5 D); the search, `share` N² D, at most an
    eighth of all products. Memory beyond the features: 2 bytes for each cell that a row
    probes, at most 1024 of them, the [N, k] lists twice, 12 bytes for what a group of
    cells offers to a row that probes it, and 1 GB for the rows of a group of cells and
    what is found before it is merged. An exact search holds the features once more.

    Examples:
        >>> neighbors, calibration = gfa.approximate_neighbors(features, k=3)
        >>> calibration.factory  # so few rows are searched exactly
        'Flat'
    """
    faiss = import_faiss()
    check_flag("include_self", include_self)
    features = as_searchable(features, k)
    check_options(edge_recall, threshold)
    if len(features) >= FEWEST_ROWS and k > include_self:
        with contextlib.suppress(CellsDoNotHelpError):
            return search_in_cells(
                faiss,
                features,
                k=k,
                edge_recall=edge_recall,
                threshold=threshold,
                include_self=include_self,
                seed=seed,
                tasks=tasks_in_memory(progress),
                own=range(len(features)),
            )
    exact = exact_neighbors(
        jnp.asarray(features), k=k, include_self=include_self, progress=progress
    )
    return Neighbors(*map(np.asarray, exact)), exact_calibration(edge_recall)


def exact_calibration(edge_recall: float) -> Calibration:
    """Makes the calibration of an exact search."""
    return Calibration("Flat", "", 1.0, 1.0, edge_recall, 0, 0, 0.5)


class CellsDoNotHelpError(Exception):
    """Cells miss the recall, or save nothing; says which."""


def tasks_in_memory(progress: Callable | None) -> Tasks:
    """Does all tasks of a kind at once and holds what they give."""
    held: dict[int, lists.Found] = {}

    def run(kind, count, fields, make):
        del fields
        tasks = track(progress if count > 1 else None, range(count), desc=kind)
        return [make(task) for task in tasks].__getitem__

    def offer(group: int, chunk: int, k: int, found: lists.Found) -> lists.Found:
        del group
        both = [held[chunk], found] if chunk in held else [found]
        held[chunk] = lists.first(lists.join(both), k)
        return held[chunk]

    return Tasks(run, offer, lambda count, chunk: [held[chunk]])


def search_in_cells(
    faiss,
    rows: Any,
    *,
    k: int,
    edge_recall: float,
    threshold: float | None,
    include_self: bool,
    seed: int,
    tasks: Tasks,
    own: range,
) -> tuple[Neighbors, Calibration]:
    """Searches in cells as `approximate_neighbors` does, and measures what was found.

    The rows are anything with a shape, slices of rows and sorted arrays of row numbers.
    The result is of the rows `own`. Raises CellsDoNotHelpError where exact search has
    to do the job.
    """
    num_rows, others = rows.shape[0], k - include_self
    sample = recall.draw(num_rows, seed)

    def calibrate(_) -> tuple[Any, ...]:
        wanted = recall.exact_edges(rows, sample, others, threshold)
        count = min(cells.num_cells(num_rows), num_rows)
        centroids = cells.train(faiss, rows, count)
        ratios = _least_ratios(rows, centroids, wanted)
        ratio = _choose_ratio(ratios, wanted, edge_recall)
        cosine = cells.read(rows, sample) @ centroids.T
        least = cells.probe_threshold(cosine.max(axis=1), ratio or 0.0)
        probes = np.mean(np.sum(cosine >= least[:, None], axis=1))
        found = np.array(np.nan if ratio is None else ratio), np.array(probes)
        return centroids, *found, *wanted

    fields = ("centroids", "ratio", "probes", *recall.Edges._fields)
    found = tasks.run("calibration", 1, fields, calibrate)(0)
    centroids, ratio, a_row, *wanted = found
    ratio, wanted = float(ratio), recall.Edges(*wanted)
    if np.isnan(ratio):
        raise CellsDoNotHelpError(
            f"no choice of cells finds {edge_recall:.2%} of the edges"
        )
    if a_row > _MOST_PROBES:
        raise CellsDoNotHelpError(
            f"rows would have to probe more than {_MOST_PROBES} cells each"
        )
    with cells.workers() as pool:

        def probe(chunk: int) -> Sequence[np.ndarray]:
            return cells.probe_chunk(rows, centroids, ratio, chunk, pool)

        chunks = tasks.run(
            "cells", cells.num_chunks(num_rows), ("own", "rows", "offsets"), probe
        )
        probes = cells.join_chunks(chunks, num_rows)
        if probes.share > LARGEST_SHARE:
            raise CellsDoNotHelpError(
                f"{probes.share:.0%} of all products would be left"
            )
        merge = _score_groups(
            rows,
            probes,
            k=others,
            least=-np.inf if threshold is None else threshold - _BELOW_THRESHOLD,
            tasks=tasks,
            pool=pool,
        )

        def measure(_) -> tuple[np.ndarray]:
            ends = np.unique(wanted.rows, return_inverse=True)
            best = merge(ends[0].astype(np.int32), others)
            similarity, indices = (column[ends[1]] for column in best)
            hits = np.any(indices == wanted.others[:, None], axis=1)
            # A list that ends as near holds another of those that tie for its last
            # place.
            return (hits | (similarity[:, -1] >= wanted.similarity - recall.TIE),)

        (hits,) = tasks.run("recall", 1, ("hits",), measure)(0)
        share, bound = recall.estimate(wanted, hits)
        if bound < edge_recall:
            raise CellsDoNotHelpError(f"a recall of {bound:.2%} is all that is certain")
        found = _finish(rows, merge, own, k, include_self, pool)
    a_row = 1 + sum(int(offsets[-1]) for offsets in probes.offsets) / num_rows
    return found, Calibration(
        f"IVF{len(centroids)},Flat",
        f"centroids within {ratio:.3f} of the nearest, {a_row:.1f} cells a row",
        share,
        bound,
        edge_recall,
        len(wanted.rows),
        len(sample),
        probes.share,
    )


def _score_groups(
    rows: Any,
    probes: cells.Probes,
    *,
    k: int,
    least: float,
    tasks: Tasks,
    pool: Executor,
) -> Callable[[np.ndarray, int], lists.Lists]:
    """Scores all groups of cells; gives what merges the lists of some rows."""
    num_rows, dim = rows.shape
    groups = cell_search.group_cells(probes.own, len(probes.offsets[0]) - 1, dim)

    def bound(group: int) -> tuple[np.ndarray]:
        return (cell_search.own_kth_best(rows, groups, group, k, pool),)

    count = len(groups.cells)
    bounds = tasks.run("bounds", count, ("kth_best",), bound)
    kth_best = np.empty(num_rows, np.float32)
    for group in range(count):
        kth_best[groups.numbers(group)] = bounds(group)[0]

    def score(group: int) -> cell_search.Part:
        def offer(chunk: int, found: lists.Found) -> lists.Found:
            return tasks.offer(group, chunk, k, found)

        return cell_search.score(
            rows,
            probes,
            groups,
            group,
            kth_best,
            k=k,
            least=least,
            offer=offer,
            pool=pool,
        )

    load = tasks.run("neighbors", count, cell_search.Part._fields, score)
    offers = functools.partial(tasks.offers, count)

    def merge(wanted: np.ndarray, k: int) -> lists.Lists:
        # Anew each time, so that what is mapped is given back.
        parts = (cell_search.Part(*load(group)) for group in range(count))
        return cell_search.merge_parts(parts, offers, wanted, k)

    return merge


def _finish(
    rows: Any,
    merge: Callable[[np.ndarray, int], lists.Lists],
    own: range,
    k: int,
    include_self: bool,
    pool: Executor,
) -> Neighbors:
    """Merges the lists of the own rows, the row itself in front where it counts."""
    shape = len(own), k
    found = Neighbors(np.empty(shape, np.int32), np.empty(shape, np.float32))

    def fill(start: int) -> None:
        some = own[start : start + lists.RANGE]
        wanted = np.asarray(some, np.int32)
        best = merge(wanted, k - include_self)
        place = slice(start, start + len(some))
        found.similarity[place, include_self:] = best.similarity
        found.indices[place, include_self:] = best.indices
        if include_self:
            features = cells.read(rows, slice(some.start, some.stop))
            found.similarity[place, 0] = np.einsum("nd,nd->n", features, features)
            found.indices[place, 0] = wanted

    list(cells.in_turn(pool, fill, range(0, len(own), lists.RANGE)))
    return found


def _least_ratios(rows: Any, centroids: np.ndarray, edges: recall.Edges) -> np.ndarray:
    """Finds the ρ_ij up to which each edge is found, [E]."""
    ends, place = np.unique(
        np.concatenate([edges.rows, edges.others]), return_inverse=True
    )
    features = cells.read(rows, ends)
    own, best = np.empty(len(ends), np.int64), np.empty(len(ends), np.float32)
    for start in range(0, len(ends), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        cosine = features[block] @ centroids.T
        own[block], best[block] = cosine.argmax(axis=1), cosine.max(axis=1)
    left, right = place[: len(edges.rows)], place[len(edges.rows) :]

    def ratio_of(one, other):
        cosine = np.einsum("ed,ed->e", features[one], centroids[own[other]])
        # Without a near centroid a row probes its own cell only.
        ratio = np.where(best[one] > 0, cosine / np.abs(best[one]), -np.inf)
        return np.where(own[one] == own[other], 1.0, np.minimum(ratio, 1.0))

    return np.maximum(ratio_of(left, right), ratio_of(right, left))


def _choose_ratio(
    ratios: np.ndarray, edges: recall.Edges, target: float
) -> float | None:
    """Finds the largest ρ whose lower bound is at least the target, or None."""
    if not len(ratios):
        return 1.0
    steps = np.unique(ratios)
    # The bound grows with every edge found, but for details of its variance.
    low, high = -1, len(steps) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if recall.estimate(edges, ratios >= steps[middle])[1] >= target:
            low = middle
        else:
            high = middle - 1
    if low < 0 or steps[low] <= 0:
        return None
    return float(steps[low]) - _ROUNDING


def check_options(edge_recall: float, threshold: float | None) -> None:
    """Refuses a recall or a threshold out of its range."""
    if not 0 < edge_recall <= 1:
        raise ValueError(f"edge_recall is {edge_recall}; expected a share in (0, 1]")
    if threshold is not None:
        check_number("threshold", threshold, -1.0, 1.0)
