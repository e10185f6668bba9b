"""Whether the confidence of clusters is a probability, and whether asking helps.

Figures for `persistence`, of its sets: the expected calibration error of rows and of
clusters, a reliability plot, and what F gains by answers to the pairs of `review`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.studies import evidence
from gfa_jax import metrics
from gfa_jax.clustering import Review, answer, clusters, review
from gfa_jax.clustering.confidence import EXPONENT, membership
from gfa_jax.clustering.scores import score_candidates

EXPONENTS = (1.0, 1.5, EXPONENT, 2.5, 3.0)
_BINS = 10
_ASKED = (10, 30, 100)
_DRAWS = 5
_ORDERS = ("listed", "most uncertain", "random")


class Confidence(NamedTuple):
    """Of one set.

    Attributes:
        name: of the set.
        network: of the set.
        right: [R] of the rows in clusters of two and more, the share of the others of
            the cluster that are of the same identity.
        likely: [R] their confidence, by exponent.
        by_cluster: [C, 2] mean confidence and share of right pairs of these clusters.
        gains: [3, A] pairwise F gained by so many answers, by the order of asking.
    """

    name: str
    network: str
    right: np.ndarray
    likely: dict[float, np.ndarray]
    by_cluster: np.ndarray
    gains: np.ndarray


def measure(given: evidence.Set, refined: gfa.refinement.Refinement) -> Confidence:
    """Measures the default's clusters of a set."""
    assert refined.labels is not None
    labels, identities = refined.labels, np.asarray(given.pool.labels)
    codes = np.unique(identities, return_inverse=True)[1]
    pairs = codes * (int(labels.max()) + 1) + labels
    _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    sizes = np.bincount(labels)
    kept = sizes[labels] > 1
    right = ((counts[inverse] - 1) / np.maximum(sizes[labels] - 1, 1))[kept]
    views, _, _ = clusters.measure(refined.features, refined.settings.evidence)
    indices = np.asarray(refined.neighbors.indices)
    graph = (
        indices,
        clusters.others(indices),
        score_candidates(views, jnp.asarray(indices)),
    )
    rows = np.asarray(views)
    likely = {
        exponent: membership(labels, *graph, rows, exponent=exponent)[kept]
        for exponent in EXPONENTS
    }
    held = np.bincount(labels[kept])
    means = [
        np.bincount(labels[kept], each)[held > 0] / held[held > 0]
        for each in (likely[EXPONENT], right)
    ]
    gains = _gains(refined, codes)
    name, network = given.pool.name, given.network
    return Confidence(name, network, right, likely, np.stack(means, axis=1), gains)


def calibration_error(likely: np.ndarray, right: np.ndarray) -> float:
    """Sums over tenths of the confidence |mean confidence − share right| by rows."""
    return float(sum(n * abs(p - t) for p, t, n in _bins(likely, right)) / len(right))


def _bins(likely, right) -> list[tuple[float, float, int]]:
    tenth = np.minimum((likely * _BINS).astype(int), _BINS - 1)
    chosen = ((likely[tenth == b], right[tenth == b]) for b in np.unique(tenth))
    return [(p.mean(), t.mean(), len(p)) for p, t in chosen]


def _gains(refined: gfa.refinement.Refinement, identities: np.ndarray) -> np.ndarray:
    """Answers pairs in the order listed, by doubt, and at random: [3, A]."""
    assert refined.labels is not None
    labels = refined.labels
    found = review(
        refined.features,
        refined.neighbors,
        labels,
        count=len(labels) ** 2,
        evidence=refined.settings.evidence,
    )
    every, rng = np.arange(len(found.rows)), np.random.default_rng(0)
    doubt = np.argsort(np.abs(found.probability - 0.5), kind="stable")
    orders = [[every], [doubt], [rng.permutation(every) for _ in range(_DRAWS)]]

    def f_score(order: np.ndarray) -> float:
        rows, together, likely, change = (column[order] for column in found[:4])
        asked = Review(rows, together, likely, change, found.parts)
        same = identities[rows[:, 0]] == identities[rows[:, 1]]
        return metrics.cluster_scores(
            identities, answer(labels, asked, same)
        ).pairwise.f_score

    before = f_score(every[:0])
    return np.array(
        [
            [np.mean([f_score(o[:n]) for o in kind]) - before for n in _ASKED]
            for kind in orders
        ]
    )


