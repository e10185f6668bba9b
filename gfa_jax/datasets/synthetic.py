"""Labelled unit features that fail the way face embeddings fail.

The idea: a refinement is only worth testing on features with the faults it meets in
use. A person p has a frontal and a profile direction that agree little, belongs to
a family of look-alikes, and is seen at every quality; a few rows are junk, images
of p in which no face was found, and all of them drift to one direction j. With g, z
and e random unit directions,

    frontal_p = unit(√a_p g_family(p) + √(1 − a_p) z_p)
    profile_p = unit(c frontal_p + √(1 − c²) z'_p)
    x_i = unit(s_i unit((1 − v_i) frontal_p + v_i profile_p) + √(1 − s_i²) e_i)
    F_i = unit(√(1 − d_i²) x_i + d_i j)

where a_p is how much of p the family explains, c the cosine of the poses, v_i the
pose of image i, s_i its signal (it grows with the quality) and d_i its drift. The
faults are those of the paper's sections 4.1 and 4.3; the model is this project's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfa_jax.types import check_integer, check_number, track

# Chosen together, so that the plain update does to the default features what it did
# to the paper's IJB-C (Table 1): t = .55 loses at FPR 1e-6 and gains at 1e-3, t = .75
# gains at both, and without the junk t = .55 gains at both.
_MIN_SIZE = 4  # images of a person; the last one gets the rows that are left
_SIZE_EXPONENT = 1.5
_PROFILE_SHARE = 0.4  # of profile among the images of a pure pose
_BETWEEN_SHARE = 0.5  # of images in between, v_i uniform in [0, 1]
_FAMILIES = 50
_FAMILY_SHARE = 0.75, (1.0, 4.0)  # a_p, a share of Beta: most people have no look-alike
_POSE_COSINE = np.float32(0.1)  # c
_QUALITY = (5.0, 2.0)  # Beta: most images are good, a tail is poor
_SIGNAL = (0.50, 0.99)  # cosine of an image with its person at quality 0 and 1
_POOR_DRIFT = 0.5  # drift of an ordinary image of quality 0; none at quality 1
# Two junk rows then have a cosine of about .46, give or take .05: a few edges at
# t = .55, from which updates that rescore them grow a hub; none at t = .75.
_JUNK_DRIFT = (0.66, 0.70)
_JUNK_QUALITY = 0.3  # what is left of the quality where no face was found

# Blocks bound the temporaries; the random stream does not depend on them.
_BLOCK_ROWS = 8192


class SyntheticFeatures(NamedTuple):
    """Generated features and all that is true about them, one entry a row."""

    features: np.ndarray  # [N, D] float32 unit rows, in random order
    labels: np.ndarray  # [N] int32 person in [0, P), every one present
    is_junk: np.ndarray  # [N] bool: no face was found; the label stays
    pose: np.ndarray  # [N] float32 in [0, 1]: 0 frontal, 1 profile, else a mixture
    quality: np.ndarray  # [N] float32 in [0, 1]
    family: np.ndarray  # [N] int32 look-alikes of the row's person, in [0, 50)


def synthetic_features(
    *,
    num_rows: int = 8_000,
    dim: int = 256,
    seed: int = 0,
    max_size: int = 150,
    junk_share: float = 0.005,
    progress: Callable | None = None,
) -> SyntheticFeatures:
    """Generates labelled unit features with poses, look-alikes, poor images and junk.

    The equations are in the module's docstring. A person has n images with
    probability ∝ n^−1.5. All people are drawn from one population, so the
    distribution of impostor cosines does not depend on `num_rows`. The same seed with
    another `junk_share` gives the same rows wherever neither is junk. Time and memory
    are O(N·D).

    Args:
        num_rows: N, at least 2. 8,000 rows make 3.2e7 pairs, enough for about 32
            false accepts at a false-positive rate of 1e-6.
        dim: D, at least 2. Fewer dimensions bring the impostors closer.
        seed: seed of the random stream; the same seed gives the same bits.
        max_size: most images of a person, at least 4, the fewest of all but one.
        junk_share: share in [0, 1] of junk rows, rounded to whole rows.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around
            the blocks of rows; None is silent.

    Returns:
        SyntheticFeatures, of N rows.

    Raises:
        ValueError: an option out of its range.
    """
    for name, count, least in (
        ("num_rows", num_rows, 2),
        ("dim", dim, 2),
        ("seed", seed, 0),
        ("max_size", max_size, _MIN_SIZE),
    ):
        check_integer(name, count, least=least)
    check_number("junk_share", junk_share, 0.0, 1.0)
    rng = np.random.default_rng(seed)
    sizes = _power_law_sizes(rng, num_rows, max_size)
    people = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    labels = rng.permutation(people)
    family = rng.integers(_FAMILIES, size=len(sizes), dtype=np.int32)
    frontal, profile = _people(rng, family, dim)
    junk_direction = _random_directions(rng, 1, dim)

    pose = _poses(rng, num_rows)
    quality = rng.beta(*_QUALITY, size=num_rows).astype(np.float32)
    junk_drift = rng.uniform(*_JUNK_DRIFT, size=num_rows).astype(np.float32)
    # A whole permutation, so that the stream does not depend on the share.
    is_junk = rng.permutation(num_rows) < round(junk_share * num_rows)
    quality = np.where(is_junk, _JUNK_QUALITY * quality, quality)
    drift = np.where(is_junk, junk_drift, _POOR_DRIFT * (1 - quality))
    signal = _SIGNAL[0] + (_SIGNAL[1] - _SIGNAL[0]) * quality

    features = np.empty((num_rows, dim), np.float32)
    starts = range(0, num_rows, _BLOCK_ROWS)
    for start in track(progress, starts, desc="generating features"):
        rows = slice(start, start + _BLOCK_ROWS)
        person, v = labels[rows], pose[rows, None]
        clean = _unit((1 - v) * frontal[person] + v * profile[person])
        noise = _random_directions(rng, len(person), dim)
        image = _blend(noise, clean, signal[rows, None])
        features[rows] = _blend(image, junk_direction, drift[rows, None])
    return SyntheticFeatures(features, labels, is_junk, pose, quality, family[labels])


def _power_law_sizes(
    rng: np.random.Generator, num_rows: int, max_size: int
) -> np.ndarray:
    """Images of each person, [P] int64 with Σ = num_rows, P(n) ∝ n^−exponent."""
    support = np.arange(_MIN_SIZE, max_size + 1)
    law = (support / _MIN_SIZE) ** -_SIZE_EXPONENT
    sizes = rng.choice(support, size=-(-num_rows // _MIN_SIZE), p=law / law.sum())
    before = np.cumsum(sizes) - sizes
    sizes = sizes[before < num_rows]
    sizes[-1] = num_rows - before[len(sizes) - 1]
    return sizes


def _people(
    rng: np.random.Generator, family: np.ndarray, dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """The frontal and the profile direction of each person, each [P, D] float32."""
    people = len(family)
    shared = _random_directions(rng, _FAMILIES, dim)
    share = _FAMILY_SHARE[0] * rng.beta(*_FAMILY_SHARE[1], size=(people, 1))
    own = _random_directions(rng, people, dim)
    frontal = _blend(own, shared[family], np.sqrt(share).astype(np.float32))
    turned = _random_directions(rng, people, dim)
    return frontal, _blend(turned, frontal, _POSE_COSINE)


def _poses(rng: np.random.Generator, num_rows: int) -> np.ndarray:
    """The pose v of each row, [N] float32: 0, 1, or uniform in between."""
    between = rng.random(num_rows) < _BETWEEN_SHARE
    pure = rng.random(num_rows) < _PROFILE_SHARE
    return np.where(between, rng.random(num_rows), pure).astype(np.float32)


def _blend(
    other: np.ndarray, towards: np.ndarray, cosine: np.ndarray | np.float32
) -> np.ndarray:
    """unit(c towards + √(1 − c²) other), [B, D] float32."""
    return _unit(cosine * towards + np.sqrt(1 - cosine**2) * other)


def _random_directions(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Directions uniform on the sphere, [rows, D] float32."""
    return _unit(rng.standard_normal((rows, dim), dtype=np.float32))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their norms, [B, D]; a random row is never zero."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
