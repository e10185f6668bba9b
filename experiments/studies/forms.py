"""The forms that the studies compare: the default, and lists without dropped rows."""

import numpy as np

import gfa_jax as gfa


def refine_by_default(features: np.ndarray, neighbors: gfa.Neighbors) -> np.ndarray:
    """Refines a pool as `refine` does where nothing is told.

    Args:
        features: [N, D] unit rows.
        neighbors: [N, C] candidates, the row itself first; `gfa.selection.WIDTH` tells
            all, fewer bound K.

    Returns:
        [N, D] refined rows.
    """
    return np.asarray(gfa.refine(features, neighbors=neighbors).features)


def drop_rows(features: np.ndarray, neighbors: gfa.Neighbors) -> gfa.Neighbors:
    """Empties the lists of the rows that the default drops, and their slots in others.

    Args:
        features: [N, D] unit rows.
        neighbors: [N, C] candidates, the row itself first.

    Returns:
        [N, C] candidates.
    """
    return neighbors.drop(gfa.choose_settings(features, neighbors).dropped)
