"""Feature matrices [N, D] from and to the formats that embeddings are shared in.

    .npy   one array                        memory-mapped
    .npz   the array `key`                  memory-mapped unless compressed
    .bin   float32, with or without header  memory-mapped (see `binary`)

The stored dtype comes back: float16, float32, float64 or bfloat16. Computing in
float32 is the caller's job, block by block.
"""

import os

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

from gfa_jax.datasets.arrays import known_suffix, read_array
from gfa_jax.datasets.atomic import write_array, write_arrays
from gfa_jax.datasets.binary import read_binary, write_binary
from gfa_jax.datasets.checks import check_matrix

_SUFFIXES = (".npy", ".npz", ".bin")


def read_features(
    path: str | os.PathLike[str],
    *,
    dim: int | None = None,
    key: str = "features",
) -> np.ndarray:
    """Reads a feature matrix; its values are for `check_features` to judge.

    The file is mapped read-only: no memory until rows are touched, but for a compressed
    `.npz`.

    Args:
        path: file with the suffix `.npy`, `.npz` or `.bin`.
        dim: length D of a row: required for a `.bin` without a header, otherwise an
            expectation that is checked. A `.bin` that starts with the challenge's
            header is read by its header even where `dim` is given (see
            `read_binary`).
        key: name of the array in a `.npz`.

    Returns:
        [N, D] float16, float32, float64 or bfloat16. NumPy stores bfloat16 as two
        raw bytes a value; any such array is taken for bfloat16.

    Raises:
        ValueError: missing, empty, truncated, oversized or corrupt file, a pickle,
            an unknown suffix, no array `key`, a shape other than [N, D], a dtype
            that is not floating, or a `dim` that disagrees.
    """
    suffix = known_suffix(path, "read", _SUFFIXES)
    if suffix == ".bin":
        features = read_binary(path, dim=dim)
    else:
        features = read_array(path, key=key)
    if features.dtype == np.dtype("V2"):
        features = features.view(ml_dtypes.bfloat16)
    check_matrix(features, name=str(path))
    if dim not in (None, features.shape[1]):
        raise ValueError(
            f"{path}: got rows of {features.shape[1]} values, expected dim={dim}"
        )
    return features


def write_features(path: str | os.PathLike[str], features: ArrayLike) -> None:
    """Writes a feature matrix atomically, in the format of the suffix.

    Streams in blocks: a memory-mapped input is never held in memory whole.

    Args:
        path: destination with the suffix `.npy`, `.npz` (array `features`) or `.bin`
            (float32 with the challenge's header).
        features: [N, D] float16, float32, float64 or bfloat16; float64 not in `.bin`.

    Raises:
        ValueError: unknown suffix, another shape or dtype, or the file cannot be
            written; `path` is then as it was.
    """
    suffix = known_suffix(path, "write", _SUFFIXES)
    features = np.asarray(features)
    check_matrix(features, name="features")
    if suffix == ".npy":
        write_array(path, features)
    elif suffix == ".npz":
        write_arrays(path, {"features": features})
    else:
        write_binary(path, features)
