"""The same budget for all: draw settings, keep the best, score it elsewhere."""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.studies.clusterers.problem import Clusterer, Problem
from gfa_jax import metrics


class Outcome(NamedTuple):
    """What a clusterer did in one split."""

    setting: dict[str, Any]  # chosen on the first half
    # The mean of both F on the first half, of each setting tried.
    tried: list[tuple[dict[str, Any], float]]
    scores: metrics.ClusterScores  # on the other half
    seconds: float  # of one run on the other half


def settings(
    space: Mapping[str, Sequence[Any]], *, trials: int, seed: int
) -> list[dict[str, Any]]:
    """Draws settings from a space, values of each keyword, without repeats.

    All combinations where they are no more than `trials`, else so many of them.
    """
    cells = [
        dict(zip(space, cell, strict=True))
        for cell in itertools.product(*space.values())
    ]
    order = np.random.default_rng(seed).permutation(len(cells))[:trials]
    return [cells[i] for i in sorted(order)]


def compete(
    clusterer: Clusterer,
    first: tuple[Problem, np.ndarray],
    second: tuple[Problem, np.ndarray],
    *,
    trials: int,
    seed: int,
) -> Outcome:
    """Tunes a clusterer on one problem and its identities, and scores it on another.

    Of equally good settings the first is taken.
    """
    problem, identities = first
    tried = tune(clusterer, problem, identities, trials=trials, seed=seed)
    setting = best(tried)
    problem, identities = second
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        labels = clusterer.cluster(problem, **setting)
        seconds.append(time.perf_counter() - start)
    scores = metrics.cluster_scores(identities, labels)
    return Outcome(setting, tried, scores, min(seconds))


def tune(
    clusterer: Clusterer,
    problem: Problem,
    identities: np.ndarray,
    *,
    trials: int,
    seed: int,
) -> list[tuple[dict[str, Any], float]]:
    """Tries settings: each with the mean of its pairwise F and its BCubed F."""
    tried = []
    for setting in settings(clusterer.space, trials=trials, seed=seed):
        labels = clusterer.cluster(problem, **setting)
        scores = metrics.cluster_scores(identities, labels)
        tried.append((setting, (scores.pairwise.f_score + scores.bcubed.f_score) / 2))
    return tried


def best(tried: Sequence[tuple[dict[str, Any], float]]) -> dict[str, Any]:
    """Returns the setting with the largest value; of equal ones the first."""
    return max(tried, key=lambda each: each[1])[0]
