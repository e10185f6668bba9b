"""Small grey images of heads that differ in who, pose, light and noise.

The idea: what a network must learn is to see the person behind pose and light, and
it learns that only from many people. A head is a smooth texture T_p on a smooth
depth map Z_p over the frontal plane (u, v) ∈ [−1, 1]²,

    T_p = T̄ + Σ_kl a_pkl φ_k(u) φ_l(v)      Z_p = Z̄ + Σ_kl b_pkl φ_k(u) φ_l(v)
    φ_k(u) = cos(k π (u + 1) / 2)            a, b ~ N(0, σ² / (1 + k² + l²)^1.5)

with a mean head (T̄, Z̄) of brows, eyes, nose and mouth. Turned by yaw α and pitch β,
the pixel (x, y) shows the point

    u = (x / z − Z_p sin α) / cos α          v = (y / z − Z_p sin β) / cos β

found by fixed-point steps (z is the zoom; x, y are shifted and rolled), lit by a
lamp in direction l of strength λ:

    I = g T_p(u, v) (1 − λ + λ max(0, n · l)) + h + ε,      n ∝ (−∂Z/∂u, −∂Z/∂v, 1)

Outside the ellipse of the head there is a background of one grey. The model is this
project's; the shading is Lambert's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfa_jax.types import track

_ORDERS = 8  # k, l < 8: the finest wave spans half of a head, or 4 of 32 pixels
_FIXED_POINT_STEPS = 3  # |∂Z/∂u sin α| stays under about .5: then 1/8 of it is left
_BLOCK_ROWS = 16  # their waves, 0.5 MB an array, then stay in cache
_HEAD = (0.95, 1.1)  # half axes of the ellipse, in units of half an image
_SHIFT, _ROLL, _ZOOM = 0.06, 0.08, 0.06  # standard deviations of a rough crop

# The mean head: depth of its edge, the nose, and parts as (u, v, width, height, tone).
_DOME, _NOSE = 0.45, 0.25
_NOSE_U, _NOSE_V, _NOSE_WIDTH, _NOSE_HEIGHT = 0.0, 0.05, 0.16, 0.35
_PARTS = (
    (-0.38, -0.2, 0.16, 0.09, -0.3),
    (0.38, -0.2, 0.16, 0.09, -0.3),
    (-0.38, -0.42, 0.24, 0.06, -0.2),
    (0.38, -0.42, 0.24, 0.06, -0.2),
    (0.0, 0.25, 0.16, 0.07, -0.12),
    (0.0, 0.52, 0.3, 0.07, -0.25),
)
_SKIN = 0.62
_TEXTURE, _DEPTH = 0.28, 0.16  # σ of a and of b


class SyntheticImages(NamedTuple):
    """Generated images and all that is true about them, one entry an image."""

    images: np.ndarray  # [N, S, S] uint8 grey values, in random order
    labels: np.ndarray  # [N] int32 identity of each image, in [0, P), every one present
    pose: np.ndarray  # [N, 2] float32 yaw and pitch in radians
    light: np.ndarray  # [N, 3] float32 direction of the lamp times its strength λ


def synthetic_images(
    *,
    num_identities: int = 600,
    min_images: int = 8,
    max_images: int = 24,
    size: int = 32,
    seed: int = 0,
    max_yaw: float = 0.5,
    max_pitch: float = 0.2,
    max_light: float = 0.8,
    noise: float = 0.04,
    progress: Callable | None = None,
) -> SyntheticImages:
    """Generate labelled grey images of heads under changing pose, light and noise.

    The equations are in the module's docstring. The same seed gives the same heads,
    poses and lamps whatever the size and the noise.

    Args:
        num_identities: P, at least 2.
        min_images: fewest images of an identity, at least 1.
        max_images: most images of an identity, at least `min_images`; the number is
            uniform between the two.
        size: S, pixels of a side, at least 8.
        seed: seed of the random stream; the same seed gives the same bits.
        max_yaw: |α| is uniform up to this, radians in [0, 1].
        max_pitch: |β| is uniform up to this, radians in [0, 1].
        max_light: λ is uniform up to this, in [0, 1]; 0 is even light, and then
            g = 1 and h = 0 too.
        noise: standard deviation of ε, of a range of grey of 1, >= 0. With 0 the
            crop is exact too: no shift, roll or zoom.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`, around the
            blocks of images; None is silent.

    Returns:
        The images and the truth about each.

    Raises:
        ValueError: an option outside its range.

    Cost: about 0.2 ms an image of 32 × 32 pixels. Memory: the result, 600 bytes an
    identity and blocks of 16 images.
    """
    _check(num_identities, min_images, max_images, size, seed)
    for name, value, most in (
        ("max_yaw", max_yaw, 1.0),
        ("max_pitch", max_pitch, 1.0),
        ("max_light", max_light, 1.0),
        ("noise", noise, np.inf),
    ):
        if not 0 <= value <= most or value == np.inf:
            raise ValueError(f"{name} is {value!r}: give a number in [0, {most}]")

    rng = np.random.default_rng(seed)
    counts = rng.integers(min_images, max_images, num_identities, endpoint=True)
    labels = rng.permutation(
        np.repeat(np.arange(num_identities, dtype=np.int32), counts)
    )
    texture, depth = _heads(rng, num_identities)
    num_images = len(labels)
    pose = rng.uniform(-1, 1, (num_images, 2)) * (max_yaw, max_pitch)
    lamp = _lamps(rng, num_images)
    strength = max_light * rng.random(num_images)
    gain = 1 + (max_light > 0) * rng.uniform(-0.25, 0.25, num_images)
    offset = (max_light > 0) * rng.uniform(-0.1, 0.1, num_images)
    background = rng.random(num_images)
    crop = (noise > 0) * rng.standard_normal((num_images, 4))
    crop *= (_SHIFT, _SHIFT, _ROLL, _ZOOM)
    grain = np.random.default_rng([seed, size])

    images = np.empty((num_images, size, size), np.uint8)
    starts = range(0, num_images, _BLOCK_ROWS)
    for start in track(progress, starts, desc="generating images"):
        rows = slice(start, start + _BLOCK_ROWS)
        x, y = _pixels(size, crop[rows])
        surface, normal = _surface(x, y, depth[labels[rows]], pose[rows])
        tone = _tone(surface, texture[labels[rows]])
        lit = np.einsum("bnc,bc->bn", normal, lamp[rows])
        power = strength[rows, None]
        shaded = tone * (1 - power + power * np.maximum(lit, 0))
        inside = (x / _HEAD[0]) ** 2 + (y / _HEAD[1]) ** 2 <= 1
        grey = np.where(inside, gain[rows, None] * shaded, background[rows, None])
        grey += offset[rows, None] + noise * grain.standard_normal(grey.shape)
        images[rows] = np.clip(255 * grey + 0.5, 0, 255).reshape(-1, size, size)
    light = (strength[:, None] * lamp).astype(np.float32)
    return SyntheticImages(images, labels, pose.astype(np.float32), light)


def _heads(rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients a and b of each person, each [P, K, K] float32."""
    order = np.arange(_ORDERS)
    spectrum = (1.0 + order[:, None] ** 2 + order**2) ** -0.75
    drawn = rng.standard_normal((2, people, _ORDERS, _ORDERS), dtype=np.float32)
    drawn[:, :, 0, 0] = 0  # the mean tone is the light's, the mean depth is the shift's
    # Depth is smoother than paint: a fine wave of depth would be a steep slope.
    smooth = spectrum * spectrum
    return (
        _TEXTURE * drawn[0] * spectrum.astype(np.float32),
        _DEPTH * drawn[1] * smooth.astype(np.float32),
    )


def _lamps(rng: np.random.Generator, count: int) -> np.ndarray:
    """Directions uniform on the half sphere in front of the head, [N, 3]."""
    lamp = rng.standard_normal((count, 3))
    lamp[:, 2] = np.abs(lamp[:, 2])
    return lamp / np.linalg.norm(lamp, axis=1, keepdims=True)


def _pixels(size: int, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels lie on the turned head: x and y, each [B, S²] float32."""
    axis = (np.arange(size) + 0.5) * (2 / size) - 1
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    right, down, roll, zoom = (column[:, None] for column in crop.T)
    scale = np.exp(-zoom)
    turned_x = scale * (np.cos(roll) * x + np.sin(roll) * y) - right
    turned_y = scale * (np.cos(roll) * y - np.sin(roll) * x) - down
    return turned_x.astype(np.float32), turned_y.astype(np.float32)


def _surface(
    x: np.ndarray, y: np.ndarray, waves: np.ndarray, pose: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The points (u, v) that the pixels show, each [B, S²], and normals [B, S², 3]."""
    yaw, pitch = (angle[:, None].astype(np.float32) for angle in pose.T)
    u, v = x, y
    for _ in range(_FIXED_POINT_STEPS):
        height = _sum_waves(waves, _waves(u)[0], _waves(v)[0])
        height += _nose(u, v) - _DOME * (u**2 + v**2)
        u = (x - height * np.sin(yaw)) / np.cos(yaw)
        v = (y - height * np.sin(pitch)) / np.cos(pitch)
    normal = np.stack([*_downhill(u, v, waves), np.ones_like(u)], axis=-1)
    return (u, v), normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def _downhill(
    u: np.ndarray, v: np.ndarray, waves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """−∂Z/∂u and −∂Z/∂v at (u, v), each [B, S²]."""
    (cos_u, sin_u), (cos_v, sin_v) = _waves(u), _waves(v)
    order = (np.arange(_ORDERS) * (np.pi / 2)).astype(np.float32)[:, None]
    nose = 2 * _nose(u, v)
    down_u = _sum_waves(waves, order * sin_u, cos_v)
    down_v = _sum_waves(waves, cos_u, order * sin_v)
    down_u += 2 * _DOME * u + (u - _NOSE_U) / _NOSE_WIDTH**2 * nose
    down_v += 2 * _DOME * v + (v - _NOSE_V) / _NOSE_HEIGHT**2 * nose
    return down_u, down_v


def _nose(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _NOSE * _bump(u, v, _NOSE_U, _NOSE_V, _NOSE_WIDTH, _NOSE_HEIGHT)


def _tone(surface: tuple[np.ndarray, np.ndarray], waves: np.ndarray) -> np.ndarray:
    """T at the points of the surface, [B, S²]."""
    u, v = surface
    tone = _SKIN + _sum_waves(waves, _waves(u)[0], _waves(v)[0])
    for *place, part in _PARTS:
        tone += part * _bump(u, v, *place)
    return np.maximum(tone, 0.02)


def _bump(
    u: np.ndarray,
    v: np.ndarray,
    center_u: float,
    center_v: float,
    width: float,
    height: float,
) -> np.ndarray:
    return np.exp(-(((u - center_u) / width) ** 2) - ((v - center_v) / height) ** 2)


def _sum_waves(waves: np.ndarray, along: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Σ_kl c_kl φ_k(u) φ_l(v): [B, K, K] and two of [B, K, S²] give [B, S²]."""
    return ((waves.transpose(0, 2, 1) @ along) * down).sum(axis=1)


def _waves(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """φ_k(u) and its sine, k < K, each [B, K, S²], by the recurrence of the cosine."""
    # Beyond the frontal plane the head goes on as it is at its edge.
    angle = (np.pi / 2) * (np.clip(u, -1, 1) + 1)
    cosine = np.empty((len(u), _ORDERS, u.shape[1]), np.float32)
    sine = np.empty_like(cosine)
    cosine[:, 0], sine[:, 0] = 1, 0
    cosine[:, 1], sine[:, 1] = np.cos(angle), np.sin(angle)
    twice = 2 * cosine[:, 1]
    for k in range(2, _ORDERS):
        for wave in (cosine, sine):
            wave[:, k] = twice * wave[:, k - 1] - wave[:, k - 2]
    return cosine, sine


def _check(
    num_identities: int, min_images: int, max_images: int, size: int, seed: int
) -> None:
    for name, count, least in (
        ("num_identities", num_identities, 2),
        ("min_images", min_images, 1),
        ("max_images", max_images, min_images),
        ("size", size, 8),
        ("seed", seed, 0),
    ):
        if not isinstance(count, int | np.integer) or count < least:
            raise ValueError(
                f"{name} is {count!r}: give a whole number of at least {least}"
            )
