"""Search of a gallery by queries: CMC at a rank and mean average precision.

A query q ranks the gallery by its scores, s_g = q · f_g. With its m matches in
descending order of theirs, s_1 >= … >= s_m, n_j non-matches that score at least s_j,
and the rank r_j = j + n_j of match j,

    AP_q      = (1 / m) Σ_j j / r_j                            CMC_q(r) = [r_1 <= r]
    AP_q@k    = (1 / min(m, k)) Σ_j [r_j <= k] j / r_j
    MAP_q@R   = AP_q@m

and mAP, mAP@k, MAP@R and CMC are the means over the queries that have a match; the
others are skipped. (Some divide AP@k by m, or by the matches found.) **Ties**: a match
stands behind every non-match of its score, the ranking that is worst for the query. So
the figures do not depend on the order of the gallery, and features that are all alike
gain nothing. Source of MAP@R: Musgrave, Belongie and Lim, A Metric Learning Reality
Check, ECCV 2020.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax import numerics
from gfa_jax.checks import check_integer, check_rows
from gfa_jax.datasets.labels import as_labels, known_identities
from gfa_jax.metrics.bootstrap import BOUNDS
from gfa_jax.metrics.scored_pairs import check_features, check_names
from gfa_jax.types import track

DEFAULT_RANKS = (1, 5, 10)
_BLOCK = 128  # queries scored at a time


class Rankings(NamedTuple):
    """Where each of Q queries finds its matches, M in all."""

    ranks: np.ndarray  # [M] int64 from 1, ascending in each query, query after query
    num_matches: np.ndarray  # [Q] int64 matches in the gallery; skipped where it is 0

    @property
    def counted(self) -> np.ndarray:
        """[Q] bool: the queries that have a match."""
        return self.num_matches > 0

    @property
    def first_rank(self) -> np.ndarray:
        """[Q] int64: rank of the first match; 0 without one."""
        first = np.zeros_like(self.num_matches)
        ends = np.cumsum(self.num_matches)
        first[self.counted] = self.ranks[(ends - self.num_matches)[self.counted]]
        return first

    @property
    def average_precision(self) -> np.ndarray:
        """[Q] float64 in [0, 1]: AP of each query; 0 without a match."""
        return _average_precision(self, self.ranks.max(initial=1))


def rank_gallery(
    queries: Any,
    gallery: Any,
    query_identities: npt.ArrayLike,
    gallery_identities: npt.ArrayLike,
    *,
    query_cameras: npt.ArrayLike | None = None,
    gallery_cameras: npt.ArrayLike | None = None,
    own_rows: npt.ArrayLike | None = None,
    progress: Callable | None = None,
) -> Rankings:
    """Ranks a gallery for every query and finds the matches in it.

    Args:
        queries: [Q, D] floating unit rows, NumPy or JAX.
        gallery: [G, D] likewise.
        query_identities: [Q] integers or strings.
        gallery_identities: [G] likewise; a distractor needs one that no query has. Rows
            of unknown identity (see `datasets.known_identities`) are left out of every
            ranking, and such a query has no match.
        query_cameras: [Q] integers or strings. Gallery rows of the query's identity and
            camera are left out of its ranking (Market-1501: Zheng et al., Scalable
            Person Re-identification, ICCV 2015). With `gallery_cameras`, or neither.
        gallery_cameras: [G] likewise.
        own_rows: [Q] integers, the gallery row that is the query itself and is left
            out of its ranking; -1 where there is none.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        Rankings of the Q queries.

    Raises:
        ValueError: shapes, dtypes or widths that do not fit, rows not of unit length,
            cameras of one side only, or no query with a match.

    Cost: Q G D multiply-adds on the device, then O(Q G log m) on one core of the host
    (about 0.6 ms a query and 20,000 gallery rows). Memory: the gallery on the device,
    40 bytes a gallery row and query of one block, and 8 bytes a match.

    Examples:
        >>> people = metrics.rank_gallery(
        ...     features, features, labels, labels, own_rows=np.arange(300)
        ... )
        >>> 0 < metrics.mean_average_precision(people) < 1
        True
    """
    return rank_scores(
        score_rows(queries, gallery, query_identities, gallery_identities, progress),
        query_identities,
        gallery_identities,
        query_cameras=query_cameras,
        gallery_cameras=gallery_cameras,
        own_rows=own_rows,
    )


def rank_scores(
    scores: Iterable[np.ndarray],
    query_identities: npt.ArrayLike,
    gallery_identities: npt.ArrayLike,
    *,
    query_cameras: npt.ArrayLike | None = None,
    gallery_cameras: npt.ArrayLike | None = None,
    own_rows: npt.ArrayLike | None = None,
) -> Rankings:
    """Finds the matches by given scores, where a score is not a product of features.

    All arguments but the first are as for `gfa_jax.metrics.rank_gallery`.

    Args:
        scores: of each query in turn its scores [G] with the gallery: the rows of an
            array, or an iterator; -inf ranks last.

    Returns:
        Rankings.

    Raises:
        ValueError: scores that do not fit the identities or hold nan; else as
            `rank_gallery`.
    """
    cameras = query_cameras, gallery_cameras
    names = query_identities, gallery_identities
    ranks = [_ranks(*each) for each in split_scores(scores, names, cameras, own_rows)]
    num_matches = np.array([each.size for each in ranks], np.int64)
    if not num_matches.any():
        why = "are the identities of both numbered alike?"
        if np.isin(as_labels(query_identities), as_labels(gallery_identities)).any():
            why = "each match is of the query's own camera, or the query itself"
        raise ValueError(
            f"none of {len(ranks)} queries has a match in the gallery; {why}"
        )
    return Rankings(np.concatenate(ranks), num_matches)


def mean_average_precision(rankings: Rankings, *, k: int | None = None) -> float:
    """Averages AP, or AP@k, over the queries that have a match.

    Args:
        rankings: of `rank_gallery`.
        k: the last rank that counts, >= 1; None for all.

    Returns:
        mAP or mAP@k, in [0, 1].

    Raises:
        ValueError: k below 1.
    """
    if k is not None:
        check_integer("k", k, least=1)
    found = rankings.average_precision if k is None else _average_precision(rankings, k)
    return float(found[rankings.counted].mean())


def map_at_r(rankings: Rankings) -> float:
    """Averages AP@m, m the matches of the query, over the queries that have one.

    Args:
        rankings: of `rank_gallery`.

    Returns:
        MAP@R in [0, 1].
    """
    found = _average_precision(rankings, rankings.num_matches)
    return float(found[rankings.counted].mean())


def cmc(rankings: Rankings, ranks: Iterable[int] = DEFAULT_RANKS) -> np.ndarray:
    """Measures how many queries have a match among the first r.

        CMC(r) = mean_q [first_rank_q <= r], over the queries that have a match

    Args:
        rankings: of `rank_gallery`.
        ranks: R ranks r >= 1.

    Returns:
        [R] float64 shares in [0, 1].

    Raises:
        ValueError: no rank, or a rank below 1.
    """
    return _statistics(rankings, ranks)[:, 1:].mean(axis=0)


def bootstrap_rankings(
    rankings: Rankings,
    identities: npt.ArrayLike,
    ranks: Iterable[int] = DEFAULT_RANKS,
    *,
    before: Rankings | None = None,
    num_resamples: int = 200,
    seed: int = 0,
) -> np.ndarray:
    """Bounds mAP and CMC, or their gain, by drawing the queries' identities anew.

    Queries of one person are not independent, so whole identities are drawn, with
    replacement; the gallery stays. The bounds are those of `bootstrap`.

    Args:
        rankings: of `rank_gallery`.
        identities: [Q] integers or strings, of the queries.
        ranks: R ranks r >= 1.
        before: rankings by other features of the same queries and gallery, whose
            figures are taken off, draw by draw; None for the figures themselves.
        num_resamples: draws, >= 1.
        seed: of the draws.

    Returns:
        [1 + R, 2] lower and upper bounds, of mAP and of the CMC at each rank.

    Raises:
        ValueError: identities of another shape, an option out of its range, rankings
            of other queries.
    """
    check_integer("num_resamples", num_resamples, least=1)
    identities = check_names(identities, len(rankings.counted), "identities")
    if before is not None and not np.array_equal(
        before.num_matches, rankings.num_matches
    ):
        raise ValueError(
            "the queries of before and after do not have the same numbers of "
            "matches; expected rankings of the same queries in the same gallery"
        )
    ranks = tuple(ranks)
    codes = np.unique(identities[rankings.counted], return_inverse=True)[1]
    sizes = np.bincount(codes)
    draws = np.random.default_rng(seed).multinomial(
        sizes.size, np.full(sizes.size, 1 / sizes.size), num_resamples
    )

    def means(rankings: Rankings) -> np.ndarray:
        columns = _statistics(rankings, ranks).T
        sums = np.stack([np.bincount(codes, column) for column in columns], axis=1)
        return (draws @ sums) / (draws @ sizes)[:, None]

    drawn = means(rankings) if before is None else means(rankings) - means(before)
    return np.quantile(drawn, BOUNDS, axis=0).T


def split_scores(
    scores: Iterable[np.ndarray],
    identities: tuple[npt.ArrayLike, npt.ArrayLike],
    cameras: tuple[npt.ArrayLike | None, npt.ArrayLike | None] = (None, None),
    own_rows: npt.ArrayLike | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields of each query the scores of its matches and those of the other rows.

    Of `rank_scores`, which says what is left out; queries first, then the gallery.
    """
    sizes = np.size(identities[0]), np.size(identities[1])
    wanted, known = _number(*identities, sizes, "identities")
    is_known = known_identities(identities[1])
    if (cameras[0] is None) != (cameras[1] is None):
        raise ValueError("got cameras of one side only; expected both, or neither")
    seen = None
    if cameras[0] is not None and cameras[1] is not None:
        seen = _number(cameras[0], cameras[1], sizes, "cameras")
    own = np.full(sizes[0], -1) if own_rows is None else np.asarray(own_rows)
    if own.shape != sizes[:1] or own.dtype.kind not in "iu":
        raise ValueError(
            f"own_rows are {own.dtype} of shape {own.shape}; expected integers of "
            f"shape ({sizes[0]},), one a query"
        )
    if own.size and not -1 <= own.min() <= own.max() < sizes[1]:
        raise ValueError(
            f"own_rows run from {own.min()} to {own.max()}; expected -1 to "
            f"{sizes[1] - 1}, the rows of the gallery"
        )
    number = -1
    for number, row in enumerate(map(np.asarray, scores)):
        if number == sizes[0] or row.shape != sizes[1:] or np.isnan(row).any():
            raise ValueError(
                f"scores of query {number} have shape {row.shape}; expected "
                f"{sizes[0]} queries with scores of shape {sizes[1:]} without nan"
            )
        same = known == wanted[number]
        kept = is_known.copy()
        if seen is not None:
            kept &= ~(same & (seen[1] == seen[0][number]))
        if own[number] >= 0:
            kept[own[number]] = False
        is_match = same & kept
        yield row[is_match], row[kept & ~is_match]
    if number + 1 < sizes[0]:
        raise ValueError(f"got scores of {number + 1} queries; expected {sizes[0]}")


