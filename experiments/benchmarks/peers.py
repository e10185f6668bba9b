"""What a person would write instead, as fast as its library makes it."""

import numpy as np


def faiss_flat(features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Searches a set in itself by FAISS's exact inner-product search.

    Args:
        features: [N, D] float32 unit rows.
        k: neighbours, the row itself counted.

    Returns:
        similarity [N, k] float32 and indices [N, k] int64.
    """
    import faiss

    return faiss.knn(features, features, k, metric=faiss.METRIC_INNER_PRODUCT)


def scipy_update(
    features: np.ndarray, indices: np.ndarray, *, gamma: float, threshold: float
) -> np.ndarray:
    """Makes one rescored update of the paper by einsum and a scipy CSR product.

    Args:
        features: [N, D] float32 unit rows.
        indices: [N, K] int32 candidates.
        gamma: step.
        threshold: cosine t.

    Returns:
        [N, D] unit rows. Holds [N, K, D] for a block of rows only, as it must.
    """
    import scipy.sparse

    num_rows, k = indices.shape
    similarity = np.concatenate(
        [
            np.einsum("nd,nkd->nk", features[s : s + 4096], features[i])
            for s, i in ((s, indices[s : s + 4096]) for s in range(0, num_rows, 4096))
        ]
    )
    weight = (similarity > threshold).astype(np.float32)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1)
    graph = scipy.sparse.csr_matrix(
        (weight.ravel(), indices.ravel(), np.arange(0, num_rows * k + 1, k)),
        shape=(num_rows, num_rows),
    )
    moved = features + gamma * (graph @ features - features)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def torch_update(
    features: np.ndarray, indices: np.ndarray, *, gamma: float, threshold: float
) -> np.ndarray:
    """Makes the same update by torch, gathering in blocks of 1024 rows.

    Args and returns as `scipy_update`.
    """
    import torch  # pyright: ignore[reportMissingImports]

    rows, neighbors = torch.from_numpy(features), torch.from_numpy(indices).long()
    moved = torch.empty_like(rows)
    for block in torch.arange(len(rows)).split(1024):
        neighborhood = rows[neighbors[block]]
        own = rows[block]
        similarity = torch.einsum("nd,nkd->nk", own, neighborhood)
        weight = (similarity > threshold).float()
        weight /= weight.sum(dim=1, keepdim=True).clamp(min=1)
        center = torch.einsum("nk,nkd->nd", weight, neighborhood)
        moved[block] = torch.nn.functional.normalize(own + gamma * (center - own))
    return moved.numpy()


def numba_update():
    """Compiles the same update as one fused, parallel loop.

    Returns:
        A function of features, indices, gamma and threshold, as `scipy_update`.
    """
    import numba  # pyright: ignore[reportMissingImports]

    @numba.njit(parallel=True, fastmath=True)
    def update(features, indices, gamma, threshold):
        moved = np.empty_like(features)
        for i in numba.prange(features.shape[0]):
            center = np.zeros(features.shape[1], np.float32)
            total = np.float32(0)
            for j in indices[i]:
                if np.dot(features[i], features[j]) > threshold:
                    center += features[j]
                    total += np.float32(1)
            row = features[i] + gamma * (center / max(total, 1) - features[i])
            moved[i] = row / np.sqrt(np.dot(row, row))
        return moved

    return update
