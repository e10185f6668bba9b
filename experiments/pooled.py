"""Pools of templates: what the frames or images of a file are pooled to."""

import pathlib

import numpy as np
from absl import flags

from experiments import inputs
from gfa_jax import datasets

FLAGS = flags.FLAGS


def read_rows(path: str, num_rows: int) -> np.ndarray:
    """Reads rows to pool, as they are stored, and checks their number.

    Args:
        path: the file of features.
        num_rows: how many there must be.

    Returns:
        [num_rows, D] floating, a memory map where the format allows.

    Raises:
        ValueError: another number of rows, and whatever the readers refuse.
    """
    rows = datasets.read_features(path, dim=FLAGS.dim, key=FLAGS.features_key)
    if len(rows) != num_rows:
        raise ValueError(
            f"{path}: got {len(rows)} rows, expected {num_rows}, one a listed face"
        )
    datasets.check_features(rows, name=path)
    return rows


def as_pool(templates: np.ndarray) -> inputs.Pool:
    """Makes a pool, without pairs yet, of pooled rows.

    Args:
        templates: [S, D] unit rows.

    Returns:
        The pool.

    Raises:
        ValueError: a template whose rows cancel out.
    """
    norms = datasets.check_features(templates, name="templates")
    name = pathlib.Path(FLAGS.features).name
    return inputs.Pool(name, np.asarray(templates, np.float32), norms, None, None)
