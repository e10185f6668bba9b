"""Margin heads: the cosine to the own class must win by a margin.

With f_i and c_k of unit length, cos θ_ik = f_i · c_k, own class y_i,

    ArcFace   ψ(θ) = cos(θ + m)              where θ <= π − m
                     cos θ − m sin m         beyond
    CosFace   ψ(θ) = cos θ − m
    loss_i = −log( e^{s ψ(θ_iy)} / (e^{s ψ(θ_iy)} + Σ_{k≠y} e^{s cos θ_ik}) )
    loss   = Σ_i w_i v_{y_i} loss_i / Σ_i w_i v_{y_i}

Beyond π − m the angle sum would turn back and reward what is worse; the second line
goes on falling, at the price of a step down of 1 − cos m − m sin m there. That is
ArcFace without its "easy margin", which drops the margin wherever θ > π / 2.

Sources: Deng et al., ArcFace, CVPR 2019; Wang et al., CosFace, CVPR 2018; s = 64 and
m = .5 as in the paper's section 4.1.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from gfa_jax import numerics

Head = Literal["arcface", "cosface"]
HEADS: tuple[Head, ...] = get_args(Head)


def margin_logits(
    embeddings: jax.Array,
    centers: jax.Array,
    labels: jax.Array,
    *,
    head: Head,
    scale: float | jax.Array = 64.0,
    margin: float | jax.Array = 0.5,
    num_classes: int | jax.Array | None = None,
) -> jax.Array:
    """Evaluates s ψ(θ) for the own class and s cos θ for the others: [B, C] logits.

    Embeddings [B, D] and centers [C, D] have any length; m is radians in [0, π] for
    ArcFace, a cosine for CosFace. Where only the first `num_classes` classes exist, the
    logits of the others are −∞. Gradients are finite also at cos θ = ±1.
    """
    cosine = numerics.dot(
        "bd,cd->bc", numerics.normalize(embeddings), numerics.normalize(centers)
    )
    own = jnp.take_along_axis(cosine, labels[:, None], axis=1)
    classes = jnp.arange(centers.shape[0])[None, :]
    logits = scale * jnp.where(
        classes == labels[:, None], add_margin(own, head=head, margin=margin), cosine
    )
    if num_classes is None:
        return logits
    return jnp.where(classes < num_classes, logits, -jnp.inf)


def add_margin(
    cosine: jax.Array, *, head: Head, margin: float | jax.Array
) -> jax.Array:
    """Evaluates ψ of the module's equation, elementwise, for a head that is known.

    A rounding error of cos θ beyond ±1 is taken as ±1.
    """
    if head == "cosface":
        return cosine - jnp.asarray(margin, cosine.dtype)
    if head != "arcface":
        raise ValueError(f"head is {head!r}; expected one of {', '.join(HEADS)}")
    angle = jnp.asarray(margin, cosine.dtype)
    # d sin θ / d cos θ = −cot θ is infinite at the ends; there it counts as 0.
    sine = numerics.safe_sqrt(1 - cosine * cosine)
    turned = cosine * jnp.cos(angle) - sine * jnp.sin(angle)
    beyond = cosine - angle * jnp.sin(angle)
    return jnp.where(cosine >= -jnp.cos(angle), turned, beyond)


def margin_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    sample_weights: jax.Array | None = None,
    class_weights: jax.Array | None = None,
) -> jax.Array:
    """Averages the cross entropy of logits [B, C] and labels [B]; 0 without weight.

    A row weighs w_i >= 0, [B], times the v_k >= 0 of its class, [C]; 1 by default.
    """
    weights = jnp.ones(len(labels), logits.dtype)
    if sample_weights is not None:
        weights *= sample_weights.astype(logits.dtype)
    if class_weights is not None:
        weights *= class_weights.astype(logits.dtype)[labels]
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    losses = jax.nn.logsumexp(logits, axis=1) - own
    total = jnp.sum(weights)
    return numerics.safe_divide(
        jnp.sum(weights * losses), total, otherwise=jnp.zeros_like(total)
    )
