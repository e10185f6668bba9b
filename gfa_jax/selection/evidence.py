"""What an edge is worth, by what the pool itself shows; no label is seen.

Four kinds of evidence, each of which has failures of its own, are multiplied:

    w_ij = σ(z_ij − z₀) · max(a_ij, 0) · exp(−max(d_ij / √(d_i d_j) − 1, 0)) · √J_ij

- σ(z − z₀), the posterior that an edge is not chance: the local false discovery rate
  (Efron 2001) of a Gaussian null against edges whose density falls exponentially is a
  logistic function of z (metric.py). z₀ = 5 + ¼ ln(N / (400 K)) is where strangers and
  members of a group are equally many: a row has N / K strangers a member, and under a
  Gaussian tail a factor in that ratio moves the crossing by its logarithm over z ≈ 4.
- a_ij itself, the cosine in the pool's units.
- d_ij = 1 − a_ij in units of the rows' own scale, d_i the mean of the two nearest
  (local scaling: Zelnik-Manor and Perona 2004): where a row has near copies, rows of
  the same kind count little.
- J_ij, the neighbours that both share (shared.py).

A row counts itself by 1, so that a row without trusted neighbours stays nearly where
it is: step sizes need no rule of their own. The constants were chosen on the plateau
of all sets together (experiments/RESULTS.md shows each of them moved, and the choice
made without each network in turn).

Outliers lie among their like, as images in which no face was found. With b_i the
largest a_ij of a row, it is distant where b_i < .85 median b; a distant row of whose 14
nearest at least .8 are distant too is dropped: no edge leads to it or from it. A hard
image of a person is kept, since the person's other images around it are not distant.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfa_jax.types import Array

_SCALE_RANK = 2
_AROUND = 14
_OUTLIER_SHARE = 0.8


class Constants(NamedTuple):
    """What experiments/studies/evidence.py moves, and no program else."""

    posterior_center: float = 5.0  # z₀ of a pool with N / K = 400
    prior_slope: float = 0.25  # what z₀ rises with ln(N / K)
    excluded: float = 1.0  # times κ, the part of each member that is no stranger
    scale_power: float = 1.0  # multiplies d_ij beyond the rows' own scale
    shared_power: float = 0.5  # exponent of J_ij
    pool_share: float = 3.0  # the pool's mean closure beside a row's own, for K_i
    least_steps: int = 2  # T at K = 5
    distant: float = 0.85  # share of the median b under which a row is distant


CONSTANTS = Constants()
_STRANGERS_PER_MEMBER = 400  # of a pool of some thousand rows


class RowEvidence(NamedTuple):
    """What the edges of a row need to know of the rows they lead to, each [n]."""

    mean: Array  # μ_i of metric.py
    spread: Array  # s_i
    scale: Array  # d_i
    nearest: Array  # b_i


def local_scale(cosines: Array, is_other: Array) -> tuple[jax.Array, jax.Array]:
    """Reads d_i > 0 and b_i >= 0, [n], off the a_ij of the candidates, [n, W].

    A row without others has 1 and 0.
    """
    others = jnp.where(is_other, cosines, -jnp.inf)
    best = jax.lax.top_k(others, min(_SCALE_RANK, others.shape[1]))[0]
    best = jnp.where(jnp.isfinite(best), best, 0)
    scale = jnp.maximum(jnp.mean(1 - best, axis=1), 1e-3)
    return scale, jnp.maximum(best[:, 0], 0)


def find_dropped(indices: Array, is_other: Array, distant: Array, own: Array) -> Any:
    """Finds the distant rows among distant rows, [n] bool.

    Their candidates are [n, W], nearest first after the row itself; which rows are
    distant is [N], of all rows, and [n], of these. 14 n numbers and as many flags are
    read.
    """
    around, is_other = (x[:, 1 : 1 + _AROUND] for x in (indices, is_other))
    around_distant = (is_other & distant[around]).sum(axis=1)
    return own & (around_distant >= _OUTLIER_SHARE * is_other.sum(axis=1))


def posterior_center(num_rows: int, k: int, *, constants: Constants) -> float:
    """Evaluates z₀ of a pool of N rows in groups of K."""
    ratio = num_rows / k / _STRANGERS_PER_MEMBER
    return constants.posterior_center + constants.prior_slope * math.log(ratio)


def edge_weights(
    cosines: Array,
    shared: Array,
    is_other: Array,
    own: RowEvidence,
    theirs: RowEvidence,
    center: Array | float,
    *,
    constants: Constants,
) -> tuple[jax.Array, jax.Array]:
    """Evaluates w_ij in [0, 1], 0 where not an edge, and z_ij of metric.py: [n, W].

    Takes a_ij, J_ij and `is_other`, [n, W], what is known of the rows, [n, 1], and of
    their candidates, [n, W], and z₀.
    """
    z = jnp.minimum(
        (cosines - own.mean) / own.spread, (cosines - theirs.mean) / theirs.spread
    )
    posterior = jnp.where(is_other, jax.nn.sigmoid(z - center), 0)
    ratio = (1 - cosines) / jnp.sqrt(own.scale * theirs.scale)
    near = jnp.exp(-constants.scale_power * jnp.maximum(ratio - 1, 0))
    weights = posterior * jnp.maximum(cosines, 0) * near
    weights *= shared**constants.shared_power
    return weights, z
