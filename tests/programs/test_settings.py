"""A flag goes over the file, the file over what the pool chooses."""

import json
import math

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, selection
from gfa_jax.programs import flags, settings
from tests.programs.programs import refuse, succeed

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


def test_the_paper_has_its_form_and_the_cosine_of_one_half(neighbors, found):
    chosen = parse("--preset=paper").resolve(neighbors, lambda: found)
    assert chosen.options == gfa.PAPER
    assert chosen.params.threshold == found.evidence.half_cosine
    assert chosen.weights is None
    nowhere = found._replace(evidence=found.evidence._replace(half_cosine=math.nan))
    chosen = parse("--preset=paper").resolve(neighbors, lambda: nowhere)
    assert chosen.params.threshold == 1.0


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
        ("{", "params.json:1: no JSON"),
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
    path.write_text(stored)
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse(f"--params={path}")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read --params"):
        parse(f"--params={tmp_path}/none.json")


def degenerate(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    match kind:
        case "two rows":
            return rng.standard_normal((2, 8))
        case "three rows":
            return rng.standard_normal((3, 8))
        case "all alike":
            return np.ones((40, 8))
        case "one-hot":
            return np.eye(70)
        case "noise":
            return rng.standard_normal((64, 16))
        case "two columns":
            return rng.standard_normal((90, 2))
    raise AssertionError(kind)


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize(
    "kind", ["two rows", "three rows", "all alike", "one-hot", "noise", "two columns"]
)
def test_every_finite_pool_gives_a_result(tmp_path, kind, preset):
    rows = degenerate(kind)
    np.save(tmp_path / "x.npy", rows)
    flags = (f"--features={tmp_path}/x.npy", f"--output_dir={tmp_path}/out")
    said = succeed("refine", *flags, "--noplots", f"--preset={preset}").stdout
    assert said.startswith(f"pool: {len(rows):,} rows of {rows.shape[1]} values")
    refined = np.load(tmp_path / "out" / "refined.npy")
    np.testing.assert_allclose(np.linalg.norm(refined, axis=1), 1, atol=1e-5)


def test_one_row_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 8)))
    refuse(tmp_path, "got 1 rows, expected at least 2", f"--features={tmp_path}/x.npy")
