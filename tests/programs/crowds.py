"""A generated sample in which some rows are a crowd, which `find_outliers` finds."""

import numpy as np

from gfa_jax.datasets import SyntheticFeatures


def with_crowd(sample: SyntheticFeatures, *, size: int = 20) -> SyntheticFeatures:
    """Puts the last rows around one direction, at cosines of about one half."""
    rng = np.random.default_rng(0)
    dim = sample.features.shape[1]
    crowd = np.eye(dim)[0] + rng.standard_normal((size, dim)) / np.sqrt(dim)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    features = np.concatenate([sample.features[:-size], crowd.astype(np.float32)])
    is_junk = np.arange(len(features)) >= len(features) - size
    return sample._replace(features=features, is_junk=sample.is_junk | is_junk)
