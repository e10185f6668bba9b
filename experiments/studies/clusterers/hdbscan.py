"""HDBSCAN (scikit-learn) on the unit rows, where ‖F_i − F_j‖² = 2 − 2 cos.

It needs no threshold: of the tree of its density-reachable sets it takes those that
last longest.
"""

import numpy as np

from experiments.studies.clusterers import problem as problems

_ALL_DISTANCES = 10_000  # rows up to which all their distances are held

SPACE: problems.Space = {
    "min_rows": (2, 3, 4, 5),
    "min_samples": (1, 2, 3, 4, 5),
    "selection": ("eom", "leaf"),
}


def cluster(
    problem: problems.Problem,
    *,
    min_rows: int,
    min_samples: int,
    selection: str,
) -> np.ndarray:
    """Clusters by HDBSCAN, "eom" or "leaf": [N] int64, -1 for noise.

    The density of a row is the distance of `min_samples` rows, itself counted. Cost: N²
    D. Memory: up to 10,000 rows, two N × N arrays of float64, which is this peer's way
    and at most 1.6 GB.
    """
    cluster_ = problems.need("sklearn.cluster", "clusters")
    method = cluster_.HDBSCAN(
        min_cluster_size=min_rows,
        min_samples=min_samples,
        cluster_selection_method=selection,
        # In 128 dimensions a tree of balls is five times slower than all distances.
        algorithm="brute" if len(problem.features) <= _ALL_DISTANCES else "auto",
        copy=True,
    )
    return method.fit_predict(problem.features.astype(np.float64))
