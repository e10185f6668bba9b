"""Generated heads: seeded, told apart by who they are, varied by pose, light, noise."""

from typing import Any

import numpy as np
import pytest

from experiments.training.synthetic_images import synthetic_images

EVEN: dict[str, Any] = dict.fromkeys(("max_yaw", "max_pitch", "max_light", "noise"), 0)
SMALL: dict[str, Any] = {
    "num_identities": 6,
    "min_images": 2,
    "max_images": 5,
    "size": 16,
}


def make(**options):
    return synthetic_images(**(SMALL | options))


def heads_only(images):
    """The middle of each image, where no background is."""
    return images[:, 4:-4, 4:-4].astype(np.float64)


def test_shapes_dtypes_and_counts():
    sample = make(seed=3)
    count = len(sample.labels)
    assert sample.images.shape == (count, 16, 16) and sample.images.dtype == np.uint8
    sizes = np.bincount(sample.labels)
    assert len(sizes) == 6 and sizes.min() >= 2 and sizes.max() <= 5
    assert sample.pose.shape == (count, 2) and sample.light.shape == (count, 3)
    assert np.abs(sample.pose).max(axis=0) == pytest.approx((0.5, 0.2), abs=0.2)
    assert np.linalg.norm(sample.light, axis=1).max() <= 0.8


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, again, other = make(seed=5), make(seed=5), make(seed=6)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert first.images[0].tobytes() != other.images[0].tobytes()


def test_without_pose_light_and_noise_an_identity_is_one_image():
    sample = make(seed=1, **EVEN)
    heads = heads_only(sample.images)
    for person in range(6):
        own = heads[sample.labels == person]
        np.testing.assert_array_equal(own, own[:1].repeat(len(own), axis=0))
    means = [heads[sample.labels == person][0] for person in range(6)]
    apart = [np.abs(a - b).mean() for a in means for b in means if a is not b]
    assert min(apart) > 8  # of 255 grey levels


@pytest.mark.parametrize(
    "option", [{"max_yaw": 0.7}, {"max_pitch": 0.3}, {"max_light": 0.9}, {"noise": 0.1}]
)
def test_each_nuisance_moves_the_images_of_an_identity(option):
    sample = make(seed=1, **(EVEN | option))
    heads = heads_only(sample.images)[sample.labels == sample.labels[0]]
    assert np.abs(heads[1:] - heads[0]).mean() > 3


def test_light_comes_from_where_the_lamp_is():
    sample = make(seed=2, num_identities=60, **(EVEN | {"max_light": 0.9}))
    heads = heads_only(sample.images)
    right_minus_left = heads[:, :, 4:].mean((1, 2)) - heads[:, :, :4].mean((1, 2))
    assert np.corrcoef(right_minus_left, sample.light[:, 0])[0, 1] > 0.7


def test_a_turned_head_moves_its_features():
    # A nose lies higher than the cheeks: its shadowless tone moves with sin(yaw).
    sample = make(seed=2, size=32, **(EVEN | {"max_yaw": 0.5}))
    front = make(seed=2, size=32, **EVEN)
    change = np.abs(heads_only(sample.images) - heads_only(front.images)).mean((1, 2))
    assert np.corrcoef(change, np.abs(sample.pose[:, 0]))[0, 1] > 0.7


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_identities": 1}, "num_identities is 1"),
        ({"min_images": 9}, "max_images is 5"),
        ({"size": 4}, "size is 4"),
        ({"seed": -1}, "seed is -1"),
        ({"max_light": np.nan}, "max_light is nan"),
        ({"noise": -0.1}, "noise is -0.1"),
    ],
)
def test_bad_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        make(**option)
