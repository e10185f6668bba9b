"""What a batch of scored pairs costs, for learning the parameters of `aggregate`.

With s the cosine of a pair, g over genuine and n over impostor pairs:

    logistic     mean_g log(1 + e^{−a(s_g−b)}) / 2 + mean_n log(1 + e^{a(s_n−b)}) / 2
    contrastive  mean_g d_g² / 2 + mean_n max(m − d_n, 0)² / 2,   d = ‖F_i − F_j‖
    partial_auc  mean_{g, n ∈ band} σ(c (u_n − u_g)),   u = −log(1 + ε − s)

"logistic" learns the scale a > 0 and the center b. "contrastive" is that of Hadsell et
al. 2006, with margin m = 1. "partial_auc" is 1 − TPR, smoothed, in the mean over the
FPRs of a band: the impostor pairs are ranked by score and those in a band of ranks are
compared with every genuine pair (after Narasimhan and Agarwal 2013). An aggregation
gathers the hard cosines, of either kind, near 1, where a fixed difference of cosines
means less and less: u keeps their order and spreads them by the logarithm of half the
squared distance.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import numerics

Loss = Literal["logistic", "partial_auc", "contrastive"]
LOSSES: tuple[Loss, ...] = get_args(Loss)

# m, a distance of unit rows.
_MARGIN = 1.0
# Steepness c of the comparison: distances that differ by 22 % are a factor e² in odds.
_STEEPNESS = 5.0
# Rows nearer than an angle of 2.6° count as one point: below are rounding and copies.
_EPSILON = 1e-3
# Ranks at which the band is read: they are neighbours of each other's score.
_NUM_RANKS = 64


def logistic(
    genuine: jax.Array, impostor: jax.Array, *, scale: jax.Array, center: jax.Array
) -> jax.Array:
    """Evaluates the [] loss on cosines [G] and [M]; both kinds weigh the same."""
    rejects = jax.nn.softplus(-scale * (genuine - center))
    accepts = jax.nn.softplus(scale * (impostor - center))
    return (jnp.mean(rejects) + jnp.mean(accepts)) / 2


def contrastive(genuine: jax.Array, impostor: jax.Array) -> jax.Array:
    """Evaluates the [] loss on cosines of unit rows, genuine [G] and impostor [M]."""
    apart = numerics.safe_sqrt(2 * (1 - impostor))
    overlap = jnp.maximum(_MARGIN - apart, 0)
    return jnp.mean(1 - genuine) + jnp.mean(jnp.square(overlap)) / 2


def partial_auc(
    genuine: jax.Array, impostor: jax.Array, *, band: tuple[float, float]
) -> jax.Array:
    """Evaluates the [] loss, 1 − the smoothed mean TPR over a band of FPRs.

    Takes cosines [G] and [M]. The band is shares 0 <= low < high <= 1 of the impostor
    pairs between which a rank counts, evenly spaced from 0 on; from later on by the
    logarithm of the FPR, as ROC curves are drawn, so that no end outweighs the other.
    """
    # At least one rank, however few the pairs.
    low = min(round(band[0] * len(impostor)), len(impostor) - 1)
    high = min(max(low + 1, round(band[1] * len(impostor))), len(impostor))
    count = min(_NUM_RANKS, high - low)
    ordered, _ = jax.lax.top_k(_spread(impostor), high)
    spaced = np.geomspace if low else np.linspace
    hard = ordered[spaced(low, high - 1, count).round().astype(int)]
    return jnp.mean(
        jax.nn.sigmoid(_STEEPNESS * (hard[:, None] - _spread(genuine)[None, :]))
    )


def _spread(scores: jax.Array) -> jax.Array:
    """Evaluates u; rounding may carry a cosine over 1."""
    return -jnp.log(_EPSILON + jnp.maximum(1 - scores, 0))
