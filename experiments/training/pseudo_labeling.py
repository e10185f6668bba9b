"""Labels for unlabelled images, by settings that are chosen on labelled ones.

Refine, prune at t_s, take the components (paper, sections 3.4 and 4.6); the ablation
does the same without refining. t and t_s are chosen where labels are known and the
network has not learnt: the choosing identities, whose features are clustered together
with the unlabelled ones, since wrong pairs grow with the pool. Seen from the known rows
i, of identity a_i and in cluster b_i,

    P = Σ_i (n_{a_i b_i} − 1) / Σ_i (|b_i| − 1)
    R = Σ_i (n_{a_i b_i} − 1) / Σ_i (|a_i| − 1)
    F = 2 P R / (P + R)

An unlabelled row in the cluster of a known one counts as wrong: the unlabelled
identities are others, by the cut. No other label is read.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import metrics
from gfa_jax.types import PRESETS


class Method(NamedTuple):
    """How features become clusters, but for t and t_s."""

    k: int = 15  # candidates a row, the row itself counted; fewer in a smaller pool
    gamma: float = 0.5  # step of an update
    num_steps: int = 4  # updates; 0 is the ablation
    preset: str = "affinity"  # of `gfa_jax.aggregate`
    max_size: int | None = None  # most rows of a cluster, or None


class Setting(NamedTuple):
    """What is chosen, and how well it did on the choosing identities."""

    threshold: float  # t; without meaning where nothing is refined
    merge_threshold: float  # t_s
    scores: metrics.PrecisionRecall  # precision and recall of the module's equation


def make_clusters(
    features: np.ndarray, method: Method, *, threshold: float, merge_threshold: float
) -> gfa.Clusters:
    """Refines and clusters one pool of float32 unit rows [N, D], at t and t_s."""
    neighbors = _neighbors(features, method)
    refined = _refine(features, neighbors, method, threshold)
    return gfa.cluster(
        refined, neighbors, threshold=merge_threshold, max_size=method.max_size
    )


def choose(
    features: np.ndarray,
    identities: np.ndarray,
    method: Method,
    *,
    thresholds: Sequence[float],
    merge_thresholds: Sequence[float],
    progress: Callable | None = None,
) -> Setting:
    """Finds the t and t_s of the largest F on the rows of known identity, not -1.

    Of equal ones the stricter is taken, t_s first. Cost: one search, an update a t and
    a clustering a pair of t and t_s.
    """
    neighbors = _neighbors(features, method)
    tried = []
    shown = thresholds
    if progress is not None:
        shown = progress(thresholds, total=len(thresholds), desc="choosing t, t_s")
    for threshold in shown:
        refined = _refine(features, neighbors, method, threshold)
        for merge_threshold in merge_thresholds:
            clusters = gfa.cluster(
                refined, neighbors, threshold=merge_threshold, max_size=method.max_size
            )
            scores = known_scores(clusters.labels, identities)
            tried.append(Setting(threshold, merge_threshold, scores))
    return max(tried, key=lambda s: (s.scores.f_score, s.merge_threshold, s.threshold))


def known_scores(
    clusters: np.ndarray, identities: np.ndarray
) -> metrics.PrecisionRecall:
    """Evaluates P and R of the module's equation; 1 where nothing can be wrong.

    Clusters are [N] integers >= 0; identities, -1 for a row whose identity is not
    known.
    """
    known = identities >= 0
    sizes = np.bincount(clusters)
    people = np.bincount(identities[known])
    cells = np.unique(
        np.stack([identities[known], clusters[known]]), axis=1, return_counts=True
    )[1]
    right = int(np.sum(cells * (cells - 1)))
    joined = int(np.sum(sizes[clusters[known]] - 1))
    possible = int(np.sum(people * (people - 1)))
    return metrics.PrecisionRecall(
        right / joined if joined else 1.0, right / possible if possible else 1.0
    )


def describe(
    labels: gfa.PseudoLabels, clusters: gfa.Clusters, truth: np.ndarray
) -> dict[str, Any]:
    """Compares pseudo-labels with the truth [N] that nothing else sees, for the report.

    A row without a label is alone in recall.
    """
    given = np.full(len(truth), -1)
    given[labels.rows] = labels.labels
    scores = metrics.cluster_scores(truth, given)
    return {
        "rows": len(labels.rows),
        "rows_of": len(truth),
        "classes": labels.num_classes,
        "identities": len(np.unique(truth)),
        "largest": int(clusters.sizes.max(initial=0)),
        "precision": scores.pairwise.precision,
        "recall": scores.pairwise.recall,
        "f_score": scores.pairwise.f_score,
        "mean_confidence": float(labels.weights.mean()) if len(labels.rows) else None,
    }


def spread_settings(
    thresholds: Sequence[float], merge_thresholds: Sequence[float]
) -> list[float]:
    """Spreads as many t_s as the grid has pairs evenly over what the grid spans.

    They are for the ablation, which has no t to choose.
    """
    count = len(thresholds) * len(merge_thresholds)
    low = min(*thresholds, *merge_thresholds)
    return np.linspace(low, max(merge_thresholds), count).tolist()


def _neighbors(features: np.ndarray, method: Method) -> gfa.Neighbors:
    return gfa.exact_neighbors(features, k=min(method.k, len(features) - 1))


def _refine(
    features: np.ndarray, neighbors: gfa.Neighbors, method: Method, threshold: float
):
    if not method.num_steps:
        return jnp.asarray(features)
    return gfa.aggregate(
        features,
        neighbors,
        gfa.Params(method.gamma, threshold),
        num_steps=method.num_steps,
        options=PRESETS[method.preset],
    ).features
