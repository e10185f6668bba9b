"""Chinese whispers: every row takes the label that weighs most among its links.

    y_i ← argmax_y Σ_{j linked to i, y_j = y} A_ij

one row after the other, in a new random order each sweep, until none changes.

Source: Biemann, "Chinese whispers: an efficient graph clustering algorithm", 2006.
"""

import functools

import numpy as np

from experiments.studies.clusterers import problem as problems

SPACE: problems.Space = {
    "k": (15, 40, 80),
    "threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65),
    "num_sweeps": (20,),
}


def cluster(
    problem: problems.Problem, *, k: int, threshold: float, num_sweeps: int
) -> np.ndarray:
    """Clusters by Chinese whispers: [N] row numbers; O(N k) a sweep, by numba."""
    links = problems.graph(problem, k=k, threshold=threshold)
    rng = np.random.default_rng(problem.seed)
    labels = np.arange(len(problem.features))
    weights = np.zeros(len(labels))
    for _ in range(num_sweeps):
        order = rng.permutation(len(labels))
        if not _compiled()(
            links.indptr, links.indices, links.data, order, labels, weights
        ):
            break
    return labels


@functools.cache
def _compiled():
    return problems.need("numba", "clusters").njit(cache=False)(sweep)


def sweep(indptr, indices, data, order, labels, weights):
    """Goes over all rows once, in place; tells whether a label changed.

    Links are CSR arrays; `order` is that of the turns, and `weights`, [N], are zeros
    before and afterwards.
    """
    changed = False
    for row in order:
        start, stop = indptr[row], indptr[row + 1]
        if start == stop:
            continue
        for edge in range(start, stop):
            weights[labels[indices[edge]]] += data[edge]
        # The present label wins a tie, so that a settled graph stays settled.
        best, most = labels[row], weights[labels[row]]
        for edge in range(start, stop):
            label = labels[indices[edge]]
            if weights[label] > most:
                best, most = label, weights[label]
        for edge in range(start, stop):
            weights[labels[indices[edge]]] = 0.0
        if best != labels[row]:
            labels[row] = best
            changed = True
    return changed
