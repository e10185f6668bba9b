"""What must hold of a feature matrix before anything is computed from it.

A cosine needs ‖F_i‖ > 0 and finite: one NaN row, or one zero row, would spread
through the neighbour search without a word.
"""

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

_FLOATING = tuple(
    np.dtype(kind) for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
)
_SHOWN_ROWS = 5
_BLOCK_ROWS = 8192


def check_matrix(features: np.ndarray, *, name: str = "features") -> None:
    """Refuses an array that is not [N, D] float16, float32, float64 or bfloat16.

    Its values are not touched; `name` is what the error calls it.
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
) -> np.ndarray:
    """Checks a feature matrix value by value and returns the norms of its rows.

    ‖F_i‖ in float64, held against the range of float32, in which the library
    computes: a norm below its smallest normal number counts as zero, one above its
    largest as infinite. Cost O(N·D), one pass; memory 8192 D float64 and N
    norms, so a memory-mapped array is streamed.

    Args:
        features: [N, D] float16, float32, float64 or bfloat16, N >= 2, D >= 1.
        name: what to call it in the error, for example its path.
        allow_zero: whether zero rows pass, as faces that were not detected and only
            add to a template.

    Returns:
        [N] float64 norms, all finite and > 0, or 0 where `allow_zero`.

    Raises:
        ValueError: another shape or dtype, fewer than 2 rows, no column, rows with
            NaN or Inf, or zero rows.
    """
    features = np.asarray(features)
    check_matrix(features, name=name)
    rows, columns = features.shape
    if rows < 2:
        raise ValueError(f"{name}: got {rows} rows, expected at least 2")
    if columns < 1:
        raise ValueError(f"{name}: got {columns} columns, expected at least 1")
    norms = np.empty(rows, np.float64)
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        norms[block] = _row_norms(features[block])
    limits = np.finfo(np.float32)
    _refuse(
        ~(norms <= limits.max), name, "hold NaN, Inf or values beyond float32's range"
    )
    zero = norms < limits.tiny
    if allow_zero:
        return np.where(zero, 0, norms)
    _refuse(zero, name, "are zero (their norm is below 1.2e-38)")
    return norms


def _row_norms(block: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        values = block.astype(np.float64)
        return np.sqrt(np.einsum("nd,nd->n", values, values))


def _refuse(bad: np.ndarray, name: str, what: str) -> None:
    count = np.count_nonzero(bad)
    if count == 0:
        return
    shown = ", ".join(str(row) for row in np.flatnonzero(bad)[:_SHOWN_ROWS])
    more = ", …" if count > _SHOWN_ROWS else ""
    raise ValueError(
        f"{name}: {count} of {len(bad)} rows {what}: rows {shown}{more} (counted from "
        "0); repair or drop them"
    )