def tables(results: Sequence[Confidence]) -> dict[str, str]:
    """Lays out errors and gains by set, and exponents chosen without each network."""
    lines = [
        [
            each.name,
            f"{each.right.mean():.3f}",
            f"{each.likely[EXPONENT].mean():.3f}",
            f"{calibration_error(each.likely[EXPONENT], each.right):.3f}",
            f"{calibration_error(*each.by_cluster.T):.3f}",
        ]
        for each in results
    ]
    columns = np.array([line[1:] for line in lines], float)
    for title, reduce in (("mean", np.mean), ("median", np.median)):
        figures = (f"{value:.3f}" for value in reduce(columns, axis=0))
        lines.append([f"*{title}*", *figures])
    gains = [
        [each.name, *(" ".join(f"{g:+.3f}" for g in row) for row in each.gains)]
        for each in results
    ]
    mean = np.mean([each.gains for each in results], axis=0)
    gains.append(["*mean*", *(" ".join(f"{g:+.3f}" for g in row) for row in mean)])
    asked = ", ".join(map(str, _ASKED))
    return {
        "confidence": evidence.markdown(
            "set | right | confidence | error of rows | of clusters", lines
        ),
        "exponents": _table_of_exponents(results),
        f"review, {asked} answers": evidence.markdown(
            " | ".join(["set", *_ORDERS]), gains
        ),
    }


def _table_of_exponents(results: Sequence[Confidence]) -> str:
    """Chooses the exponent of least median error without each network in turn."""

    def error(some: Sequence[Confidence], exponent: float) -> float:
        each = [calibration_error(r.likely[exponent], r.right) for r in some]
        return float(np.median(each))

    lines = [["none", "", *(f"{error(results, e):.3f}" for e in EXPONENTS)]]
    for network in dict.fromkeys(result.network for result in results):
        own = [result for result in results if result.network == network]
        rest = [result for result in results if result.network != network]
        if rest:
            best = min(EXPONENTS, key=lambda exponent: error(rest, exponent))
            figures = (f"{error(own, e):.3f}" for e in EXPONENTS)
            lines.append([network, f"{best:g}", *figures])
    head = ["left out", "best on the others", *(f"{e:g}" for e in EXPONENTS)]
    return evidence.markdown(" | ".join(head), lines)


def plot_reliability(results: Sequence[Confidence]):
    """Draws the share of right pairs against the confidence, a line a set."""
    from gfa_jax.plotting.style import COLORS, finish, own

    axes = own()
    axes.plot([0, 1], [0, 1], ":", color=COLORS[0], linewidth=1)
    for each in results:
        bins = np.array(_bins(each.likely[EXPONENT], each.right))
        large = bins[bins[:, 2] >= 20]
        axes.plot(*large[:, :2].T, "-", color="#999999", linewidth=0.8)
    weights = np.concatenate([np.full(len(r.right), 1 / len(r.right)) for r in results])
    likely = np.concatenate([r.likely[EXPONENT] for r in results])
    right = np.concatenate([r.right for r in results])
    tenth = np.minimum((likely * _BINS).astype(int), _BINS - 1)
    sums = [np.bincount(tenth, weights * v, _BINS) for v in (likely, right, 1.0)]
    shown = sums[2] > 0
    axes.plot(
        sums[0][shown] / sums[2][shown],
        sums[1][shown] / sums[2][shown],
        "o-",
        color=COLORS[1],
    )
    axes.set_xlabel("confidence of a row")
    axes.set_ylabel("others of its cluster of the same identity")
    return finish(axes, "Reliability: sets in grey, their mean in blue")
