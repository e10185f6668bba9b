"""Pools of templates: what the frames or images of a file are pooled to."""

import pathlib

import numpy as np

from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs
from gfa_jax.tuning.frames import Frames, pool_frames

FLAGS = flags.FLAGS


def read_rows(path: str, num_rows: int) -> np.ndarray:
    """Reads rows to pool, as they are stored, and checks their number.

    Zero rows, faces that were not detected, are counted in a warning: they add nothing.

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
    norms = datasets.check_features(rows, name=path, allow_zero=True)
    if not norms.all():
        cli.warn(
            f"{path}: {np.count_nonzero(norms == 0)} of {len(norms)} rows are zero and "
            "add nothing to their template"
        )
    return rows


def as_pool(templates: np.ndarray) -> inputs.Pool:
    """Makes a pool, without pairs yet, of pooled unit rows [S, D].

    Raises:
        ValueError: a template whose rows cancel out.
    """
    norms = datasets.check_features(templates, name="templates")
    name = pathlib.Path(FLAGS.features).name
    return inputs.Pool(name, np.asarray(templates, np.float32), norms, None, None)


def warn_of_unit_frames(norms: np.ndarray, *, effect: str) -> None:
    """Warns of frames whose lengths say nothing, and of the effect of that."""
    if not inputs.is_scaled(norms):
        cli.warn(
            f"the frames of {FLAGS.features} have length 1, so that {effect}; give "
            "them as the network does"
        )


def read_frames(templates: str, *, power: float) -> tuple[inputs.Pool, Frames]:
    """Reads the frames that --features names, and pools them by a power.

    --labels names the identity of every frame, and the file `templates` its template.

    Returns:
        The pool of templates, with their identities as labels; the frames, float32,
        their segments numbered in the order of the templates' names.

    Raises:
        ValueError: anything about the files that cannot be used, a template of two
            identities, templates that make no genuine or no impostor pair.
    """
    if FLAGS.features is None or FLAGS.labels is None:
        raise ValueError("--templates describes --features with --labels; name both")
    source = inputs.open_source()
    rows = source.read(0, source.shape[0])
    norms = datasets.check_features(rows, name=FLAGS.features)
    warn_of_unit_frames(norms, effect="no power of it weighs anything")
    names = datasets.read_labels(templates)
    datasets.check_labels(names, len(rows))
    labels, _ = inputs.read_truth(len(rows))
    assert labels is not None  # --labels is there
    segments, names = datasets.encode_labels(names)
    _, first = np.unique(segments, return_index=True)
    identities = labels[first]
    mixed = np.flatnonzero(labels != identities[segments])
    if len(mixed):
        raise ValueError(
            f"{templates}: template {names[segments[mixed[0]]]} holds frames of two "
            "identities; expected one a template"
        )
    inputs.check_both_kinds(identities)
    frames = Frames(np.asarray(rows, np.float32), segments)
    pooled = pool_frames(frames, num_rows=len(identities), power=power)
    return as_pool(np.asarray(pooled))._replace(labels=identities), frames


def select_frames(frames: Frames, templates: np.ndarray) -> Frames:
    """Takes the frames of some of the templates, [S] bool, and numbers these anew."""
    features, segments = map(np.asarray, frames)
    taken = templates[segments]
    numbers = np.cumsum(templates) - 1
    return Frames(features[taken], numbers[segments[taken]].astype(np.int32))
