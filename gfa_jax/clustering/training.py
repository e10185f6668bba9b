"""Clusters as training data: new classes beside those that are labelled already.

"The clustered samples are assigned with new labels and further added into training
set" (paper, section 3.4). A row that its own candidates doubt is likely a wrong one,
and a class of one image teaches nothing about what varies within a class. Rows are
left out first, then the clusters that this leaves too small.
"""

from typing import NamedTuple

import numpy as np

from gfa_jax.checks import check_integer, check_number
from gfa_jax.clustering.clusters import Clusters


class PseudoLabels(NamedTuple):
    """Rows to train on, ascending, each with a class and a weight.

    Attributes:
        rows: [M] int64 row numbers of the clustered set, ascending.
        labels: [M] int64 classes, every one of first_label … first_label +
            num_classes − 1 present; larger clusters have lower numbers.
        weights: [M] floating confidence of the row in its cluster, in [0, 1], for
            a weighted loss.
        num_classes: number of new classes.
    """

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    num_classes: int


def pseudo_labels(
    clusters: Clusters,
    *,
    min_size: int = 2,
    min_confidence: float = 0.0,
    first_label: int = 0,
) -> PseudoLabels:
    """Selects the rows and classes to add to a training set.

        rows = {i : y_i >= 0, c_i >= min_confidence,
                #{j of the same kind : y_j = y_i} >= min_size}     (section 3.4)

    Args:
        clusters: what `cluster` returned.
        min_size: least rows of a class that pass `min_confidence`, >= 1.
        min_confidence: least confidence of a row, in [0, 1].
        first_label: number of the first new class, >= 0: the number of classes that
            the training set has already.

    Returns:
        PseudoLabels; none of them where no cluster qualifies.

    Raises:
        ValueError: an option outside its range.

    Cost and memory: O(N).

    Examples:
        >>> clusters = gfa.Clusters(np.array([0, 0, 1]), np.array([2, 1]), np.ones(3))
        >>> gfa.pseudo_labels(clusters, first_label=10).labels
        array([10, 10])
    """
    check_integer("min_size", min_size, least=1)
    check_number("min_confidence", min_confidence, 0.0, 1.0)
    check_integer("first_label", first_label, least=0)
    labels, confidence = clusters.labels, clusters.confidence
    passes = (labels >= 0) & (confidence >= min_confidence)
    sizes = np.bincount(labels[passes], minlength=clusters.num_clusters)
    is_class = sizes >= min_size
    rows = np.flatnonzero(passes)
    rows = rows[is_class[labels[rows]]]
    new_label = first_label + np.cumsum(is_class) - 1
    return PseudoLabels(
        rows, new_label[labels[rows]], confidence[rows], int(is_class.sum())
    )
