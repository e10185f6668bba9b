"""k-means (FAISS) on the unit rows, given the true number of identities.

    min Σ_i ‖F_i − c_{y_i}‖²

No other clusterer is told the count; a user seldom knows it.
"""

from typing import Any

import numpy as np

from experiments.benchmarks import peers
from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "num_iterations": (10, 20, 40),
    "spherical": (False, True),
    "num_starts": (1,),
}


def cluster(problem: problems.Problem, **setting: Any) -> np.ndarray:
    """Clusters as `peers.faiss_kmeans`, which explains the setting."""
    problems.need("faiss", "cpu")
    features = np.ascontiguousarray(problem.features, np.float32)
    count, seed = problem.num_identities, problem.seed
    return peers.faiss_kmeans(features, count, seed=seed, **setting)
