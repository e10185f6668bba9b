"""Identities that look different from every side: what an example needs to learn.

An identity p is a vector u_p that is seen from everywhere, and J planes that turn with
the view v ∈ [−1, 1], plane j by ω_j v:

    x_i = W (u_p, Re z_ij, Im z_ij) + s B n_i + σ ε_i,      z_ij = z_pj exp(i ω_j v_i)
    ω_j evenly spaced;  u, z, n, ε standard normal

W (orthonormal columns) and B are the same for all identities. A slow plane can be
compared across all views, a fast one with views nearby only. An encoder whose features
are compared one with another must drop the fast planes; one whose features are
aggregated first may keep them, since views nearby are neighbours of each other, and are
a chain to those far away. The model is this project's.
"""

from typing import NamedTuple

import numpy as np

_STABLE, _PLANES, _DISTURBANCES = 4, 24, 16
_SLOWEST, _FASTEST = 0.5, 10.0
_DISTURBANCE, _NOISE = 2.0, 0.3
DIM = 64


class Views(NamedTuple):
    """Rows of some identities."""

    inputs: np.ndarray  # [N, 64] float32
    labels: np.ndarray  # [N] int32 identity, in [0, P), rows of one identity together

    @property
    def num_identities(self) -> int:
        """P."""
        return int(self.labels[-1]) + 1


class Parts(NamedTuple):
    """Disjoint identities of one world."""

    training: Views  # what encoders learn from
    choosing: Views  # what t and γ of the control are chosen on
    test: Views  # what is reported


def generate(
    *, num_training: int, num_choosing: int, num_test: int, num_views: int, seed: int
) -> Parts:
    """Makes a world and sees so many identities of it in each part."""
    rng = np.random.default_rng(seed)
    width = _STABLE + 2 * _PLANES
    mixing = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0][:, :width]
    spread = rng.standard_normal((DIM, _DISTURBANCES)) / _DISTURBANCES**0.5
    speed = np.linspace(_SLOWEST, _FASTEST, _PLANES)

    def see(people: int) -> Views:
        labels = np.repeat(np.arange(people, dtype=np.int32), num_views)
        stable = rng.standard_normal((people, _STABLE))
        planes = rng.standard_normal((people, _PLANES, 2)) @ (1, 1j)
        view = rng.uniform(-1, 1, (len(labels), 1))
        turned = planes[labels] * np.exp(1j * speed * view)
        clean = np.concatenate([stable[labels], turned.real, turned.imag], axis=1)
        disturbed = rng.standard_normal((len(labels), _DISTURBANCES)) @ spread.T
        noise = _NOISE * rng.standard_normal((len(labels), DIM))
        inputs = clean @ mixing.T + _DISTURBANCE * disturbed + noise
        return Views(inputs.astype(np.float32), labels)

    return Parts(see(num_training), see(num_choosing), see(num_test))
