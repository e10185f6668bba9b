"""What a person would write instead, as fast as its library makes it."""

import functools

import numpy as np


def faiss_flat(
    features: np.ndarray, k: int, *, num_queries: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Searches a set in itself by FAISS's exact inner-product search.

    The row itself is counted; `num_queries` are the first rows, all by default.
    """
    import faiss

    return faiss.knn(
        features[:num_queries], features, k, metric=faiss.METRIC_INNER_PRODUCT
    )


def faiss_kmeans(
    features: np.ndarray,
    num_centers: int,
    *,
    num_iterations: int,
    spherical: bool = False,
    num_starts: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Clusters by FAISS's k-means, the best of so many starts: [N] numbers of centers.

    The means are scaled to unit length where `spherical`. N C D multiply-adds a round.
    """
    import faiss

    kmeans = faiss.Kmeans(
        features.shape[1],
        num_centers,
        niter=num_iterations,
        nredo=num_starts,
        spherical=spherical,
        seed=seed,
        # Silence: as many centres as identities leave few rows for each.
        min_points_per_centroid=1,
        max_points_per_centroid=len(features),
    )
    kmeans.train(features)
    return kmeans.index.search(features, 1)[1][:, 0]


def mean_shift(features: np.ndarray, *, threshold: float) -> np.ndarray:
    """Shifts every row to its mode by scikit-learn's mean shift, without bins.

    The radius of the flat kernel is √(2 − 2t).
    """
    import sklearn.cluster  # pyright: ignore[reportMissingImports]

    radius = float(np.sqrt(2 - 2 * threshold))
    return sklearn.cluster.MeanShift(bandwidth=radius).fit(features).cluster_centers_


def scipy_update(
    features: np.ndarray,
    indices: np.ndarray,
    *,
    gamma: float,
    threshold: float,
    temperature: float = 0.0,
) -> np.ndarray:
    """Makes one rescored update of the paper by einsum and a scipy CSR product.

    A temperature of 0 is a hard mask. Holds [N, K, D] for a block of rows only, as it
    must.
    """
    import scipy.sparse
    import scipy.special

    num_rows, k = indices.shape
    similarity = np.concatenate(
        [
            np.einsum("nd,nkd->nk", features[s : s + 4096], features[i])
            for s, i in ((s, indices[s : s + 4096]) for s in range(0, num_rows, 4096))
        ]
    )
    if temperature:
        weight = scipy.special.expit((similarity - threshold) / temperature)
        weight /= weight.sum(axis=1, keepdims=True)
    else:
        weight = (similarity > threshold).astype(np.float32)
        weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1)
    graph = scipy.sparse.csr_matrix(
        (weight.ravel(), indices.ravel(), np.arange(0, num_rows * k + 1, k)),
        shape=(num_rows, num_rows),
    )
    moved = features + gamma * (graph @ features - features)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def torch_update(
    features: np.ndarray,
    indices: np.ndarray,
    *,
    gamma: float,
    threshold: float,
    temperature: float = 0.0,
) -> np.ndarray:
    """Makes the same update by torch on the processor, gathering in blocks of 1024.

    Args and returns as `scipy_update`.
    """
    import torch  # pyright: ignore[reportMissingImports]

    rows, neighbors = torch.from_numpy(features), torch.tensor(indices).long()
    moved = torch.empty_like(rows)
    for block in torch.arange(len(rows)).split(1024):
        neighborhood = rows[neighbors[block]]
        own = rows[block]
        similarity = torch.einsum("nd,nkd->nk", own, neighborhood)
        if temperature:
            weight = torch.sigmoid((similarity - threshold) / temperature)
            weight /= weight.sum(dim=1, keepdim=True)
        else:
            weight = (similarity > threshold).float()
            weight /= weight.sum(dim=1, keepdim=True).clamp(min=1)
        center = torch.einsum("nk,nkd->nd", weight, neighborhood)
        moved[block] = torch.nn.functional.normalize(own + gamma * (center - own))
    return moved.numpy()


@functools.cache
def numba_update():
    """Compiles the same update as one fused, parallel loop.

    Returns:
        A function of features, indices, gamma, threshold and temperature, the last
        three float32, as `scipy_update`.
    """
    import numba  # pyright: ignore[reportMissingImports]

    @numba.njit(parallel=True, fastmath=True)
    def update(features, indices, gamma, threshold, temperature):
        moved = np.empty_like(features)
        for i in numba.prange(features.shape[0]):
            center = np.zeros(features.shape[1], np.float32)
            total = np.float32(0)
            for j in indices[i]:
                margin = np.dot(features[i], features[j]) - threshold
                if temperature > 0:
                    weight = np.float32(1) / (1 + np.exp(-margin / temperature))
                    center += weight * features[j]
                    total += weight
                elif margin > 0:
                    center += features[j]
                    total += np.float32(1)
            if total > 0:
                center /= total
            row = features[i] + gamma * (center - features[i])
            moved[i] = row / np.sqrt(np.dot(row, row))
        return moved

    return update


def bare_products(features: np.ndarray, *, tile_size: int = 1024) -> float:
    """Multiplies all tiles of F Fᵀ on and above the diagonal, and keeps nothing.

    Gives the sum of one element a tile, so that nothing is left out.
    """
    import jax
    import jax.numpy as jnp

    from gfa_jax import numerics

    rows = jnp.asarray(features)
    tile = jax.jit(lambda x, y: numerics.dot("id,jd->ij", x, y))
    blocks = [rows[s : s + tile_size] for s in range(0, len(rows), tile_size)]
    total = 0.0
    for i, left in enumerate(blocks):
        for right in blocks[i:]:
            total += float(tile(left, right)[0, 0])
    return total
