"""`end_to_end` at a small size: the whole study, its parts, and bad input."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.end_to_end import encoders, turning
from tests.programs.programs import succeed

SMALL = (
    "--seeds=3",
    "--training_identities=12",
    "--choosing_identities=8",
    "--test_identities=8",
    "--views=6",
    "--steps=60",
    "--batch_identities=6",
    "--batch_views=4",
    "--k=4",
    "--updates=2",
    "--queue_size=12",
    "--fprs=1e-2,1e-1",
)


def test_a_study_measures_five_ways_to_features(tmp_path):
    printed = succeed("end_to_end", *SMALL, f"--output_dir={tmp_path}").stdout
    names = {"table.txt", "end_to_end.png", "report.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "end_to_end.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["alone", "after", "encoder", "chosen", "joint"]
    for row in rows.values():
        assert [point["fpr_target"] for point in row["points"]] == [1e-2, 1e-1]
        assert all(0 <= point["tpr"] <= 1 for point in row["points"])
        assert row["genuine_pairs"] == 8 * 15 and row["seed"] == 3
    assert rows["alone"]["params"] is None and rows["alone"]["num_steps"] == 0
    assert rows["after"]["params"]["threshold"] in (0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
    learnt = rows["joint"]["params"]
    # Where the layer starts; an optimizer that left it out would leave it there.
    assert all(abs(learnt[n] - v) > 1e-3 for n, v in (("gamma", 0.6), ("exponent", 3)))
    means = {(e["name"], e["fpr"]): e["mean"] for e in report["summary"]}
    assert means["joint", 1e-2] == rows["joint"]["points"][0]["tpr"]
    table = (tmp_path / "table.txt").read_text()
    assert table in printed and "training end to end, beyond that, gains" in table


def test_training_repeats_and_lowers_the_loss():
    parts = turning.generate(
        num_training=8, num_choosing=2, num_test=2, num_views=5, seed=0
    )
    recipe = encoders.Recipe(
        steps=50, batch_identities=8, batch_views=4, k=3, updates=1, embedding_dim=4
    )
    first, again = (
        encoders.fit(parts.training, recipe, has_layer=True, seed=0) for _ in range(2)
    )
    np.testing.assert_array_equal(first.losses, again.losses)
    assert first.losses[-10:].mean() < first.losses[:10].mean()


def test_the_loss_is_that_of_the_equation(rng):
    rows = rng.standard_normal((6, 3))
    labels = np.array([0, 1, 0, 2, 1, 2])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    weights = np.exp(5 * unit @ unit.T)
    np.fill_diagonal(weights, 0)
    shares = np.log(weights.sum(1, keepdims=True)) - 5 * unit @ unit.T
    same = (labels[:, None] == labels) & ~np.eye(6, dtype=bool)
    want = np.mean([row[mates].mean() for row, mates in zip(shares, same, strict=True)])
    got = encoders.contrastive_loss(jnp.asarray(rows), jnp.asarray(labels), scale=5.0)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_world_repeats_and_its_identities_are_told_apart_by_their_side():
    sizes = {"num_training": 3, "num_choosing": 2, "num_test": 4, "num_views": 5}
    parts, again = (turning.generate(**sizes, seed=1) for _ in range(2))
    np.testing.assert_array_equal(parts.test.inputs, again.test.inputs)
    assert [part.num_identities for part in parts] == [3, 2, 4]
    for part in parts:
        assert np.bincount(part.labels).tolist() == [5] * part.num_identities
    other = turning.generate(**sizes, seed=2)
    assert not np.array_equal(parts.test.inputs, other.test.inputs)


def test_a_batch_without_so_many_rows_is_refused():
    recipe = encoders.Recipe(batch_identities=6, batch_views=4, k=40, queue_size=12)
    with pytest.raises(ValueError, match="24 rows and a queue of 12"):
        encoders.check_batch(recipe, 12, 6)
    with pytest.raises(ValueError, match="--batch_identities=6; expected 2 to 5"):
        encoders.check_batch(recipe, 5, 6)
