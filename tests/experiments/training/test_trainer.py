"""Training: learns, is seeded, and a kill or another configuration changes nothing."""

import pathlib

import jax
import numpy as np
import pytest

from experiments.training import recipes, trainer
from experiments.training.synthetic_images import synthetic_images

RECIPE = recipes.Recipe(widths=(4, 8), embedding_dim=8, batch_size=16)
STEPS = 12


@pytest.fixture(scope="module")
def data():
    sample = synthetic_images(
        num_identities=6, min_images=5, max_images=8, size=12, seed=1
    )
    weights = np.linspace(0.5, 1, len(sample.labels))
    return trainer.TrainingSet(sample.images, sample.labels, weights, 6)


def fit(data, folder, **options):
    given = {"num_steps": STEPS, "seed": 3, "folder": folder, "checkpoint_every": 5}
    recipe = options.pop("recipe", RECIPE)
    return trainer.fit(data, recipe, **(given | options))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing stopped."""
    return fit(data, tmp_path_factory.mktemp("whole"))


def assert_same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        # The same program on the same device; a reduction may be split otherwise.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def stop_after(count):
    """A progress bar that is interrupted as the process is by Ctrl-C."""

    def progress(iterable, *, total, desc):
        for number, item in enumerate(iterable):
            if number == count:
                raise KeyboardInterrupt
            yield item

    return progress


@pytest.mark.parametrize("count", [3, 11])
def test_an_interrupted_run_ends_in_the_same_weights(data, whole, tmp_path, count):
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", progress=stop_after(count))
    totals = []

    def progress(iterable, *, total, desc):
        totals.append(total)
        return iterable

    for _ in range(2):
        assert_same(fit(data, tmp_path / "run", progress=progress), whole)
        # From the last checkpoint, not from 0; once it is finished nothing is done.
        assert totals == [STEPS - count // 5 * 5]


def test_half_a_checkpoint_is_not_read(data, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path, progress=stop_after(7))
    # What a kill in the middle of a write leaves behind.
    torn = tmp_path / "10.orbax-checkpoint-tmp"
    (torn / "state").mkdir(parents=True)
    (torn / "state" / "manifest.ocdbt").write_bytes(b"torn")
    assert_same(fit(data, tmp_path), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        (
            {"recipe": RECIPE._replace(widths=(4, 9))},
            r"widths is \[4, 8\] there and \[4, 9\] here",
        ),
        ({"configuration": {"set": "b"}}, "set is 'a' there and 'b' here"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(
    data, tmp_path, options, message
):
    given = {"num_steps": STEPS, "configuration": {"set": "a"}}
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path, progress=stop_after(6), **given)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        fit(data, tmp_path, **(given | options))
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_other_data_and_other_starts_are_refused(data, whole, tmp_path):
    fit(data, tmp_path, num_steps=1)
    other = data._replace(labels=data.labels[::-1])
    for arguments in ((other, {}), (data, {"start": whole})):
        with pytest.raises(ValueError, match=r"(data|start) is .* there and .* here"):
            fit(arguments[0], tmp_path, num_steps=1, **arguments[1])


def test_fine_tuning_starts_with_the_mean_features_of_the_classes(data, whole):
    _, state = trainer._first_state(data, RECIPE, seed=0, start=whole)
    features = trainer.embed(whole, data.images, RECIPE).astype(np.float64)
    for label in range(6):
        mean = features[data.labels == label].sum(axis=0)
        np.testing.assert_allclose(
            state.centers[label], mean / np.linalg.norm(mean), rtol=0, atol=1e-5
        )


def test_features_are_unit_rows_whatever_the_batch(data, whole):
    features = trainer.embed(whole, data.images, RECIPE)
    assert features.dtype == np.float32 and features.shape == (len(data.images), 8)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        trainer.embed(whole, data.images[4:7], RECIPE), features[4:7], atol=1e-5
    )


def test_it_learns_who_is_who(data, tmp_path):
    recipe = RECIPE._replace(max_shift=0, brightness=0.0, balance=True)
    model = fit(data, tmp_path, num_steps=150, recipe=recipe, checkpoint_every=150)
    features = trainer.embed(model, data.images, recipe)
    cosines = features @ features.T
    same = data.labels[:, None] == data.labels
    apart = cosines[~same].mean()
    together = (cosines.sum(where=same) - len(same)) / (same.sum() - len(same))
    assert together > 0.8 and apart < 0.2


def test_every_image_is_seen_once_an_epoch():
    draw = recipes.Batches(num_rows=10, batch_size=4, seed=5)
    rows = np.concatenate([draw(step) for step in range(5)])
    for epoch in (rows[:10], rows[10:]):
        assert sorted(epoch) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    np.testing.assert_array_equal(draw(1), rows[4:8])  # a function of the step alone


def test_the_rate_falls_by_steps_and_the_margin_rises():
    recipe = recipes.Recipe(
        learning_rate=0.1, warmup=0.1, decay_at=(0.5, 0.8), ripen=0.4, scale=64.0
    )
    at = [recipes.schedule(step, recipe, num_steps=100) for step in range(100)]
    expected = [0.01 * (n + 1) for n in range(10)] + 40 * [0.1] + 30 * [0.01]
    np.testing.assert_allclose([a.rate for a in at], expected + 20 * [0.001], rtol=1e-5)
    for entry, (first, last) in {"margin": (0, 0.5), "scale": (16, 64)}.items():
        values = [getattr(a, entry) for a in at]
        assert values[0] == first and set(values[40:]) == {last}
        np.testing.assert_allclose(values[20], (first + last) / 2)
    at_once = recipes.schedule(0, recipe._replace(ripen=0.0), num_steps=100)
    assert (at_once.scale, at_once.margin) == (64, 0.5)


def test_a_loss_that_is_not_finite_and_an_empty_set_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="smaller --learning_rate"):
        fit(data, tmp_path / "run", recipe=RECIPE._replace(learning_rate=1e30))
    empty = data._replace(images=data.images[:0], labels=data.labels[:0])
    with pytest.raises(ValueError, match="no images"):
        fit(empty, pathlib.Path(tmp_path) / "empty")
