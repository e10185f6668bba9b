"""When two searches of the same rows say the same, whatever their rounding."""

import numpy as np

from gfa_jax.types import Array


def products(features: Array, indices: Array) -> np.ndarray:
    """The float64 inner products of every row with its candidates; -inf if empty."""
    F, indices = np.asarray(features, np.float64), np.asarray(indices)
    A = np.stack([F[row] @ f for row, f in zip(indices, F, strict=True)])
    return np.where(indices < 0, -np.inf, A)


def assert_agree(features: Array, got, want, *, atol: float = 1e-6) -> None:
    """The same ids in the same order, except where products are within `atol`.

    Rows of unit length: their float32 products err by a few 1e-7.
    """
    indices, expected = np.asarray(got.indices), np.asarray(want.indices)
    assert indices.shape == expected.shape
    np.testing.assert_array_equal(indices < 0, expected < 0)
    assert_no_repeats(indices)
    found, best = products(features, indices), products(features, expected)
    np.testing.assert_allclose(got.similarity, found, rtol=0, atol=atol)
    differ = indices != expected
    np.testing.assert_allclose(found[differ], best[differ], rtol=0, atol=atol)


def assert_no_repeats(indices: Array) -> None:
    """Every id at most once a row."""
    ordered = np.sort(np.asarray(indices), axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    assert not repeated.any()
