"""`refine` as an estimator of scikit-learn, which must be installed.

The method is transductive: `fit_transform` gives the pool its refined rows. Rows that
come later are refined against the pool, which does not see them, as `gallery.query`
does: each has a weight for each of its nearest rows, and makes the updates of `fit`
among them as they stood. Where a threshold, or options, were given the edges of new
rows are those of `aggregate`.
"""

import hashlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClusterMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from gfa_jax.datasets import rows
from gfa_jax.gallery import query
from gfa_jax.gallery.create import hold
from gfa_jax.gallery.lists import check_new, find
from gfa_jax.refinement.pool import refine, update_rows
from gfa_jax.types import Neighbors


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
            refined[other] = self._move(check_new(given[other], dim=given.shape[1]))
        return refined

    def _move(self, unit: np.ndarray) -> np.ndarray:
        result, pool = self.result_, self._pool
        chosen, each = result.settings, np.arange(len(pool))
        if chosen.weights is not None:
            assert chosen.found is not None  # it chose the weights
            settings = chosen.found._replace(
                neighbors=chosen.neighbors,
                weights=chosen.weights,
                num_steps=chosen.num_steps,
                gamma=chosen.params.gamma,
            )
            held = hold(
                pool,
                each,
                result.neighbors,
                settings,
                clusters=result.clusters,
                seed=self.seed,
            )
            return query(held, unit, k=1).refined
        lists = np.asarray(chosen.neighbors.indices)
        near = find(unit, pool, each, lists.shape[1])[0]
        itself = np.arange(len(pool), len(pool) + len(unit), dtype=np.int32)
        lists = np.vstack([lists, np.hstack([itself[:, None], near[:, :-1]])])
        cosines = np.zeros(lists.shape, np.float32)  # not read
        both = chosen._replace(neighbors=Neighbors(lists, cosines))
        refined = update_rows(jnp.vstack([pool, unit]), both, progress=None).features
        return np.asarray(refined[len(pool) :])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _keys(X: np.ndarray) -> list[bytes]:
    """Hashes each row, by its values in float32."""
    stored = np.ascontiguousarray(X, np.float32)
    return [hashlib.blake2b(row, digest_size=16).digest() for row in stored]
