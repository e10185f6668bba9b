"""One split: each method chooses on one half of the people, reports on the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from experiments.studies import baselines, choice
from experiments.studies.comparison.methods import Method, Output, Setting, range_of
from experiments.studies.comparison.rescored import rescore_pairs
from experiments.studies.comparison.search import search
from gfa_jax import metrics
from gfa_jax.programs import cli, evaluation, inputs

# A bootstrap draw can need twice the false accepts of the largest target.
_TAIL_MARGIN = 4


class Outcome(NamedTuple):
    """What one method did on one split.

    Attributes:
        setting: as chosen; None for the raw features.
        tried: settings with their TPRs on the half to choose on.
        verification: on the other half.
        seconds: for all trials, their figures included.
    """

    setting: Setting | None
    tried: list[tuple[Setting, list[float]]]
    verification: evaluation.Verification
    seconds: float


class Half(NamedTuple):
    """A pool with its candidates, and all its pairs by their cosines."""

    pool: inputs.Pool
    neighbors: gfa.Neighbors
    raw: metrics.AllPairs
    max_images: int | None
    tail_size: int

    def measure(self, output: Output) -> metrics.AllPairs:
        """Measures all pairs by refined features, or by a re-ranker's scores."""
        if isinstance(output, baselines.PairScores):
            # Only the listed pairs are new; the cosines have been counted already.
            return rescore_pairs(
                self.raw,
                self.pool.features,
                output.listed(),
                weight=output.weight,
            )
        return _measure(output, self.pool, self.max_images, self.tail_size)


def prepare(
    pool: inputs.Pool,
    *,
    max_k: int,
    fprs: Sequence[float],
    max_images: int | None,
) -> Half:
    """Searches the candidates once, at the largest k, and counts the raw pairs.

    Args:
        pool: one half.
        max_k: the most neighbours that any method may ask for.
        fprs: targets to be read later.
        max_images: see `evaluation.measure_all_pairs`.

    Returns:
        Half.

    Raises:
        ValueError: fewer rows than neighbours.
    """
    found = gfa.exact_neighbors(pool.features, k=max_k)
    neighbors = gfa.Neighbors(*map(np.asarray, found))
    num_pairs = len(pool.features) * (len(pool.features) - 1) // 2
    tail_size = max(2**16, int(_TAIL_MARGIN * max(fprs) * num_pairs))
    raw = _measure(pool.features, pool, max_images, tail_size)
    return Half(pool, neighbors, raw, max_images, tail_size)


def compete(
    choosing: Half,
    reported: Half,
    methods: Mapping[str, Method],
    *,
    trials: int,
    fprs: Sequence[float],
    tolerance: float,
    num_resamples: int,
    seed: int,
    progress: Callable = cli.progress,
) -> dict[str, Outcome]:
    """Lets every method choose on one half and measures it on the other.

    Args:
        choosing: the half to choose on.
        reported: the half to report on.
        methods: name -> Method.
        trials: settings that each may try.
        fprs: targets to choose by and to report.
        tolerance: see `choice.choose`.
        num_resamples: bootstrap draws of the identities reported on.
        seed: of the draws.
        progress: called as tqdm is.

    Returns:
        name -> Outcome, "raw" first.
    """
    draws: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}

    def verify(result: metrics.AllPairs, **draws: Any) -> evaluation.Verification:
        return evaluation.verify_all_pairs(
            result, fprs=fprs, rule="conservative", **draws
        )

    none = {"num_resamples": 0, "seed": 0}
    raw = choice.tprs(verify(choosing.raw, **none))
    limits = range_of(choosing.neighbors)
    outcomes = {"raw": Outcome(None, [], verify(reported.raw, **draws), 0.0)}
    for name, method in methods.items():
        start = time.perf_counter()

        def evaluate(setting: Setting, method: Method = method) -> list[float]:
            output = _run(method, choosing, setting)
            return choice.tprs(verify(choosing.measure(output), **none))

        tried = search(
            method,
            evaluate,
            raw,
            progress(range(trials), total=trials, desc=name),
            trials=trials,
            seed=seed,
            limits=limits,
        )
        seconds = time.perf_counter() - start
        chosen = choice.choose(
            raw, tried, tolerance=tolerance, strength=method.strength
        )
        output = _run(method, reported, chosen)
        verification = verify(reported.measure(output), **draws)
        outcomes[name] = Outcome(chosen, tried, verification, seconds)
    return outcomes


def _run(method: Method, half: Half, setting: Setting) -> Output:
    return method.run(half.pool.features, half.neighbors, **setting)


def _measure(
    features: np.ndarray, pool: inputs.Pool, max_images: int | None, tail_size: int
) -> metrics.AllPairs:
    assert pool.labels is not None  # a half has them
    return evaluation.measure_all_pairs(
        features, pool.labels, max_images=max_images, tail_size=tail_size
    )
