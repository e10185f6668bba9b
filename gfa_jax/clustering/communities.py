"""Other ways from a graph to clusters, each by a package of the extra `clusters`.

Links are the candidates with the posterior of an edge as weight, w = σ(S / s − z₀)
(selection/evidence.py).

    infomap   least length of a walk's description, two levels, on links of w >= 1/2
              (Rosvall and Bergstrom 2008)
    leiden    constant Potts model, at a mean weight of .1, on links of w >= .05 (Traag,
              Waltman and van Eck 2019); the package leidenalg, which is GPL
    hdbscan   clusters that persist in density, at least three rows, noise alone
              (Campello, Moulavi, Sander 2013); N² distances up to 10,000 rows
"""

import importlib
from types import ModuleType

import numpy as np

from gfa_jax.clustering.linkage import unique_pairs

_LEAST_WEIGHT = {"infomap": 0.5, "leiden": 0.05}
_RESOLUTION = 0.1
_SEED = 1
_ALL_DISTANCES = 10_000


def find(
    method: str,
    rows: np.ndarray,
    indices: np.ndarray,
    is_other: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Groups rows [N, D] by their candidates [N, K]: [N] integers, -1 for alone."""
    num_rows = len(rows)
    if method == "hdbscan":
        algorithm = "brute" if num_rows <= _ALL_DISTANCES else "auto"
        hdbscan = _need("sklearn.cluster").HDBSCAN(3, algorithm=algorithm, copy=True)
        alone = np.full(num_rows, -1)
        return alone if num_rows < 3 else hdbscan.fit_predict(rows.astype(np.float64))
    is_link = is_other & (weights >= _LEAST_WEIGHT[method])
    links = unique_pairs(indices, weights, is_link)
    if method == "leiden":
        leiden = _need("leidenalg")
        pairs = np.column_stack(links[:2])
        graph = _need("igraph").Graph(n=num_rows, edges=pairs)
        options = {"weights": links.similarity, "resolution_parameter": _RESOLUTION}
        kind = leiden.CPMVertexPartition
        return np.asarray(
            leiden.find_partition(graph, kind, seed=_SEED, **options).membership
        )
    walker = _need("infomap").Infomap(two_level=True, seed=_SEED, num_trials=1)
    groups = np.full(num_rows, -1)
    if len(links.first):
        walker.add_links(np.column_stack(links))
        modules = walker.run().modules()
        groups[np.fromiter(modules, int)] = np.fromiter(modules.values(), int)
    return groups


def _need(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"this method needs {package}; pip install 'gfa_jax[clusters]', or take "
            "another method"
        ) from error
