"""What every clusterer is given, and the graph that several of them start from.

Each file beside this one holds one clusterer: a function `cluster(problem, **setting)`
that returns the cluster of every row (-1: none), and `SPACE`, the values of each of its
parameters to try. Labels are not part of a problem; the number of identities is, for
k-means alone, which cannot do without.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

import gfa_jax as gfa

Space = Mapping[str, Sequence[Any]]


class Problem(NamedTuple):
    """Rows to cluster."""

    features: np.ndarray  # [N, D] float32 unit rows, on the host
    # [N, K] candidates on the host, the row itself among them, most similar first.
    neighbors: gfa.Neighbors
    num_identities: int  # the true count
    seed: int  # of clusterers that draw


class Clusterer(NamedTuple):
    """A way from rows to clusters."""

    name: str  # as in the table
    # `cluster(problem, **setting)` to [N] integers, -1 for no cluster.
    cluster: Callable[..., np.ndarray]
    space: Space  # values of each keyword to try


def nearest(problem: Problem, k: int, *, mutual: bool = False) -> gfa.Neighbors:
    """Takes the first k candidates of every row, the row itself counted.

    Only those that list the row too where `mutual`; -1 in the slots of the others.
    """
    indices, similarity = (np.asarray(column)[:, :k] for column in problem.neighbors)
    if mutual:
        num_rows = len(indices)
        row = np.arange(num_rows)[:, None]
        listed = (row * num_rows + indices)[indices >= 0]
        is_mutual = np.isin(indices.astype(np.int64) * num_rows + row, listed)
        indices = np.where(is_mutual & (indices >= 0), indices, -1)
    return gfa.Neighbors(indices, similarity)


def graph(problem: Problem, *, k: int, threshold: float) -> sparse.csr_array:
    """Links every row to its near candidates, in both directions: [N, N] symmetric.

    Cosines of at least the threshold, none of a row to itself; k counts it. O(N K).
    """
    indices, similarity = nearest(problem, k)
    num_rows = len(indices)
    rows = np.arange(num_rows)[:, None]
    kept = (indices >= 0) & (indices != rows) & (similarity >= threshold)
    ends = np.broadcast_to(rows, indices.shape)[kept], indices[kept]
    links = sparse.csr_array(
        (similarity[kept], ends), shape=(num_rows, num_rows), dtype=np.float32
    )
    return links.maximum(links.T).tocsr()


def need(package: str, extra: str) -> ModuleType:
    """Imports a package that only this clusterer needs, or says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"this clusterer needs {package}; pip install '.[{extra}]', or leave it "
            "out of --clusterers"
        ) from error
