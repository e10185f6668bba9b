"""A flag goes over the file, the file over what the pool chooses."""

import json
import math

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, selection
from gfa_jax.programs import flags, settings
from tests.programs.programs import succeed

FEATURES = datasets.synthetic_features(num_rows=500, dim=32, seed=1).features


@pytest.fixture(scope="module")
def neighbors():
    return gfa.exact_neighbors(FEATURES, k=selection.WIDTH)


@pytest.fixture(scope="module")
def found(neighbors):
    return selection.choose_settings(FEATURES, neighbors)


def parse(*arguments: str) -> gfa.refinement.Request:
    """Reads the settings of a command line."""
    flags.parse(settings, ["program", *arguments])
    return settings.read()


def unasked():
    raise AssertionError("the pool was asked")


def test_the_pool_chooses_what_is_not_given(neighbors, found):
    request = parse()
    assert request.threshold is None
    assert request.width(1000) == selection.WIDTH
    assert request.width(20) == 19
    chosen = request.resolve(neighbors, lambda: found)
    assert chosen.k == found.k + 1
    assert (chosen.num_steps, chosen.params.gamma) == (found.num_steps, found.gamma)
    np.testing.assert_array_equal(chosen.weights, found.weights)
    np.testing.assert_array_equal(chosen.dropped, found.dropped)
    assert settings.as_report(chosen)["reason"] == found.evidence.text


def test_a_flag_wins_over_what_the_pool_chooses(neighbors, found):
    request = parse("--gamma=0.25", "--num_steps=7", "--k=3")
    chosen = request.resolve(neighbors, lambda: found)
    assert (chosen.params.gamma, chosen.num_steps, chosen.k) == (0.25, 7, 3)
    np.testing.assert_array_equal(chosen.weights, found.weights[:, :3])
    assert chosen.neighbors.indices.shape == (500, 3)


def test_a_threshold_asks_nothing_of_the_pool(neighbors):
    chosen = parse("--threshold=0.55").resolve(neighbors, unasked)
    assert chosen.params == gfa.Params(0.5, 0.55)
    assert (chosen.k, chosen.num_steps, chosen.weights) == (15, 4, None)
    assert chosen.options.graph == "fixed"
    assert not chosen.dropped.any()
    # The usual K shrinks to a small pool.
    request = parse("--threshold=0.55")
    few = gfa.exact_neighbors(FEATURES[:8], k=request.width(8))
    assert request.resolve(few, unasked).k == 7


@pytest.mark.parametrize(("half", "threshold"), [(0.5, 0.5), (math.nan, 1.0)])
def test_the_paper_has_its_form_and_the_cosine_of_one_half(
    neighbors, found, half, threshold
):
    seen = found._replace(evidence=found.evidence._replace(half_cosine=half))
    chosen = parse("--preset=paper").resolve(neighbors, lambda: seen)
    assert (chosen.options, chosen.weights) == (gfa.PAPER, None)
    assert chosen.params.threshold == threshold


def test_a_flag_overrules_the_file_and_the_file_the_defaults(neighbors, tmp_path):
    path = tmp_path / "params.json"
    stored = {"gamma": 0.7, "threshold": 0.4, "k": 9, "graph": "rescore"}
    path.write_text(json.dumps(stored))
    chosen = parse(f"--params={path}", "--k=11").resolve(neighbors, unasked)
    assert (chosen.params.gamma, chosen.params.threshold) == (0.7, 0.4)
    assert chosen.k == 11
    assert chosen.options.graph == "rescore"
    assert chosen.options.weighting == "affinity"


def test_each_update_may_have_its_own(neighbors, tmp_path):
    path = tmp_path / "params.json"
    path.write_text('{"threshold": [0.4, 0.5], "gamma": [0.3, 0.2], "num_steps": 2}')
    chosen = parse(f"--params={path}").resolve(neighbors, unasked)
    np.testing.assert_array_equal(chosen.params.threshold, [0.4, 0.5])
    assert chosen.first_threshold == 0.4
    assert settings.as_report(chosen)["gamma"] == [0.3, 0.2]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ('{"threshold": null}', "a threshold among them"),
        ('{"threshold": [0.5, 2], "num_steps": 2}', "threshold is 2"),
        ('{"threshold": [0.5, 0.6]}', "expected a number, or 4 of them"),
        ('{"threshold": 0.5, "k": [3]}', "k is"),
        ("", "cannot read "),
        ("{", "params.json: no JSON"),
        ("[1]", "expected an object of settings"),
        ('{"gamma": 0.5}', "a threshold among them"),
        ('{"threshold": 0.5, "speed": 1}', "'speed' is no setting"),
        ('{"threshold": 0.5, "k": 1.5}', "k is 1.5"),
        ('{"threshold": 0.5, "gamma": 2}', "gamma is 2"),
        ('{"threshold": 0.5, "graph": "round"}', "graph is 'round'"),
        ('{"threshold": 0.5, "chosen_edges": "some"}', "chosen_edges is 'some'"),
        ('{"threshold": 0.5, "temperature": 0}', "temperature is 0"),
        ('{"threshold": "high"}', "threshold is 'high'"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, stored, message):
    path = tmp_path / "params.json"
    if stored:
        path.write_text(stored)
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse(f"--params={path}")


RANDOM = np.random.default_rng(0)
DEGENERATE = {
    "two rows": RANDOM.standard_normal((2, 8)),
    "three rows": RANDOM.standard_normal((3, 8)),
    "all alike": np.ones((40, 8)),
    "one-hot": np.eye(70),
    "noise": RANDOM.standard_normal((64, 16)),
    "two columns": RANDOM.standard_normal((90, 2)),
}


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_every_finite_pool_gives_a_result(tmp_path, kind, preset):
    rows = DEGENERATE[kind]
    np.save(tmp_path / "x.npy", rows)
    flags = (f"--features={tmp_path}/x.npy", f"--output_dir={tmp_path}/out")
    said = succeed("refine", *flags, "--noplots", f"--preset={preset}").stdout
    assert said.startswith(f"pool: {len(rows):,} rows of {rows.shape[1]} values")
    refined = np.load(tmp_path / "out" / "refined.npy")
    np.testing.assert_allclose(np.linalg.norm(refined, axis=1), 1, atol=1e-5)
