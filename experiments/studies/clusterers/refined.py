"""Ours: refine, then average linkage; and the steps of the way to it.

    F ← aggregate(F)                                    Eq. 2, T times
    A ~ B  while  mean over A × B of F_i · F_j >= t_s   (`gfa_jax.clustering.linkage`)

Beside it the ablations: components of the refined features (the paper's own rule),
average linkage of the raw ones, and Infomap on the refined graph; and the default of
`gfa cluster`, which chooses everything without labels and so has nothing to tune.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.studies.clusterers import infomap
from experiments.studies.clusterers import problem as problems
from gfa_jax.clustering import Method
from gfa_jax.clustering.scores import score_candidates

# The refinements to choose from; each is the graph of K candidates and an update.
_REFINEMENTS: problems.Space = {
    "k": (15,),
    "threshold": (0.35, 0.45),
    "num_steps": (1, 2, 4),
}
_EDGES = 15
SPACE: problems.Space = _REFINEMENTS | {
    "merge_threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75),
}
RAW_SPACE: problems.Space = {
    "merge_threshold": tuple(np.round(np.arange(0.15, 0.625, 0.025), 3).tolist())
}


def average(
    problem: problems.Problem, *, merge_threshold: float, **refinement: Any
) -> np.ndarray:
    """Clusters by average linkage of the refined features, which is ours."""
    return _cluster(refine(problem, **refinement), merge_threshold, "average")


def average_raw(problem: problems.Problem, *, merge_threshold: float) -> np.ndarray:
    """Clusters by average linkage of the raw features."""
    return _cluster(problem, merge_threshold, "average")


def components(
    problem: problems.Problem,
    *,
    merge_threshold: float,
    mutual: bool = False,
    max_size: int | None = None,
    **refinement: Any,
) -> np.ndarray:
    """Clusters by connected components of the refined features."""
    return _cluster(
        refine(problem, **refinement),
        merge_threshold,
        "components",
        mutual=mutual,
        max_size=max_size,
    )


def default(problem: problems.Problem) -> np.ndarray:
    """Clusters as `gfa.refine` does with nothing given."""
    refined = gfa.refine(problem.features, neighbors=problem.neighbors, cluster=True)
    assert refined.labels is not None
    return refined.labels


def infomap_refined(
    problem: problems.Problem, *, merge_threshold: float, **refinement: Any
) -> np.ndarray:
    """Clusters by Infomap on the cosines of the refined features."""
    refined = refine(problem, **refinement)
    return infomap.cluster(refined, k=50, threshold=merge_threshold)


def refine(
    problem: problems.Problem, *, k: int, threshold: float, num_steps: int
) -> problems.Problem:
    """Returns the problem with refined features, and its candidates scored anew.

    Cost: see `gfa_jax.aggregate`.
    """
    result = gfa.aggregate(
        problem.features,
        gfa.Neighbors(*map(jnp.asarray, problems.nearest(problem, k))),
        gfa.Params(gamma=0.5, threshold=threshold),
        num_steps=num_steps,
        options=gfa.Options(graph="rescore"),
    )
    features = np.asarray(jax.block_until_ready(result.features))
    cosines = score_candidates(
        jnp.asarray(features), jnp.asarray(problem.neighbors.indices)
    )
    neighbors = problem.neighbors._replace(similarity=cosines)
    return problem._replace(features=features, neighbors=neighbors)


def _cluster(
    problem: problems.Problem,
    threshold: float,
    method: Method,
    *,
    mutual: bool = False,
    **options: Any,
) -> np.ndarray:
    return gfa.cluster(
        problem.features,
        problems.nearest(problem, _EDGES, mutual=mutual),
        threshold=threshold,
        method=method,
        **options,
    ).labels
