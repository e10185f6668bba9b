"""DBSCAN (scikit-learn) on the graph of the candidates.

A row with at least `min_rows` rows at a cosine of `threshold` or more, itself counted,
is a core; linked cores share a cluster, and the others join a core that they are
linked to, or none. With min_rows = 2 these are the connected components.
"""

import numpy as np

from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "k": (15, 40, 80),
    "threshold": (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    "min_rows": (2, 3, 5),
}


def cluster(
    problem: problems.Problem, *, k: int, threshold: float, min_rows: int
) -> np.ndarray:
    """Clusters by DBSCAN, a core having `min_rows` with itself: [N], -1 for noise."""
    cluster_ = problems.need("sklearn.cluster", "clusters")
    distances = problems.graph(problem, k=k, threshold=threshold)
    # A distance of 0 would be no link.
    distances.data = np.maximum(1 - distances.data, np.float32(1e-7))
    method = cluster_.DBSCAN(
        eps=1 - threshold + 1e-6, min_samples=min_rows, metric="precomputed"
    )
    return method.fit_predict(distances)