def score_rows(
    queries: Any,
    gallery: Any,
    query_identities: npt.ArrayLike,
    gallery_identities: npt.ArrayLike,
    progress: Callable | None,
) -> Iterator[np.ndarray]:
    """Yields the scores [G] of each query, multiplied block by block, once checked."""
    queries, gallery = check_features(queries), check_features(gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} columns and the gallery "
            f"{gallery.shape[1]}; expected features of one network"
        )
    for features in (queries, gallery):
        check_rows(features)
    sides = {"queries": query_identities, "gallery": gallery_identities}
    for (side, names), rows in zip(sides.items(), (queries, gallery), strict=True):
        check_names(names, len(rows), f"identities of the {side}")
    on_device = numerics.to_compute_dtype(gallery)
    starts = range(0, len(queries), _BLOCK)
    for start in track(progress, starts, desc="queries"):
        block = queries[start : start + _BLOCK]
        # A last block of full height spares the compiler a second program.
        padded = np.zeros((_BLOCK, queries.shape[1]), queries.dtype)
        padded[: len(block)] = block
        rows = numerics.to_compute_dtype(padded)
        scores = np.asarray(numerics.dot("qd,gd->qg", rows, on_device))
        yield from scores[: len(block)]


def _ranks(matches: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the ranks of the matches, ascending from 1."""
    ascending = np.sort(matches)
    # How many of the matches do not beat each of the others.
    beaten = np.searchsorted(ascending, others, side="right")
    counts = np.bincount(beaten, minlength=matches.size + 1)[1:]
    # Others ahead of the first match, of the second, …
    return np.cumsum(counts[::-1]) + np.arange(1, matches.size + 1)


def _average_precision(rankings: Rankings, limit: npt.ArrayLike) -> np.ndarray:
    """Returns AP of each query [Q] over ranks up to a limit, a number or [Q]."""
    counts, limits = rankings.num_matches, np.broadcast_to(limit, len(rankings.counted))
    query = np.repeat(np.arange(counts.size), counts)
    order = np.arange(1, query.size + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    found = (rankings.ranks <= limits[query]) * order / rankings.ranks
    sums = np.bincount(query, found, minlength=counts.size)
    return sums / np.maximum(np.minimum(counts, limits), 1)


def _statistics(rankings: Rankings, ranks: Iterable[int]) -> np.ndarray:
    """Returns [C, 1 + R]: of each query that counts, AP and the hit at each rank."""
    wanted = np.array([*ranks])
    if wanted.size == 0 or wanted.dtype.kind not in "iu" or wanted.min() < 1:
        raise ValueError(f"ranks are {wanted.tolist()}; expected integers from 1")
    counted = rankings.counted
    hits = rankings.first_rank[counted, None] <= wanted
    return np.column_stack([rankings.average_precision[counted], hits])


def _number(
    queries: npt.ArrayLike, gallery: npt.ArrayLike, sizes: tuple[int, int], name: str
) -> list[np.ndarray]:
    """Numbers the names of both sides alike: integers compare fast."""
    first = check_names(queries, sizes[0], f"{name} of the queries")
    second = check_names(gallery, sizes[1], f"{name} of the gallery")
    both = [x if x.dtype.kind == "U" else x.astype(np.int64) for x in (first, second)]
    if both[0].dtype.kind != both[1].dtype.kind:
        raise ValueError(
            f"{name} of the queries are {first.dtype} and of the gallery "
            f"{second.dtype}; expected integers both, or strings"
        )
    codes = np.unique(np.concatenate(both), return_inverse=True)[1]
    return np.split(codes, sizes[:1])
