"""`refine` as an estimator of scikit-learn, which must be installed.

The method is transductive: `fit_transform` gives the pool its refined rows. Rows that
come later make the same updates against the pool, which does not see them:

    C_new = (F_new + Σ_j w(A_j) F_j) / (1 + Σ_j w(A_j)),   F_j moving as in `fit`

over their K − 1 nearest in the pool, with w(A) the mean weight of the pool's own
candidates at that cosine. Where a threshold, or options, were given the edges of new
rows are those of `aggregate`.
"""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClusterMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from gfa_jax import numerics
from gfa_jax.datasets import check_features, rows
from gfa_jax.refinement.pool import refine, update_rows
from gfa_jax.types import Neighbors

# Cosines at which the mean weight is taken, as many kept edges between each two.
_KNOTS = 32
_BLOCK_VALUES = 1 << 24


class Refiner(ClusterMixin, TransformerMixin, OneToOneFeatureMixin, BaseEstimator):
    """Refines and clusters a pool, and moves later rows against it.

    Args:
        k: K, the row itself counted; this and what follows as for `gfa_jax.refine`.
        threshold: cosine t that an edge must exceed.
        gamma: the step.
        num_steps: T.
        options: `gfa_jax.PAPER` is the paper as printed.
        seed: of the sample from which a large pool is measured.

    Attributes:
        features_: [N, D] float32 refined rows of the pool.
        labels_: [N] int32 cluster of each row.
        result_: all that `refine` returns.
    """

    def __init__(
        self,
        *,
        k=None,
        threshold=None,
        gamma=None,
        num_steps=None,
        options=None,
        seed=0,
    ):
        self.k = k
        self.threshold = threshold
        self.gamma = gamma
        self.num_steps = num_steps
        self.options = options
        self.seed = seed

    def fit(self, X, y=None):
        """Refines and clusters the pool.

        Args:
            X: [N, D], N >= 2.
            y: not used.

        Returns:
            The estimator.
        """
        del y
        pool: Any = validate_data(self, X, dtype="numeric", ensure_min_samples=2)
        self.result_ = refine(pool, cluster=True, **self.get_params(deep=False))
        self.features_, self.labels_ = self.result_.features, self.result_.labels
        self._pool = rows.check_unit(rows.take(pool)[0])
        self._places = {key: n for n, key in reversed([*enumerate(_keys(pool))])}
        return self

    def fit_transform(self, X, y=None):
        """Refines the pool.

        Args:
            X: [N, D], N >= 2.
            y: not used.

        Returns:
            [N, D] float32, `features_`.
        """
        return self.fit(X, y).features_

    def transform(self, X):
        """Gives rows of the pool as `fit` refined them; moves others against it.

        Cost: M N D for the search of M other rows, and the updates of N + M.

        Args:
            X: [n, D].

        Returns:
            [n, D] float32 unit rows.
        """
        check_is_fitted(self)
        given: Any = validate_data(self, X, dtype="numeric", reset=False)
        places = np.array([self._places.get(key, -1) for key in _keys(given)])
        refined = self.features_[places]
        other = places < 0
        if other.any():
            # The check wants two rows, and there may be one.
            stored = rows.take(np.repeat(given[other], 2, axis=0))[0]
            unit = rows.unit_rows(stored, check_features(stored), scaled=True)
            refined[other] = self._move(jnp.asarray(unit[::2]))
        return refined

    def _move(self, features: jax.Array) -> np.ndarray:
        chosen = self.result_.settings
        near = _search(features, self._pool, max(1, chosen.k - 1))
        count, num_rows = len(features), len(self._pool)
        itself = np.arange(num_rows, num_rows + count)[:, None]
        indices = np.hstack([itself, near.indices]).astype(np.int32)
        width = max(indices.shape[1], chosen.neighbors.indices.shape[1])
        weights = None
        if chosen.weights is not None:
            own = np.interp(near.similarity, *self._weight_of_cosine(), left=0)
            own = np.where(chosen.dropped[near.indices], 0, own)
            own = np.hstack([np.ones((count, 1)), own]).astype(np.float32)
            weights = _stack(chosen.weights, own, width, 0)
        lists = _stack(chosen.neighbors.indices, indices, width, -1)
        cosines = np.zeros(lists.shape, np.float32)  # not read
        both = chosen._replace(neighbors=Neighbors(lists, cosines), weights=weights)
        result = update_rows(jnp.vstack([self._pool, features]), both, progress=None)
        return np.asarray(result.features[num_rows:])

    def _weight_of_cosine(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns cosines, ascending, and the mean weight of candidates there."""
        chosen, searched = self.result_.settings, self.result_.neighbors
        assert chosen.weights is not None  # the caller has them
        is_kept = chosen.weights > 0
        is_kept[:, 0] = False
        kept = np.asarray(chosen.neighbors.similarity)[is_kept]
        if not kept.size:
            return np.array([1.0]), np.array([0.0])
        every = np.asarray(searched.similarity)[:, 1:].ravel()
        ends = np.unique(np.quantile(kept, np.linspace(0, 1, _KNOTS + 1)))
        ends = np.append(ends[:-1], np.inf)
        total = np.histogram(kept, ends, weights=chosen.weights[is_kept])[0]
        count = np.histogram(every, ends)[0]
        return ends[:-1], total / np.maximum(count, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _keys(X: np.ndarray) -> list[bytes]:
    """Hashes each row, by its values in float32."""
    stored = np.ascontiguousarray(X, np.float32)
    return [hashlib.blake2b(row, digest_size=16).digest() for row in stored]


def _search(features: jax.Array, pool: np.ndarray, k: int) -> Any:
    """Finds the k nearest rows of the pool: Neighbors [M, k] without the row itself."""
    whole, size = jnp.asarray(pool), max(1, _BLOCK_VALUES // len(pool))
    parts = [
        jax.lax.top_k(
            numerics.dot("md,nd->mn", features[start : start + size], whole),
            min(k, len(pool)),
        )
        for start in range(0, len(features), size)
    ]
    similarity, indices = (np.vstack(column) for column in zip(*parts, strict=True))
    return Neighbors(indices, similarity)


def _stack(pool: Any, new: np.ndarray, width: int, fill: float) -> np.ndarray:
    """Puts rows of two widths under each other."""
    parts = [np.asarray(pool), new.astype(np.asarray(pool).dtype)]
    padding = ([(0, 0), (0, width - part.shape[1])] for part in parts)
    return np.vstack(
        [
            np.pad(part, pad, constant_values=fill)
            for part, pad in zip(parts, padding, strict=True)
        ]
    )
