"""Connected components of the raw features: single linkage, the paper's rule alone.

    i ~ j  ⟺  a path of candidates with cosines >= t leads from i to j

What the refinement adds is the difference between this and `components_refined`.
"""

import numpy as np

import gfa_jax as gfa
from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "k": (5, 10, 15, 40),
    "threshold": (0.4, 0.45, 0.5, 0.525, 0.55, 0.575, 0.6, 0.65, 0.7),
    "mutual": (False, True),
}


def cluster(
    problem: problems.Problem, *, k: int, threshold: float, mutual: bool
) -> np.ndarray:
    """Clusters by connected components, mutual candidates only where asked: [N]."""
    return gfa.cluster(
        problem.features,
        problems.nearest(problem, k, mutual=mutual),
        threshold=threshold,
    ).labels
