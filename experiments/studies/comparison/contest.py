"""One split: each method chooses on one half of the people, reports on the other."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from experiments.studies import baselines, choice, evidence
from experiments.studies.comparison.methods import Method, Output, range_of
from experiments.studies.comparison.rescored import rescore_pairs
from experiments.studies.comparison.search import search
from gfa_jax import metrics
from gfa_jax.programs import evaluation, halves, inputs

# A bootstrap draw can need twice the false accepts of the largest target.
_TAIL_MARGIN = 4


class Half(NamedTuple):
    """A pool with its candidates, and all its pairs by their cosines."""

    given: evidence.Set
    neighbors: gfa.Neighbors
    seconds: float  # of the search, compiled before
    raw: metrics.AllPairs
    tail_size: int

    def measure(self, output: Output) -> metrics.AllPairs:
        """Measures all pairs by refined features, or by scores."""
        pool, max_images = self.given.pool, self.given.max_images
        assert pool.labels is not None  # a half has them
        if output is pool.features:
            return self.raw
        if isinstance(output, baselines.PairScores):
            # Only the listed pairs are new; the cosines have been counted already.
            return rescore_pairs(
                self.raw, pool.features, output.listed(), weight=output.weight
            )
        if isinstance(output, baselines.NormalizedScores):
            result = output.measure(pool.labels, tail_size=self.tail_size)
            return evaluation.without_large(result, max_images=max_images)
        return evaluation.measure_all_pairs(
            output, pool.labels, max_images=max_images, tail_size=self.tail_size
        )


def split(given: evidence.Set, *, seed: int) -> Iterator[evidence.Set]:
    """Yields two sets of half the identities each, as `halves.split` does."""
    codes, order = halves.shuffle_identities(given.pool, seed=seed)
    half = len(order) // 2
    for people in (order[:half], order[half:]):
        yield take(given, np.isin(codes, people), codes)


def limit_rows(given: evidence.Set, max_rows: int, *, seed: int) -> evidence.Set:
    """Leaves out identities at random until at most `max_rows` rows are left.

    Raises:
        ValueError: fewer than four identities are left.
    """
    if len(given.pool.features) <= max_rows:
        return given
    codes, order = halves.shuffle_identities(given.pool, seed=seed)
    kept = order[np.cumsum(np.bincount(codes[codes >= 0])[order]) <= max_rows]
    if len(kept) < 4:
        raise ValueError(
            f"--max_rows={max_rows} keeps {len(kept)} identities of "
            f"{given.pool.name}; expected four or more, two a half"
        )
    return take(given, np.isin(codes, kept), codes)


def take(given: evidence.Set, rows: np.ndarray, codes: np.ndarray) -> evidence.Set:
    """Takes the rows where `rows` [N] holds; their `codes` [N] become the labels."""
    return given._replace(
        pool=inputs.select(given.pool, rows, codes),
        origin=None if given.origin is None else given.origin[rows],
        roles=given.roles and tuple(role[rows] for role in given.roles),
    )


def prepare(given: evidence.Set, *, max_k: int, fprs: Sequence[float]) -> Half:
    """Searches the candidates of a half once, at the largest k, and counts raw pairs.

    Raises:
        ValueError: fewer rows than neighbours.
    """
    features, labels = given.pool.features, given.pool.labels
    assert labels is not None  # a half has them
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        found = gfa.exact_neighbors(features, k=max_k)
        neighbors = gfa.Neighbors(*map(np.asarray, found))
        seconds.append(time.perf_counter() - start)
    num_pairs = len(features) * (len(features) - 1) // 2
    tail_size = max(2**16, int(_TAIL_MARGIN * max(fprs) * num_pairs))
    raw = evaluation.measure_all_pairs(
        features, labels, max_images=given.max_images, tail_size=tail_size
    )
    return Half(given, neighbors, min(seconds), raw, tail_size)


def compete(
    choosing: Half,
    reported: Half,
    method: Method,
    *,
    trials: int,
    fprs: Sequence[float],
    tolerance: float,
    num_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Lets a method choose on one half and measures it on the other.

    Args:
        choosing: the half to choose on.
        reported: the half to report on.
        method: of `METHODS`.
        trials: settings that it may try.
        fprs: F targets to choose by and to report.
        tolerance: see `choice.choose`.
        num_resamples: R bootstrap draws of the identities reported on, 0 for none.
        seed: of the search and the draws, which are the same for all methods.

    Returns:
        For the report: `setting` as chosen and those `tried` with their TPRs; on the
        other half `tpr` [F], its bounds `lower` and `upper`, `draws` [R, F] and
        `reliable` [F]; `map` and `cmc1` where there are queries; the seconds of the
        shared `search`, of the `run` with what it prepares, and of the `tuning`.
    """

    def verify(result: metrics.AllPairs, num_resamples: int) -> evaluation.Verification:
        draws: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
        return evaluation.verify_all_pairs(
            result, fprs=fprs, rule="conservative", **draws
        )

    start = time.perf_counter()
    features, neighbors = method.prepare(
        choosing.given.pool.features, choosing.neighbors
    )

    def evaluate(setting: dict[str, Any]) -> list[float]:
        output = _run(method, choosing, features, neighbors, setting)
        return choice.tprs(verify(choosing.measure(output), 0))

    raw = choice.tprs(verify(choosing.raw, 0))
    limits = range_of(neighbors)
    tried = search(method, evaluate, raw, trials=trials, seed=seed, limits=limits)
    chosen = choice.choose(raw, tried, tolerance=tolerance, strength=method.strength)
    tuning, output, seconds = time.perf_counter() - start, None, []
    for _ in range(2):  # the first run compiles
        start = time.perf_counter()
        prepared = method.prepare(reported.given.pool.features, reported.neighbors)
        output = _run(method, reported, *prepared, chosen)
        seconds.append(time.perf_counter() - start)
    assert output is not None
    found = verify(reported.measure(output), num_resamples)
    outcome: dict[str, Any] = {
        "setting": chosen,
        "tried": [setting | {"tpr": tprs} for setting, tprs in tried],
        "tpr": choice.tprs(found),
        "reliable": [point.is_reliable for point in found.points],
        "search": reported.seconds,
        "run": min(seconds),
        "tuning": tuning,
    }
    if found.resampled is not None and found.intervals is not None:
        bounds = [evaluation.bounds(each) for each in found.intervals]
        outcome |= dict(zip(("lower", "upper"), zip(*bounds, strict=True), strict=True))
        draws = np.round(found.resampled.tprs, 6).astype(object)
        draws[np.isnan(found.resampled.tprs)] = None  # JSON has no nan
        outcome["draws"] = draws.tolist()
    return outcome | _search(reported.given, output)


def _run(
    method: Method,
    half: Half,
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    setting: dict[str, Any],
) -> Output:
    extra = {"cameras": half.given.origin} if method.takes_origin else {}
    return method.run(features, neighbors, **extra, **setting)


def _search(given: evidence.Set, output: Output) -> dict[str, float]:
    """Ranks the gallery for the queries where a set has them: mAP and CMC@1."""
    if given.roles is None or given.origin is None or given.pool.labels is None:
        return {}
    query, gallery = (np.flatnonzero(role) for role in given.roles)
    if isinstance(output, np.ndarray):
        scores = output[query] @ output[gallery].T
    else:
        scores = (output(np.full(gallery.size, row), gallery) for row in query)
    labels, origin = given.pool.labels, given.origin
    rankings = metrics.rank_scores(
        scores,
        labels[query],
        labels[gallery],
        query_cameras=origin[query],
        gallery_cameras=origin[gallery],
    )
    mean, first = metrics.mean_average_precision(rankings), metrics.cmc(rankings, (1,))
    return {"map": mean, "cmc1": float(first[0])}
