"""k-means (FAISS) on the unit rows, given the true number of identities.

    min Σ_i ‖F_i − c_{y_i}‖²

No other clusterer is told the count; a user seldom knows it.
"""

import numpy as np

from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "num_iterations": (10, 20, 40),
    "spherical": (False, True),
    "num_starts": (1,),
}


def cluster(
    problem: problems.Problem, *, num_iterations: int, spherical: bool, num_starts: int
) -> np.ndarray:
    """Clusters by k-means.

    Args:
        problem: see `Problem`.
        num_iterations: rounds of assignment and mean.
        spherical: whether the means are scaled to unit length.
        num_starts: starts, of which the best is taken.

    Returns:
        [N] int64.

    Cost: N C D multiply-adds a round, with C the number of identities.
    """
    faiss = problems.need("faiss", "cpu")
    features = np.ascontiguousarray(problem.features, np.float32)
    kmeans = faiss.Kmeans(
        features.shape[1],
        problem.num_identities,
        niter=num_iterations,
        nredo=num_starts,
        spherical=spherical,
        seed=problem.seed,
        # Silence: as many centres as identities leave few rows for each.
        min_points_per_centroid=1,
        max_points_per_centroid=len(features),
    )
    kmeans.train(features)
    return kmeans.index.search(features, 1)[1][:, 0]
