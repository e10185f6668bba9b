"""Nearest neighbours by FAISS: flat, or any index that a factory string names.

The only file of the library that imports FAISS, and only when it is called.
"""

import contextlib
import os
import re
from collections.abc import Callable

import jax
import numpy as np

from gfa_jax.checks import check_search
from gfa_jax.datasets.arrays import open_input
from gfa_jax.neighbors.candidates import place_self
from gfa_jax.types import Neighbors, track

_QUERY_BLOCK = 4096
# FAISS asks for about this many training rows a centroid; more only cost time.
TRAINING_ROWS_PER_CENTROID = 64
# A product quantiser of 8 bits behind the cells is trained on the same rows.
_QUANTIZER_CENTROIDS = 256


def faiss_neighbors(
    features: jax.Array | np.ndarray,
    *,
    k: int,
    factory: str = "Flat",
    search: str = "",
    progress: Callable | None = None,
) -> Neighbors:
    """Finds the K rows with the largest inner product, as a FAISS index sees them.

    Args:
        features: [N, D] floating rows of unit length, searched in float32.
        k: number of neighbours in [1, N), **the row itself counted**: it stands in
            column 0, also where the index missed it.
        factory: a FAISS index factory string, such as "Flat", "IVF1024,Flat" or
            "HNSW32"; the metric is always the inner product.
        search: FAISS search parameters, such as "nprobe=16" or "efSearch=64".
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            blocks of queries.

    Returns:
        Neighbors as NumPy arrays: indices [N, k] int32 and similarity [N, k]
        float32 by descending similarity (after the row itself), equal ones by
        lower index; -1 and -inf where the index returned fewer than k.

    Raises:
        ImportError: FAISS is not installed.
        ValueError: features that are not [N, D], k outside [1, N), or what FAISS
            refuses.

    Cost: that of the index, for "Flat" N² D multiply-adds. Memory: the index and two
    [N, k] arrays.

    Examples:
        >>> gfa.faiss_neighbors(features, k=3, factory="HNSW16").indices.shape
        (300, 3)
    """
    faiss = import_faiss()
    features = as_searchable(features, k)
    num_rows, dim = features.shape
    asked = f"factory {factory!r} with search {search!r} on {num_rows} rows of {dim}"
    similarity = np.empty((num_rows, k), np.float32)
    indices = np.empty((num_rows, k), np.int32)
    with refusals(asked):
        index = build_index(faiss, features, factory, search)
        starts = range(0, num_rows, _QUERY_BLOCK)
        for start in track(progress, starts, desc="neighbors"):
            rows = slice(start, start + _QUERY_BLOCK)
            similarity[rows], indices[rows] = index.search(features[rows], k)
    # Empty slots need no care here: `place_self` moves them to the end.
    similarity, indices = by_similarity(similarity, indices)
    return place_self(
        indices,
        similarity,
        k=k,
        self_similarity=np.einsum("nd,nd->n", features, features),
    )


def faiss_search(path: str | os.PathLike[str]) -> Callable:
    """Opens an index that FAISS wrote, to search it for a `gfa_jax.gallery`.

    Args:
        path: of the file, of a trusted source: FAISS checks little of what it reads.
            The ids in it are those of the gallery (`IndexIDMap` over any index; else
            the row numbers), its metric the inner product, or L2 of unit rows.

    Returns:
        search(probes, k): probes [P, D] float32, ids [P, k] int64, best first, -1 for
        none, and their scores [P, k].

    Raises:
        ImportError: FAISS is not installed.
        ValueError: no file, or none that FAISS reads; probes of another width.

    Examples:
        >>> left_out = datasets.write_table(
        ...     folder / "rows.faiss", datasets.Table(features)
        ... )
        >>> search = gfa.neighbors.faiss_search(folder / "rows.faiss")
        >>> search(features[:1], 3)[0].shape
        (1, 3)
    """
    faiss = import_faiss()
    open_input(path).close()
    with refusals(f"to read {path}"):
        index = faiss.read_index(str(path))

    def search(probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if probes.shape[1] != index.d:
            raise ValueError(
                f"{path}: an index of rows of {index.d} values; got probes of "
                f"{probes.shape[1]}"
            )
        scores, ids = index.search(np.ascontiguousarray(probes, np.float32), k)
        return ids, scores

    return search


def as_searchable(features: jax.Array | np.ndarray, k: int) -> np.ndarray:
    """Checks what every search takes, and gives the rows as FAISS takes them."""
    if not isinstance(features, jax.Array):
        features = np.asarray(features)
    check_search(features, k=k)
    return np.ascontiguousarray(features, dtype=np.float32)


def by_similarity(
    similarity: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts [N, M] lists by descending similarity, equal ones by index."""
    order = np.lexsort((indices, -similarity), axis=1)
    return (
        np.take_along_axis(similarity, order, axis=1),
        np.take_along_axis(indices, order, axis=1),
    )


def build_index(faiss, features: np.ndarray, factory: str, search: str):
    """Makes, trains and fills the index, and sets its search parameters."""
    index = faiss.index_factory(features.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(_training_rows(faiss, index, features))
    index.add(features)
    set_search(faiss, index, search)
    return index


def set_search(faiss, index, search: str) -> None:
    """Sets the search parameters of an index, such as "nprobe=16"."""
    if search:
        faiss.ParameterSpace().set_index_parameters(index, search)


@contextlib.contextmanager
def refusals(asked: str):
    """Turns what FAISS throws into one line: it throws RuntimeError for all things."""
    try:
        yield
    except RuntimeError as error:
        # The reason stands last, after the C++ signature and source line.
        reason = re.sub(r"^Error in .* at \S+:\d+: ", "", str(error).strip())
        raise ValueError(
            f"FAISS refused {asked}: {' '.join(reason.split())}"
        ) from error


def _training_rows(faiss, index, features: np.ndarray) -> np.ndarray:
    """Takes evenly spaced rows, as many as the index can use."""
    try:
        cells = faiss.extract_index_ivf(index).nlist
    except RuntimeError:  # a quantiser without cells
        return features
    wanted = max(cells, _QUANTIZER_CENTROIDS) * TRAINING_ROWS_PER_CENTROID
    return features[:: max(1, len(features) // wanted)]


def import_faiss():
    """Imports FAISS, or says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "faiss_neighbors needs FAISS: install gfa_jax with the extra [cpu] or "
            "[gpu], or use exact_neighbors"
        ) from error
    return faiss
