"""Search of a gallery by queries: CMC at a rank and mean average precision.

A query q ranks the gallery by s_g = q · f_g. With its m matches in descending order of
their scores s_1 >= … >= s_m, and n_j non-matches that score at least s_j,

    AP_q = (1 / m) Σ_j j / (j + n_j)             CMC_q(r) = [1 + n_1 <= r]

and mAP and CMC are the means over the queries that have a match; the others are
skipped. **Ties**: a match stands behind every non-match of its score, the ranking that
is worst for the query. So the figures do not depend on the order of the gallery, and
features that are all alike gain nothing.

Rules of Market-1501 (Zheng et al., Scalable Person Re-identification, ICCV 2015): for
each query the rows of its own identity and camera are left out, junk (−1) is left out
for all, and a distractor (0) is nobody's match.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax import numerics
from gfa_jax.datasets.labels import as_labels
from gfa_jax.metrics.scored_pairs import check_features

DEFAULT_RANKS = (1, 5, 10)
MARKET_1501: Mapping[str, Any] = {"junk": -1, "distractor": 0}


class Rankings(NamedTuple):
    """Where every query finds its matches.

    Attributes:
        average_precision: [Q] float64 in [0, 1]; 0 for a query without a match.
        first_rank: [Q] int64 rank of the first match, from 1; 0 without a match.
        num_matches: [Q] int64 matches in the gallery; where it is 0 the query is
            skipped.
    """

    average_precision: np.ndarray
    first_rank: np.ndarray
    num_matches: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """[Q] bool: the queries that have a match."""
        return self.num_matches > 0


class RetrievalInterval(NamedTuple):
    """Bounds of the mean average precision, and [R, 2] of the CMC at each rank."""

    mean_average_precision: tuple[float, float]
    cmc: np.ndarray


def rank_gallery(
    queries: Any,
    gallery: Any,
    query_identities: npt.ArrayLike,
    gallery_identities: npt.ArrayLike,
    *,
    query_cameras: npt.ArrayLike | None = None,
    gallery_cameras: npt.ArrayLike | None = None,
    own_rows: npt.ArrayLike | None = None,
    junk: int | str | None = None,
    distractor: int | str | None = None,
    block_size: int = 128,
    progress: Callable | None = None,
) -> Rankings:
    """Ranks a gallery for every query and finds the matches in it.

    Args:
        queries: [Q, D] floating unit rows (a row of zeros scores 0 with every row); a
            NumPy array, a memory map or a JAX array.
        gallery: [G, D] likewise.
        query_identities: [Q] integers or strings.
        gallery_identities: [G] likewise.
        query_cameras: [Q] integers or strings: what a query and a match may not have
            in common. With `gallery_cameras`, or neither.
        gallery_cameras: [G] likewise.
        own_rows: [Q] integers, the gallery row that is the query itself and is left
            out of its ranking; -1 where there is none.
        junk: identity of the gallery rows that are left out of every ranking.
        distractor: identity whose rows match no query, not even one of that identity.
        block_size: queries scored at a time.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            blocks.

    Returns:
        Rankings.

    Raises:
        ValueError: shapes, dtypes or widths that do not fit, rows not of unit length,
            cameras of one side only, or no query with a match.

    Cost: Q G D multiply-adds on the device, then O(Q G log m) on one core of the host
    (about 0.6 ms a query and 20,000 gallery rows). Memory: the gallery on the device,
    and 40 bytes a gallery row and query of one block.
    """
    queries, gallery = check_features(queries), check_features(gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} columns and the gallery "
            f"{gallery.shape[1]}; expected features of one network"
        )
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1")
    for features in (queries, gallery):
        numerics.check_unit_rows(features)
    wanted, known = (
        _check_names(query_identities, len(queries), "query_identities"),
        _check_names(gallery_identities, len(gallery), "gallery_identities"),
    )
    allowed, matchable = ~_equals(known, junk), ~_equals(known, distractor)
    wanted, known = _number(wanted, known, "identities")
    if (query_cameras is None) != (gallery_cameras is None):
        raise ValueError("got cameras of one side only; expected both, or neither")
    cameras = None
    if query_cameras is not None and gallery_cameras is not None:
        cameras = _number(
            _check_names(query_cameras, len(queries), "query_cameras"),
            _check_names(gallery_cameras, len(gallery), "gallery_cameras"),
            "cameras",
        )
    own = _check_own(own_rows, len(queries), len(gallery))
    result = Rankings(
        np.zeros(len(queries)),
        np.zeros(len(queries), np.int64),
        np.zeros(len(queries), np.int64),
    )
    for number, scores in _scores(queries, gallery, block_size, progress):
        same = known == wanted[number]
        kept = allowed
        if cameras is not None:
            kept = kept & ~(same & (cameras[1] == cameras[0][number]))
        if own is not None and own[number] >= 0:
            kept = kept.copy()
            kept[own[number]] = False
        is_match = same & matchable & kept
        if is_match.any():
            found = _find(scores[is_match], scores[kept & ~is_match])
            for column, value in zip(result, found, strict=True):
                column[number] = value
    if not result.counted.any():
        why = "are the identities of both numbered alike?"
        if np.isin(wanted, known[allowed & matchable]).any():
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
        mAP, in [0, 1].
    """
    return float(rankings.average_precision[rankings.counted].mean())


