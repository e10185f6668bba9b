"""Search of a gallery by queries: CMC at a rank and mean average precision.

A query q ranks the gallery by s_g = q · f_g. With its m matches in descending order of
their scores s_1 >= … >= s_m, and n_j non-matches that score at least s_j,

    AP_q = (1 / m) Σ_j j / (j + n_j)             CMC_q(r) = [1 + n_1 <= r]

and mAP and CMC are the means over the queries that have a match; the others are
skipped. **Ties**: a match stands behind every non-match of its score, the ranking that
is worst for the query. So the figures do not depend on the order of the gallery, and
features that are all alike gain nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax import numerics
from gfa_jax.datasets.labels import as_labels, known_identities
from gfa_jax.metrics.bootstrap import BOUNDS
from gfa_jax.metrics.scored_pairs import check_features

DEFAULT_RANKS = (1, 5, 10)
_BLOCK = 128  # queries scored at a time


class Rankings(NamedTuple):
    """Where every query finds its matches."""

    average_precision: np.ndarray  # [Q] float64 in [0, 1]; 0 without a match
    first_rank: np.ndarray  # [Q] int64 rank of the first match, from 1; 0 without one
    num_matches: np.ndarray  # [Q] int64 matches in the gallery; skipped where it is 0

    @property
    def counted(self) -> np.ndarray:
        """[Q] bool: the queries that have a match."""
        return self.num_matches > 0


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
    and 40 bytes a gallery row and query of one block.

    Examples:
        >>> people = metrics.rank_gallery(
        ...     features, features, labels, labels, own_rows=np.arange(300)
        ... )
        >>> 0 < metrics.mean_average_precision(people) < 1
        True
    """
    queries, gallery = check_features(queries), check_features(gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} columns and the gallery "
            f"{gallery.shape[1]}; expected features of one network"
        )
    for features in (queries, gallery):
        numerics.check_unit_rows(features)
    sizes = len(queries), len(gallery)
    wanted, known = _number(query_identities, gallery_identities, sizes, "identities")
    is_known = known_identities(gallery_identities)
    if (query_cameras is None) != (gallery_cameras is None):
        raise ValueError("got cameras of one side only; expected both, or neither")
    cameras = None
    if query_cameras is not None and gallery_cameras is not None:
        cameras = _number(query_cameras, gallery_cameras, sizes, "cameras")
    own = np.full(len(queries), -1) if own_rows is None else np.asarray(own_rows)
    if own.shape != (len(queries),) or own.dtype.kind not in "iu":
        raise ValueError(
            f"own_rows are {own.dtype} of shape {own.shape}; expected integers of "
            f"shape ({len(queries)},), one a query"
        )
    if own.size and not -1 <= own.min() <= own.max() < len(gallery):
        raise ValueError(
            f"own_rows run from {own.min()} to {own.max()}; expected -1 to "
            f"{len(gallery) - 1}, the rows of the gallery"
        )
    first_rank, num_matches = np.zeros((2, len(queries)), np.int64)
    result = Rankings(np.zeros(len(queries)), first_rank, num_matches)
    for number, scores in _scores(queries, gallery, progress):
        same = known == wanted[number]
        kept = is_known.copy()
        if cameras is not None:
            kept &= ~(same & (cameras[1] == cameras[0][number]))
        if own[number] >= 0:
            kept[own[number]] = False
        is_match = same & kept
        if is_match.any():
            found = _find(scores[is_match], scores[kept & ~is_match])
            for column, value in zip(result, found, strict=True):
                column[number] = value
    if not result.counted.any():
        why = "are the identities of both numbered alike?"
        if np.isin(wanted, known).any():
            why = "each match is of the query's own camera, or the query itself"
        raise ValueError(
            f"none of {len(queries)} queries has a match in the gallery; {why}"
        )
    return result


def mean_average_precision(rankings: Rankings) -> float:
    """Averages AP over the queries that have a match, mAP = mean_q AP_q.

    Args:
        rankings: of `rank_gallery`.

    Returns:
        mAP in [0, 1].
    """
    return float(rankings.average_precision[rankings.counted].mean())


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
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; expected at least 1")
    identities = _check_names(identities, len(rankings.counted), "identities")
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


def _scores(
    queries: np.ndarray, gallery: np.ndarray, progress: Callable | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the number of each query and its scores [G], block by block."""
    on_device = numerics.to_compute_dtype(gallery)
    starts = range(0, len(queries), _BLOCK)
    if progress is not None:
        starts = progress(starts, total=len(starts), desc="queries")
    for start in starts:
        block = queries[start : start + _BLOCK]
        # A last block of full height spares the compiler a second program.
        padded = np.zeros((_BLOCK, queries.shape[1]), queries.dtype)
        padded[: len(block)] = block
        rows = numerics.to_compute_dtype(padded)
        scores = np.asarray(numerics.dot("qd,gd->qg", rows, on_device))
        yield from enumerate(scores[: len(block)], start)


def _find(matches: np.ndarray, others: np.ndarray) -> tuple[float, int, int]:
    """Returns AP, the rank of the first match and the number of matches."""
    ascending = np.sort(matches)
    # How many of the matches do not beat each of the others.
    beaten = np.searchsorted(ascending, others, side="right")
    counts = np.bincount(beaten, minlength=matches.size + 1)[1:]
    ahead = np.cumsum(counts[::-1])  # of the first match, of the second, …
    places = np.arange(1, matches.size + 1)
    return float(np.mean(places / (places + ahead))), int(ahead[0]) + 1, matches.size


def _statistics(rankings: Rankings, ranks: Iterable[int]) -> np.ndarray:
    """Returns [C, 1 + R]: of each query that counts, AP and the hit at each rank."""
    wanted = np.array([*ranks])
    if wanted.size == 0 or wanted.dtype.kind not in "iu" or wanted.min() < 1:
        raise ValueError(f"ranks are {wanted.tolist()}; expected integers from 1")
    counted = rankings.counted
    hits = rankings.first_rank[counted, None] <= wanted
    return np.column_stack([rankings.average_precision[counted], hits])


def _check_names(names: npt.ArrayLike, count: int, name: str) -> np.ndarray:
    names = as_labels(names)
    if names.shape != (count,) or names.dtype.kind not in "iuU":
        raise ValueError(
            f"{name} are {names.dtype} of shape {names.shape}; expected integers or "
            f"strings of shape ({count},), one a row"
        )
    return names if names.dtype.kind == "U" else names.astype(np.int64)


def _number(
    queries: npt.ArrayLike, gallery: npt.ArrayLike, sizes: tuple[int, int], name: str
) -> list[np.ndarray]:
    """Numbers the names of both sides alike: integers compare fast."""
    first = _check_names(queries, sizes[0], f"{name} of the queries")
    second = _check_names(gallery, sizes[1], f"{name} of the gallery")
    if first.dtype.kind != second.dtype.kind:
        raise ValueError(
            f"{name} of the queries are {first.dtype} and of the gallery "
            f"{second.dtype}; expected integers both, or strings"
        )
    codes = np.unique(np.concatenate([first, second]), return_inverse=True)[1]
    return np.split(codes, sizes[:1])
