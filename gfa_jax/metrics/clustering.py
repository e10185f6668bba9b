"""How well clusters agree with identities, from the sparse contingency alone.

With n_gc the rows of identity g in cluster c, a_g and b_c its sums and N their total:

    pairwise  P = (Σ n² − N) / (Σ b² − N)      R = (Σ n² − N) / (Σ a² − N)
    BCubed    P = (1/N) Σ n² / b_c             R = (1/N) Σ n² / a_g
    F = 2 P R / (P + R)
    NMI = 2 I(g; c) / (H(g) + H(c))

Pairwise weighs an identity by the square of its rows, BCubed by its rows. The cells
that are not 0 number at most N, so no identity × cluster matrix ever exists.

Where a ratio is 0 / 0 there was nothing to get wrong, and it is 1: the precision of
clusters that join no pair, the recall of identities that have none, the NMI of one
identity in one cluster. Partitions that agree so score 1 whatever they are. F is 0
where P + R = 0.

Sources: pairwise F as in the learn-to-cluster benchmarks; BCubed by Amigó et al., "A
comparison of extrinsic clustering evaluation metrics based on formal constraints",
2009; NMI by Vinh et al., "Information theoretic measures for clusterings comparison",
2010.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.datasets.labels import known_identities
from gfa_jax.metrics.scored_pairs import check_names


class PrecisionRecall(NamedTuple):
    """How much of what was joined belongs together, and the reverse, in [0, 1]."""

    precision: float
    recall: float

    @property
    def f_score(self) -> float:
        """Harmonic mean of the two, in [0, 1]."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


class ClusterScores(NamedTuple):
    """What `cluster_scores` returns."""

    pairwise: PrecisionRecall  # over the pairs of rows
    bcubed: PrecisionRecall  # mean over the rows
    nmi_arithmetic: float  # by the arithmetic mean of the entropies, in [0, 1]
    num_identities: int
    num_clusters: int  # rows without a cluster counted, each as one


class _Contingency(NamedTuple):
    """The cells of n_gc that are not 0; integers."""

    counts: np.ndarray  # [M] n_gc
    identities: np.ndarray  # [M] g
    clusters: np.ndarray  # [M] c
    identity_sizes: np.ndarray  # [G] a_g
    cluster_sizes: np.ndarray  # [C] b_c


def cluster_scores(
    labels_true: npt.ArrayLike, labels_pred: npt.ArrayLike
) -> ClusterScores:
    """Compares clusters with identities; the equations are in the module's docstring.

    Args:
        labels_true: [N] integers or strings, the identity of each row. Rows of unknown
            identity (see `datasets.known_identities`) are left out; a distractor needs
            a label of its own.
        labels_pred: [N] integers or strings, the cluster of each row; the integer -1
            for a row without a cluster, which is scored as a cluster of its own, so
            that recall pays for it.

    Returns:
        ClusterScores, pairwise, BCubed and NMI.

    Raises:
        ValueError: lengths that differ, other shapes or dtypes, or no row to score.

    Cost: three sorts of N numbers (one thread). Memory: about 80 bytes a row.

    Examples:
        >>> metrics.cluster_scores(["a", "a", "b", "b"], [0, 0, 0, 1]).pairwise.recall
        0.5
    """
    identities, clusters = _check_labels(labels_true, labels_pred)
    known = known_identities(identities)
    identities, clusters = identities[known], clusters[known]
    if not clusters.size:
        raise ValueError("no row is left to score; expected at least one with a label")
    alone = np.empty(0, int)
    if clusters.dtype.kind == "i":
        alone = np.flatnonzero(clusters == -1)
    clusters = np.unique(clusters, return_inverse=True)[1]
    clusters[alone] = len(clusters) + alone
    table = _count(identities, clusters)
    pairs, identity_pairs, cluster_pairs = (
        int(np.sum(sizes * (sizes - 1)))
        for sizes in (table.counts, table.identity_sizes, table.cluster_sizes)
    )
    squares, num_rows = table.counts.astype(np.float64) ** 2, np.sum(table.counts)
    return ClusterScores(
        PrecisionRecall(
            pairs / cluster_pairs if cluster_pairs else 1.0,
            pairs / identity_pairs if identity_pairs else 1.0,
        ),
        PrecisionRecall(
            float(np.sum(squares / table.cluster_sizes[table.clusters]) / num_rows),
            float(np.sum(squares / table.identity_sizes[table.identities]) / num_rows),
        ),
        _mutual_information(table),
        num_identities=table.identity_sizes.size,
        num_clusters=table.cluster_sizes.size,
    )


def cluster_purity(
    labels_true: npt.ArrayLike, labels_pred: npt.ArrayLike
) -> np.ndarray:
    """Measures how far each cluster is one identity: max_g n_gc / b_c.

    Args:
        labels_true: [N] as for `cluster_scores`.
        labels_pred: [N] likewise, but rows of any negative cluster are left out.

    Returns:
        [C] float64 purities in (0, 1], in ascending order of the cluster number; NaN
        for a cluster without a row of known identity.
    """
    identities, clusters = _check_labels(labels_true, labels_pred)
    numbers = np.unique(clusters[clusters >= 0])
    kept = known_identities(identities) & (clusters >= 0)
    table = _count(identities[kept], clusters[kept])
    largest = np.zeros(len(table.cluster_sizes), np.int64)
    np.maximum.at(largest, table.clusters, table.counts)
    purity = np.full(len(numbers), np.nan)
    purity[np.isin(numbers, clusters[kept])] = largest / table.cluster_sizes
    return purity


def _count(identities: np.ndarray, clusters: np.ndarray) -> _Contingency:
    """Counts the rows of every identity in every cluster, where there are any."""
    (_, identities, identity_sizes), (_, clusters, cluster_sizes) = (
        np.unique(labels, return_inverse=True, return_counts=True)
        for labels in (identities, clusters)
    )
    # At most N², far within int64.
    codes, counts = np.unique(
        identities * len(cluster_sizes) + clusters, return_counts=True
    )
    return _Contingency(
        counts, *np.divmod(codes, len(cluster_sizes)), identity_sizes, cluster_sizes
    )


def _mutual_information(table: _Contingency) -> float:
    """Evaluates I(g; c) over the mean of the entropies."""
    num_rows = np.sum(table.counts)
    log_a = np.log(table.identity_sizes / num_rows)
    log_b = np.log(table.cluster_sizes / num_rows)
    log_n = np.log(table.counts / num_rows)
    information = np.sum(
        table.counts * (log_n - log_a[table.identities] - log_b[table.clusters])
    )
    entropy_a = -np.sum(table.identity_sizes * log_a)
    entropy_b = -np.sum(table.cluster_sizes * log_b)
    if entropy_a == 0 or entropy_b == 0:
        return float(entropy_a == entropy_b)
    # Rounding may carry it out of its range.
    return float(np.clip(information / ((entropy_a + entropy_b) / 2), 0.0, 1.0))


def _check_labels(
    labels_true: npt.ArrayLike, labels_pred: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    identities = check_names(labels_true, np.size(labels_true), "labels_true")
    return identities, check_names(labels_pred, len(identities), "labels_pred")
