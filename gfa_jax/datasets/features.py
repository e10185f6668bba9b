"""Feature matrices [N, D] from and to the formats that embeddings are shared in.

Which those are is in `formats`; `tables` reads what a file says of each row as well.
The stored dtype comes back: float16, float32, float64 or bfloat16. Computing in
float32 is the caller's job, block by block. A cosine needs ‖F_i‖ > 0 and finite: one
NaN row, or one zero row, would spread through the neighbour search without a word.
"""

import concurrent.futures
import os
from collections.abc import Callable

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

from gfa_jax.datasets.formats.table import Table
from gfa_jax.datasets.reading import one_line_errors
from gfa_jax.datasets.tables import read_table, write_table

_FLOATING = tuple(
    np.dtype(kind) for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
)
_BLOCK_ROWS = 8192
_READERS = min(4, os.cpu_count() or 1)


@one_line_errors
def read_features(
    path: str | os.PathLike[str], *, dim: int | None = None, key: str | None = None
) -> np.ndarray:
    """Reads a feature matrix; its values are for `check_features` to judge.

    All arguments are as for `gfa_jax.datasets.read_table`.

    Returns:
        [N, D] float16, float32, float64 or bfloat16, read-only where it is mapped.
        NumPy stores bfloat16 as two raw bytes a value; any such array is taken for it.

    Raises:
        ValueError: as for `read_table`; another shape than [N, D], or a dtype that is
            no number.
        ImportError: the format needs `pip install 'gfa_jax[formats]'`.
    """
    features = read_table(path, key=key, dim=dim).features
    check_matrix(features, name=str(path))
    return features


def write_features(path: str | os.PathLike[str], features: ArrayLike) -> None:
    """Writes features atomically and in blocks, in the format of the suffix.

    `.npz` names the array `features`; `.bin` is float32 with the challenge's header.

    Args:
        path: of the file.
        features: [N, D].

    Raises:
        ValueError: unknown suffix, another shape or dtype, values that the format
            cannot hold, or the file cannot be written; `path` is then as it was.

    Examples:
        >>> datasets.write_features(folder / "rows.npy", features)
        >>> datasets.read_features(folder / "rows.npy").shape
        (300, 32)
    """
    features = np.asarray(features)
    check_matrix(features)
    write_table(path, Table(features))


def check_matrix(features: np.ndarray, *, name: str = "features") -> None:
    """Checks the shape and the dtype of features, not their values.

    Args:
        features: [N, D] float16, float32, float64 or bfloat16.
        name: what to call it in the error, for example its path.

    Raises:
        ValueError: another shape or dtype.
    """
    if features.ndim != 2:
        raise ValueError(
            f"{name}: got {features.ndim} dimensions, shape {features.shape}, expected "
            "[N, D]; reshape to one row a sample"
        )
    if features.dtype.newbyteorder("=") not in _FLOATING:
        raise ValueError(
            f"{name}: got dtype {features.dtype}, expected float16, float32, float64 "
            "or bfloat16; cast the features first"
        )


def check_features(
    features: ArrayLike,
    *,
    name: str = "features",
    allow_zero: bool = False,
    least: int = 2,
    each: Callable[[np.ndarray, int], object] | None = None,
) -> np.ndarray:
    """Checks a feature matrix value by value and returns the norms of its rows.

    ‖F_i‖ in float64, held against the range of float32, in which the library
    computes: a norm below its smallest normal number counts as zero, one above its
    largest as infinite. Cost O(N·D), one pass by up to four threads; memory 8192 D
    float64 in each and N norms, so a memory-mapped array is streamed.

    Args:
        features: [N, D] as for `check_matrix`, N >= `least`, D >= 1.
        name: what to call it in the error, for example its path.
        allow_zero: whether zero rows pass, as faces that were not detected and only
            add to a template.
        least: rows to expect, 1 where they are looked up among others.
        each: called with every block of rows and the number of its first, in order,
            while the next blocks are read.

    Returns:
        [N] float64 norms, all finite and > 0, or 0 where `allow_zero`.

    Raises:
        ValueError: another shape or dtype, rows with NaN or Inf, or zero rows.
    """
    features = np.asarray(features)
    check_matrix(features, name=name)
    for count, wanted, what in zip(
        features.shape, (least, 1), ("rows", "columns"), strict=True
    ):
        if count < wanted:
            raise ValueError(f"{name}: got {count} {what}, expected at least {wanted}")
    norms = np.empty(len(features), np.float64)
    starts = range(0, len(features), _BLOCK_ROWS)

    def measure(start: int) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            values = features[start : start + _BLOCK_ROWS].astype(np.float64)
            return np.sqrt(np.einsum("nd,nd->n", values, values))

    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        for start, part in zip(starts, readers.map(measure, starts), strict=True):
            norms[start : start + len(part)] = part
            if each is not None:
                each(features[start : start + len(part)], start)
    limits = np.finfo(np.float32)
    bad = ~(norms <= limits.max)
    if bad.any():
        row = int(np.argmax(bad))
        column = int(np.argmin(np.abs(features[row].astype(np.float64)) <= limits.max))
        what = "hold NaN, Inf or values beyond float32's range"
        _refuse(bad, name, what, f"; row {row} in column {column}")
    zero = norms < limits.tiny
    if allow_zero:
        return np.where(zero, 0, norms)
    _refuse(zero, name, "are zero (their norm is below 1.2e-38)")
    return norms


def _refuse(bad: np.ndarray, name: str, what: str, where: str = "") -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        shown = ", ".join(map(str, rows[:5])) + (", …" if rows.size > 5 else "")
        raise ValueError(
            f"{name}: {rows.size} of {len(bad)} rows {what}: rows {shown} (counted "
            f"from 0{where}); repair or drop them"
        )
