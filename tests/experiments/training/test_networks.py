"""Each network: shape, dtype, gradients, batch statistics; and random views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.training import augmentation, networks
from experiments.training.networks import nnx

BATCH = (6, 13, 13)  # an odd side: halved upwards, stage by stage


@pytest.fixture
def images(rng):
    return rng.integers(256, size=BATCH).astype(np.uint8)


def build(name):
    return networks.build(
        name, image_size=13, widths=(4, 8), depth=1, embedding_dim=5, seed=0
    )


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_every_weight_takes_part_in_float32(name, images):
    graph, params, statistics = nnx.split(build(name), nnx.Param, nnx.BatchStat)

    @jax.jit
    def loss(params):
        network = nnx.merge(graph, params, statistics, copy=True)
        features = network(images, train=True)
        return jnp.sum(jnp.sin(features)), (features, nnx.state(network, nnx.BatchStat))

    (value, (features, after)), gradient = jax.value_and_grad(loss, has_aux=True)(
        params
    )
    assert features.shape == (6, 5)
    assert {leaf.dtype for leaf in jax.tree.leaves((value, features, gradient))} == {
        jnp.dtype("float32")
    }
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.asarray(leaf).any(), path
    for old, new in zip(
        jax.tree.leaves(statistics), jax.tree.leaves(after), strict=True
    ):
        assert not np.array_equal(old, new)


def test_features_of_an_image_do_not_depend_on_the_batch_after_training(images):
    network = build("residual")
    network(images, train=True)
    together = network(images, train=False)
    alone = network(images[2:3], train=False)
    # Convolutions of another batch size may sum in another order.
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [("vgg", {}), ("residual", {"depth": 0}), ("efficient", {"widths": ()})],
)
def test_bad_options_are_refused(name, options):
    with pytest.raises(ValueError, match=r"expected one of|at least 1"):
        networks.build(name, **({"image_size": 8, "seed": 0} | options))


def test_views_are_mirrored_shifted_and_lit_by_the_key(images):
    key = jax.random.key(3)
    view = augmentation.augment(key, images, max_shift=2, brightness=0.2)
    assert view.shape == BATCH and view.dtype == jnp.float32
    np.testing.assert_array_equal(
        view, augmentation.augment(key, images, max_shift=2, brightness=0.2)
    )
    plain = augmentation.augment(key, images, flip=False, max_shift=0, brightness=0.0)
    np.testing.assert_array_equal(plain, images)
    mirrored = augmentation.augment(key, images, max_shift=0, brightness=0.0)
    choices = [
        np.array_equal(new, old[:, ::-1])
        for new, old in zip(mirrored, images, strict=True)
    ]
    assert any(choices) and not all(choices)
    moved = augmentation.augment(key, images, flip=False, max_shift=2, brightness=0.0)
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2)], mode="edge")
    for number, new in enumerate(moved):
        assert any(
            np.array_equal(new, padded[number, i : i + 13, j : j + 13])
            for i in range(5)
            for j in range(5)
        )
    lit = augmentation.augment(key, images, flip=False, max_shift=0, brightness=0.2)
    for new, old in zip(np.asarray(lit, np.float64), images, strict=True):
        gain, offset = np.polyfit(old.ravel().astype(np.float64), new.ravel(), 1)
        assert abs(gain - 1) <= 0.2 + 1e-5 and abs(offset) <= 51.01
