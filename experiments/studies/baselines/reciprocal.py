"""Re-ranking by k-reciprocal neighbours, on sparse matrices.

With N(p, k) the k nearest of p, itself the first of them:

    R(p, k)  = {q ∈ N(p, k) : p ∈ N(q, k)}                                       Eq. 3
    R*(p)    = R(p, k1) ∪ R(q, k1/2) over q ∈ R(p, k1) with
               |R(p, k1) ∩ R(q, k1/2)| >= ⅔ |R(q, k1/2)|                         Eq. 4
    V_pq     = exp(−‖F_p − F_q‖²) for q ∈ R*(p), else 0                          Eq. 7
    V_p      ← mean of V_q over q ∈ N(p, k2)                                     Eq. 11
    J_pq     = Σ_r min(V_pr, V_qr) / Σ_r max(V_pr, V_qr)                         Eq. 10
    s_pq     = (1 − λ) J_pq + λ F_p · F_q                                        Eq. 12

The last is one minus the paper's distance, with 1 − F_p · F_q for the original one. The
authors' program also divides V_p by its sum before Eq. 11: `normalize`. Source: Zhong,
Zheng, Cao and Li, Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR
2017.

Camera-aware, R*(p) is the union of the k-reciprocal rows of p's own camera and of those
of all others, each among the nearest of its kind, and Eq. 11 averages over the nearest
of both kinds. Source: Chen, Fan, Chen and Zhu, CA-Jaccard, CVPR 2024.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

import gfa_jax as gfa
from experiments.studies.baselines.graph import (
    PairScores,
    candidate_matrix,
    first_columns,
    strictly_upper,
)
from gfa_jax import metrics

# Products of two entries of one column that are held at once.
_CHUNK = 2**20


def k_reciprocal(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    k1: int,
    k2: int,
    cosine_share: float,
    normalize: bool = True,
    num_scores: int = 256,
) -> PairScores:
    """Scores pairs by how much their k-reciprocal neighbourhoods overlap.

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, >= max(k1, k2)] candidates, the row itself first.
        k1: neighbours of the reciprocal sets, the row itself counted.
        k2: neighbours of the expansion, the row itself counted; 1 leaves it out.
        cosine_share: λ in (0, 1].
        normalize: whether V_p is divided by its sum, as the authors' program does.
        num_scores: the most J that are kept of each row, the largest; the rest are 0.

    Returns:
        PairScores.

    Cost: O(Σ_r c_r²) time, where c_r rows have r in their set (about N (k1 k2)² at
    most); memory: O(N (k1 k2 + num_scores)) and a chunk of 2²⁰ products.
    """
    near = first_columns(neighbors, k1)
    reciprocal = _reciprocal(near)
    halved = _reciprocal(first_columns(neighbors, max(1, round(k1 / 2))))
    V = _encode(features, _expand(reciprocal, halved), normalize=normalize)
    if k2 > 1:
        V = _average(V, candidate_matrix(first_columns(neighbors, k2)))
    return _score(features, V, cosine_share, num_scores)


def camera_jaccard(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    *,
    cameras: np.ndarray,
    k_own: int,
    k_other: int,
    k2: int,
    cosine_share: float,
    num_scores: int = 256,
) -> PairScores:
    """Scores pairs by the same overlap, neighbours of one camera and of others apart.

    Args:
        features: [N, D] floating unit rows.
        neighbors: [N, C] candidates, the row itself first; those of a kind that are
            among them are all that is known of it.
        cameras: [N] where each row is from.
        k_own: neighbours from the same camera, the row itself counted.
        k_other: neighbours from other cameras.
        k2: of either kind, neighbours of the expansion; 1 leaves it out.
        cosine_share: λ in (0, 1].
        num_scores: as of `k_reciprocal`, and so are result, cost and memory.
    """
    indices = np.asarray(neighbors.indices)
    is_own = cameras[indices] == cameras[:, None]

    def nearest(own: int, other: int) -> list[sp.csr_array]:
        kinds = ((is_own, own), (~is_own, other))
        return [
            candidate_matrix(neighbors, kind & (np.cumsum(kind, axis=1) <= k))
            for kind, k in kinds
        ]

    own, other = (near.multiply(near.T) for near in nearest(k_own, k_other))
    V = _encode(features, sp.csr_array(own + other), normalize=True)
    if k2 > 1:
        first, second = nearest(k2, k2)
        V = _average(V, sp.csr_array(first + second))
    return _score(features, V, cosine_share, num_scores)


def _encode(
    features: np.ndarray, sets: sp.csr_array, *, normalize: bool
) -> sp.csr_array:
    """Returns V of Eq. 7 for the sets R*, which are its entries."""
    members = sets.tocoo()
    pairs = np.stack([members.row, members.col], axis=1)
    values = np.exp(2.0 * metrics.pair_scores(features, pairs) - 2.0)
    V = sp.csr_array((values, (members.row, members.col)), shape=sets.shape)
    return sp.csr_array(sp.diags_array(1.0 / V.sum(axis=1)) @ V) if normalize else V


def _average(V: sp.csr_array, nearest: sp.csr_array) -> sp.csr_array:
    """Averages V over the rows that `nearest` [N, N] lists, Eq. 11."""
    nearest = sp.csr_array(nearest.astype(V.dtype))
    return sp.csr_array(sp.diags_array(1.0 / nearest.sum(axis=1)) @ nearest @ V)


def _score(
    features: np.ndarray, V: sp.csr_array, cosine_share: float, num_scores: int
) -> PairScores:
    jaccard = sp.vstack(list(_jaccard(V, num_scores)), format="csr")
    added = strictly_upper(sp.csr_array((1.0 - cosine_share) * jaccard))
    return PairScores(features, added, cosine_share)


def _reciprocal(neighbors: gfa.Neighbors) -> sp.csr_array:
    """Returns the 0-1 matrix of R(p, k), Eq. 3."""
    near = candidate_matrix(neighbors)
    return sp.csr_array(near.multiply(near.T))


def _expand(reciprocal: sp.csr_array, halved: sp.csr_array) -> sp.csr_array:
    """Returns a matrix whose entries are the members of R*, Eq. 4."""
    common = sp.csr_array((reciprocal @ halved.T).multiply(reciprocal)).tocoo()
    sizes = halved.sum(axis=1)
    # Counts are whole: a third of slack in the comparison cannot be rounding.
    joins = 3 * common.data >= 2 * sizes[common.col]
    joined = sp.csr_array(
        (np.ones(joins.sum()), (common.row[joins], common.col[joins])),
        shape=reciprocal.shape,
    )
    return sp.csr_array(reciprocal + joined @ halved)


def _jaccard(V: sp.csr_array, num_scores: int) -> Iterator[sp.csr_array]:
    """Yields J of Eq. 10 for blocks of rows, each row cut to its largest entries."""
    num_rows = V.indptr.size - 1
    columns = sp.csc_array(V)
    heights = np.diff(columns.indptr)
    sums = np.asarray(V.sum(axis=1))
    work = np.concatenate([[0], np.cumsum(heights[V.indices])])[V.indptr]
    start = 0
    while start < num_rows:
        stop = np.searchsorted(work, work[start] + _CHUNK, side="right") - 1
        stop = min(max(int(stop), start + 1), num_rows)
        entries = slice(V.indptr[start], V.indptr[stop])
        counts = heights[V.indices[entries]]
        rows = np.repeat(np.arange(stop - start), np.diff(V.indptr[start : stop + 1]))
        # The places of whole columns, one column after another.
        ends = np.cumsum(counts)
        starts = np.asarray(columns.indptr)[V.indices[entries]]
        offset = starts + counts - ends
        places = np.repeat(offset, counts) + np.arange(ends[-1] if ends.size else 0)
        least = np.minimum(np.repeat(V.data[entries], counts), columns.data[places])
        overlap = sp.csr_array(
            (least, (np.repeat(rows, counts), columns.indices[places])),
            shape=(stop - start, num_rows),
        )  # repeated places add up: Σ min
        overlap.sum_duplicates()
        row = start + np.repeat(np.arange(stop - start), np.diff(overlap.indptr))
        # Σ max = Σ V_p + Σ V_q − Σ min
        overlap.data /= sums[row] + sums[overlap.indices] - overlap.data
        yield _largest(overlap, num_scores)
        start = stop


def _largest(scores: sp.csr_array, count: int) -> sp.csr_array:
    """Keeps the `count` largest entries of each row; ties go to the lower column."""
    sizes = np.diff(scores.indptr)
    if not sizes.size or sizes.max() <= count:
        return scores
    row = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((scores.indices, np.negative(scores.data), row))
    rank = np.arange(order.size) - np.repeat(scores.indptr[:-1], sizes)
    kept = np.sort(order[rank < count])
    pointers = np.concatenate([[0], np.cumsum(np.minimum(sizes, count))])
    return sp.csr_array(
        (scores.data[kept], scores.indices[kept], pointers), shape=scores.shape
    )