def cmc(rankings: Rankings, ranks: Iterable[int] = DEFAULT_RANKS) -> np.ndarray:
    """Measures the share of queries whose first match is among the first r.

    CMC(r) = mean_q [first_rank_q <= r], over the queries that have a match.

    Args:
        rankings: of `rank_gallery`.
        ranks: R ranks r >= 1.

    Returns:
        [R] float64 in [0, 1].

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
    level: float = 0.95,
    seed: int = 0,
) -> RetrievalInterval:
    """Bounds mAP and CMC, or their gain, by drawing the queries' identities anew.

    Queries of one person are not independent, so whole identities are drawn, with
    replacement; the gallery stays. The bounds are the percentiles over the draws; of a
    gain, those of after − before, draw by draw: what makes a draw easy or hard for both
    is no part of them.

    Args:
        rankings: of `rank_gallery`.
        identities: [Q] integers or strings, of the queries.
        ranks: R ranks r >= 1.
        before: rankings by other features of the same queries and gallery, whose
            figures are taken off; None for the figures themselves.
        num_resamples: draws, >= 1.
        level: share of the draws between the bounds, in (0, 1).
        seed: of the draws.

    Returns:
        RetrievalInterval; of a gain in [-1, 1].

    Raises:
        ValueError: identities of another shape, an option out of its range, rankings
            of other queries.

    Cost and memory: O(num_resamples · identities).
    """
    ranks = tuple(ranks)
    means = _resampled_means(rankings, identities, ranks, num_resamples, level, seed)
    if before is not None:
        if not np.array_equal(before.num_matches, rankings.num_matches):
            raise ValueError(
                "the queries of before and after do not have the same numbers of "
                "matches; expected rankings of the same queries in the same gallery"
            )
        means -= _resampled_means(before, identities, ranks, num_resamples, level, seed)
    bounds = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0).T
    return RetrievalInterval((float(bounds[0, 0]), float(bounds[0, 1])), bounds[1:])


def _resampled_means(
    rankings: Rankings,
    identities: npt.ArrayLike,
    ranks: Iterable[int],
    num_resamples: int,
    level: float,
    seed: int,
) -> np.ndarray:
    """Returns mAP and CMC [num_resamples, 1 + R] on identities drawn anew."""
    identities = _check_names(identities, len(rankings.counted), "identities")
    if num_resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"num_resamples is {num_resamples} and level {level}; expected at least 1, "
            "and a share in (0, 1)"
        )
    codes = np.unique(identities[rankings.counted], return_inverse=True)[1]
    values = _statistics(rankings, ranks)
    sizes = np.bincount(codes)
    sums = np.stack([np.bincount(codes, column) for column in values.T], axis=1)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(
        sizes.size, np.full(sizes.size, 1 / sizes.size), num_resamples
    )
    return (draws @ sums) / (draws @ sizes)[:, None]


def _scores(
    queries: np.ndarray,
    gallery: np.ndarray,
    block_size: int,
    progress: Callable | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the number of each query and its scores [G], block by block."""
    on_device = numerics.to_compute_dtype(gallery)
    starts = range(0, len(queries), block_size)
    if progress is not None:
        starts = progress(starts, total=len(starts), desc="queries")
    for start in starts:
        block = queries[start : start + block_size]
        # A last block of full height spares the compiler a second program.
        padded = np.zeros((block_size, queries.shape[1]), queries.dtype)
        padded[: len(block)] = block
        scores = np.asarray(_multiply(jnp.asarray(padded), on_device))
        yield from enumerate(scores[: len(block)], start)


@jax.jit
def _multiply(queries: jax.Array, gallery: jax.Array) -> jax.Array:
    return numerics.dot("qd,gd->qg", numerics.to_compute_dtype(queries), gallery)


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


def _equals(names: np.ndarray, name: int | str | None) -> np.ndarray:
    """Tells which names are the given one; none is None."""
    if name is None:
        return np.zeros(len(names), bool)
    if isinstance(name, str) != (names.dtype.kind == "U"):
        raise ValueError(
            f"got {name!r} as junk or distractor, and identities of {names.dtype}; "
            "expected integers both, or strings"
        )
    return names == name


def _number(first: np.ndarray, second: np.ndarray, name: str) -> list[np.ndarray]:
    """Numbers the names of both sides alike: integers compare fast."""
    if first.dtype.kind != second.dtype.kind:
        raise ValueError(
            f"{name} of the queries are {first.dtype} and of the gallery "
            f"{second.dtype}; expected integers both, or strings"
        )
    codes = np.unique(np.concatenate([first, second]), return_inverse=True)[1]
    return np.split(codes, [len(first)])


def _check_own(
    own_rows: npt.ArrayLike | None, num_queries: int, num_gallery: int
) -> np.ndarray | None:
    if own_rows is None:
        return None
    own = np.asarray(own_rows)
    if own.shape != (num_queries,) or own.dtype.kind not in "iu":
        raise ValueError(
            f"own_rows are {own.dtype} of shape {own.shape}; expected integers of "
            f"shape ({num_queries},), one a query"
        )
    if own.size and not -1 <= own.min() <= own.max() < num_gallery:
        raise ValueError(
            f"own_rows run from {own.min()} to {own.max()}; expected -1 to "
            f"{num_gallery - 1}, the rows of the gallery"
        )
    return own
