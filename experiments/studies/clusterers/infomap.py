"""Infomap: the modules in which a random walk over the links stays longest.

It minimises the length of the shortest description of the walk (the map equation), on
the graph of the candidates with their cosines as weights. Two levels, undirected.

Source: Rosvall and Bergstrom, "Maps of random walks on complex networks reveal
community structure", 2008; the PyPI package `infomap`.
"""

import numpy as np
from scipy import sparse

from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "k": (15, 30, 50, 80),
    "threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65),
}


def cluster(problem: problems.Problem, *, k: int, threshold: float) -> np.ndarray:
    """Clusters by Infomap: [N]; a row without links is alone."""
    package = problems.need("infomap", "clusters")
    links = sparse.triu(problems.graph(problem, k=k, threshold=threshold), k=1).tocoo()
    labels = np.full(len(problem.features), -1)
    if not links.nnz:
        return labels
    # Seeds start at 1. The flow of a walk is undirected by default.
    walker = package.Infomap(two_level=True, seed=problem.seed + 1, num_trials=1)
    walker.add_links(np.stack([links.row, links.col, links.data], axis=1))
    modules = walker.run().modules()
    labels[np.fromiter(modules, int)] = np.fromiter(modules.values(), int)
    return labels
