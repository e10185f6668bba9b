"""ArcFace and CosFace against their float64 formulas, at the ends of the range too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.training import heads
from tests.conftest import X64

# Arithmetic in float32: s times a few 2⁻²⁴, over the sine of the angle.
TOLERANCE = 64 * 2e-6


def formula(embeddings, centers, labels, *, head, scale, margin):
    """Logits and losses in float64."""
    f, c = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (embeddings.astype(np.float64), centers.astype(np.float64))
    )
    logits = f @ c.T
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    if head == "cosface":
        own = own - margin
    else:
        angle = np.arccos(np.clip(own, -1, 1))
        beyond = own - margin * np.sin(margin)
        own = np.where(angle <= np.pi - margin, np.cos(angle + margin), beyond)
    logits[rows, labels] = own
    logits *= scale
    top = logits.max(axis=1)
    losses = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return logits, losses - logits[rows, labels]


@pytest.fixture
def problem(rng):
    embeddings = 3 * rng.standard_normal((9, 8)).astype(np.float32)
    centers = 0.2 * rng.standard_normal((5, 8)).astype(np.float32)
    labels = rng.integers(5, size=9).astype(np.int32)
    # Some rows look away from their class, beyond π − m.
    embeddings[:3] = -centers[labels[:3]] + 0.02 * embeddings[:3]
    return embeddings, centers, labels


@pytest.mark.parametrize("head", heads.HEADS)
@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.5), (16.0, 0.2), (8.0, 0.0)])
def test_logits_and_loss_are_those_of_the_formula(problem, head, scale, margin):
    options = {"head": head, "scale": scale, "margin": margin}
    expected, losses = formula(*problem, **options)
    logits = heads.margin_logits(*map(jnp.asarray, problem), **options)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)
    loss = heads.margin_loss(logits, problem[2])
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)


@pytest.mark.skipif(not X64, reason="differences need float64")
@pytest.mark.parametrize("head", heads.HEADS)
def test_gradients_are_those_of_differences(problem, head):
    embeddings, centers, labels = problem
    wide = embeddings.astype(np.float64), centers.astype(np.float64)
    options = {"head": head, "scale": 16.0, "margin": 0.5}

    def loss(f, c):
        return heads.margin_loss(heads.margin_logits(f, c, labels, **options), labels)

    gradients = jax.grad(loss, argnums=(0, 1))(*wide)
    for which, gradient in enumerate(gradients):
        for place in ((0, 1), (4, 3)):
            values = []
            for step in (1e-6, -1e-6):
                moved = [array.copy() for array in wide]
                moved[which][place] += step
                values.append(formula(moved[0], moved[1], labels, **options)[1].mean())
            slope = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("head", heads.HEADS)
def test_gradients_are_finite_where_the_cosine_is_one_or_minus_one(head):
    centers = np.eye(4, dtype=np.float32)
    embeddings = np.concatenate([centers, -centers, np.zeros((1, 4), np.float32)])
    labels = jnp.array([0, 1, 2, 3, 0, 1, 2, 3, 0], jnp.int32)

    def loss(f, c):
        return heads.margin_loss(heads.margin_logits(f, c, labels, head=head), labels)

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(embeddings, centers)
    assert np.isfinite(value)
    for gradient in gradients:
        assert np.isfinite(gradient).all()
    slope = jax.vmap(jax.grad(lambda c: heads.add_margin(c, head=head, margin=0.5)))
    ends = np.array([-1, 1, 1 + 2**-23, np.nextafter(np.float32(1), 0)], np.float32)
    assert np.isfinite(slope(ends)).all()


@given(st.floats(0.0, 1.5), st.sampled_from(heads.HEADS))
def test_a_larger_angle_is_never_rewarded(margin, head):
    cosine = jnp.linspace(-1, 1, 2001, dtype=jnp.float32)
    marginal = np.asarray(heads.add_margin(cosine, head=head, margin=margin))
    # Rounding of the sine where it is all but 0.
    assert np.diff(marginal).min() >= -1e-6
    assert (marginal <= cosine + 1e-6).all()


def test_weights_of_samples_and_classes(problem, rng):
    labels = problem[2]
    sample_weights = rng.random(9).astype(np.float32)
    sample_weights[2] = 0
    class_weights = rng.random(5).astype(np.float32)
    _, losses = formula(*problem, head="arcface", scale=8.0, margin=0.5)
    logits = heads.margin_logits(*map(jnp.asarray, problem), head="arcface", scale=8.0)
    weights = (sample_weights * class_weights[labels]).astype(np.float64)
    loss = heads.margin_loss(
        logits, labels, sample_weights=sample_weights, class_weights=class_weights
    )
    np.testing.assert_allclose(
        loss, (weights * losses).sum() / weights.sum(), rtol=1e-5
    )
    sample_weights[:] = 0
    nothing, slope = jax.value_and_grad(heads.margin_loss)(
        logits, labels, sample_weights=sample_weights
    )
    assert nothing == 0 and not np.asarray(slope).any()


def test_padded_classes_do_not_exist(problem):
    embeddings, centers, labels = problem
    padded = np.concatenate([centers, centers[:3]])

    def loss(c, num_classes):
        logits = heads.margin_logits(
            embeddings, c, labels, head="arcface", num_classes=num_classes
        )
        return heads.margin_loss(logits, labels)

    value, gradient = jax.value_and_grad(loss)(padded, 5)
    expected, own = jax.value_and_grad(loss)(centers, None)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[:5], own, rtol=1e-4, atol=1e-5)
    assert not np.asarray(gradient[5:]).any()


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="expected one of arcface, cosface"):
        heads.add_margin(jnp.zeros(1), head="softmax", margin=0.5)  # pyright: ignore[reportArgumentType]
