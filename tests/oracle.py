"""The plain float64 NumPy reference: dense, slow, and read off the equations.

    A_ij   = F_i · F_j                                          (Eq. 5)
    m_ij   = [A_ij > t][j ∈ KNN_i]                              (Eq. 6)
    C*_i   = Σ_j w_ij F_j / Σ_j w_ij,   C*_i = F_i where the sum is 0
    F_i   <- F_i + γ (C*_i − F_i)                               (Eq. 2)

It shares no code with the library and keeps every array whole, [N, N] and
[N, K, D] among them, so it is for tests of a few thousand rows.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import expit

# As keywords of `aggregate` here: the paper as printed, and the library's own form.
PAPER: dict[str, Any] = {"weighting": "uniform", "graph": "rescore"}
SAFE: dict[str, Any] = {"weighting": "affinity"}


class Neighbors(NamedTuple):
    indices: np.ndarray  # [N, K] int64, -1 in an empty slot
    similarity: np.ndarray  # [N, K] float64, -inf in an empty slot


class Aggregation(NamedTuple):
    features: np.ndarray  # [N, D] float64
    residual: np.ndarray  # [T] float64
    degree: np.ndarray  # [N] float64


class Edges(NamedTuple):
    mask: np.ndarray  # [N, K] float64
    weight: np.ndarray  # [N, K] float64


def exact_neighbors(
    features: np.ndarray, k: int, include_self: bool = True
) -> Neighbors:
    """The k rows of largest F_i · F_j, ties to the lower row number.

    The row itself, where it is included, is one of the k and sits in column 0
    whatever copies of it exist. Slots beyond the rows there are stay empty.
    """
    F = np.asarray(features, np.float64)
    N = len(F)
    A = F @ F.T
    rank = A.copy()
    # Sorting the row itself first (or never) is what fixes its place among copies.
    np.fill_diagonal(rank, np.inf if include_self else -np.inf)
    found = np.argsort(-rank, axis=1, kind="stable")[:, : N if include_self else N - 1]
    found = found[:, :k]
    indices = np.full((N, k), -1)
    similarity = np.full((N, k), -np.inf)
    indices[:, : found.shape[1]] = found
    similarity[:, : found.shape[1]] = np.take_along_axis(A, found, axis=1)
    return Neighbors(indices, similarity)


def isolated_neighbors(features: np.ndarray, k: int, threshold: float) -> np.ndarray:
    """The indices of `exact_neighbors` without the edges from and to outliers.

    The nearest row of an outlier is further than 0.9 of the typical one, and so is
    that of 0.8 of the 14 rows around it.
    """
    indices = exact_neighbors(features, k).indices
    A = np.asarray(features, np.float64)
    A = A @ A.T
    np.fill_diagonal(A, -np.inf)
    around = np.argsort(-A, axis=1, kind="stable")[:, :14]
    nearest = A.max(axis=1)
    is_far = nearest < 0.9 * np.median(nearest[nearest > threshold])
    is_outlier = is_far & (is_far[around].mean(axis=1) >= 0.8)
    cut = (is_outlier[:, None] | is_outlier[indices]) & (
        indices != np.arange(len(indices))[:, None]
    )
    return np.where(cut, -1, indices)


def aggregate(
    features: np.ndarray,
    indices: np.ndarray,
    gamma: float,
    threshold: float,
    temperature: float = 0.05,
    exponent: float = 3.0,
    *,
    num_steps: int,
    weights: np.ndarray | None = None,
    mask: Literal["hard", "soft"] = "hard",
    weighting: Literal["uniform", "affinity"] = "uniform",
    graph: Literal["fixed", "rescore"] = "fixed",
    include_self: bool = True,
    renormalize: bool = True,
) -> Aggregation:
    """T updates of all rows at once; rows are used as given, never normalised first.

    A slot that lists the row itself counts only where `include_self`; it has to be
    listed to count. An index listed twice counts twice. Weights that are given decide
    alone which slots count.
    """
    for name, value, allowed in (
        ("mask", mask, ("hard", "soft")),
        ("weighting", weighting, ("uniform", "affinity")),
        ("graph", graph, ("fixed", "rescore")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}: expected one of {allowed}")

    indices = np.asarray(indices)
    itself = indices == np.arange(len(indices))[:, None]
    listed = (indices >= 0) & (include_self | ~itself)

    def edges(F: np.ndarray) -> Edges:
        if weights is not None:
            w = np.where(indices >= 0, weights, 0.0)
            return Edges((w != 0).astype(float), w)
        A = np.einsum("nd,nkd->nk", F, F[indices])
        if mask == "hard":
            m = np.where(listed, np.greater(A, threshold), 0.0)
        else:
            m = np.where(listed, expit((A - threshold) / temperature), 0.0)
        w = m if weighting == "uniform" else m * np.maximum(A, 0.0) ** exponent
        return Edges(m, w)

    F = np.array(features, np.float64)
    E = edges(F)
    residual = np.zeros(num_steps)
    for step in range(num_steps):
        if graph == "rescore":
            E = edges(F)
        C = pseudo_center(F, indices, E.weight)
        F_next = F + gamma * (C - F)
        if renormalize:
            F_next = unit_rows(F_next)
        residual[step] = np.sqrt(np.mean(np.sum((F_next - F) ** 2, axis=1)))
        F = F_next
    return Aggregation(F, residual, E.mask.sum(axis=1))


def pseudo_center(F: np.ndarray, indices: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted mean of the listed rows, [N, D]; F_i where no weight is left."""
    total = weight.sum(axis=1, keepdims=True)
    mean = np.einsum("nk,nkd->nd", weight, F[indices]) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, F)


def unit_rows(F: np.ndarray) -> np.ndarray:
    """Rows divided by their norms, [N, D]; a zero row stays zero."""
    norm = np.linalg.norm(F, axis=1, keepdims=True)
    return F / np.where(norm > 0, norm, 1)
