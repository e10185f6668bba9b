"""Eq. 5 on the candidates, and the two masks that turn cosines into edges.

A_ij = F_i · F_j is evaluated only for j among the K candidates of row i. An edge
survives by [A_ij > t] (the Iverson bracket of Eq. 6), or softly by
σ((A_ij − t) / τ), which tends to the bracket as τ → 0 and has a gradient in t. A
surviving edge counts fully ("uniform", Eq. 6 as printed) or by
max(A_ij, 0)^exponent ("affinity").
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from gfa_jax import numerics
from gfa_jax.types import Params

Mask = Literal["hard", "soft"]
Weighting = Literal["uniform", "affinity"]
MASKS: tuple[Mask, ...] = get_args(Mask)
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


class Edges(NamedTuple):
    """The surviving candidates.

    Attributes:
        mask: [..., K] floating, how far each candidate survives, in [0, 1]; None to
            be computed anew in each step, while the weights stay.
        weight: [..., K] floating, what it counts in the mean of Eq. 6, >= 0.
    """

    mask: jax.Array | None
    weight: jax.Array


def affinity(feature: jax.Array, neighborhood: jax.Array) -> jax.Array:
    """Evaluates Eq. 5, A_ij = F_i · F_j, for one row and its candidates.

    Args:
        feature: [..., D] floating row F_i.
        neighborhood: [..., K, D] floating rows F_j.

    Returns:
        [..., K] inner products: cosines where the rows have unit length.
    """
    return numerics.dot("...d,...kd->...k", feature, neighborhood)


def hard_mask(similarity: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """Evaluates the Iverson bracket [A > t] of Eq. 6, strictly as written.

    Args:
        similarity: [...] floating cosines.
        threshold: [] cosine t.

    Returns:
        [...] 0 or 1 in the dtype of `similarity`. Its gradient is zero.
    """
    return (similarity > threshold).astype(similarity.dtype)


def soft_mask(
    similarity: jax.Array,
    threshold: jax.Array | float,
    temperature: jax.Array | float,
) -> jax.Array:
    """Evaluates σ((A − t) / τ), a bracket with a slope.

    Args:
        similarity: [...] floating cosines.
        threshold: [] cosine t, where the mask is one half.
        temperature: [] width τ > 0 in units of cosine.

    Returns:
        [...] values in (0, 1).
    """
    return jax.nn.sigmoid((similarity - threshold) / temperature)


def affinity_power(similarity: jax.Array, exponent: jax.Array | float) -> jax.Array:
    """Evaluates max(A, 0)^exponent with finite gradients also at A <= 0."""
    positive = similarity > 0
    return jnp.where(positive, jnp.where(positive, similarity, 1) ** exponent, 0)


def score_edges(
    similarity: jax.Array,
    counted: jax.Array,
    params: Params,
    *,
    mask: Mask = "hard",
    weighting: Weighting = "affinity",
) -> Edges:
    """Turns cosines into edges: the bracket of Eq. 6 and the weight of each survivor.

    Args:
        similarity: [..., K] floating cosines of the candidates.
        counted: [..., K] bool, False for a slot that must not count: an empty one,
            or the row itself where it is not its own neighbour.
        params: threshold, temperature (soft) and exponent (affinity) are read.
        mask: "hard" for [A > t], "soft" for σ((A − t)/τ).
        weighting: "uniform" for 1, "affinity" for max(A, 0)^exponent.

    Returns:
        The mask and the weight of every slot; both are 0 where not counted.
    """
    if mask == "hard":
        survives = hard_mask(similarity, params.threshold)
    else:
        survives = soft_mask(similarity, params.threshold, params.temperature)
    survives = jnp.where(counted, survives, 0)
    if weighting == "uniform":
        return Edges(survives, survives)
    return Edges(survives, survives * affinity_power(similarity, params.exponent))
