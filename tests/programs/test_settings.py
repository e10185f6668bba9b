"""A flag goes over the file, the file over the suggestion, that over the defaults."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.programs import flags, settings
from gfa_jax.selection import thresholds
from tests.programs.programs import refuse, succeed


@pytest.fixture
def parse():
    """Reads the settings of a command line."""

    def read(*arguments: str) -> settings.Request:
        flags.parse(settings, ["program", *arguments])
        return settings.read()

    return read


class Suggestion:
    """What `thresholds.suggest` would say of some pool."""

    params = gfa.Params(0.25, 0.41)
    k = 7
    num_steps = 3
    text = "since."


def test_defaults_are_those_of_the_flags(parse):
    assert set(parse().asked) == {"threshold", "k", "gamma", "num_steps"}
    chosen = parse("--threshold=0.55").settle()
    assert chosen.params == gfa.Params(0.5, 0.55)
    assert chosen.k == 15
    assert chosen.options["num_steps"] == 4
    assert chosen.options["graph"] == "fixed"
    assert chosen.suggestion is None
    assert not chosen.isolates


def test_a_flag_overrules_the_file_and_the_file_the_defaults(parse, tmp_path):
    path = tmp_path / "params.json"
    stored = {"gamma": 0.7, "threshold": 0.4, "k": 9, "graph": "rescore"}
    path.write_text(json.dumps(stored))
    chosen = parse(f"--params={path}", "--k=11").settle()
    assert (chosen.params.gamma, chosen.params.threshold) == (0.7, 0.4)
    assert chosen.k == 11
    assert chosen.options["graph"] == "rescore"
    assert chosen.options["weighting"] == "affinity"
    # A preset that is named is named for its graph.
    assert parse(f"--params={path}", "--preset=safe").values["graph"] == "fixed"


def test_the_guarded_preset_has_an_exponent_and_isolates(parse):
    chosen = parse("--preset=guarded", "--threshold=0.6").settle()
    assert chosen.params == gfa.Params(0.5, 0.6, exponent=0.7)
    assert chosen.options["graph"] == "remask"
    assert chosen.isolates
    chosen = parse(
        "--preset=guarded", "--threshold=0.6", "--exponent=2", "--noisolate_outliers"
    ).settle()
    assert (chosen.params.exponent, chosen.isolates) == (2.0, False)


def test_auto_asks_the_pool_for_what_is_not_told(parse):
    request = parse("--threshold=auto", "--gamma=0.9")
    assert set(request.asked) == {"threshold", "k", "num_steps"}
    assert request.threshold is None
    assert request.width(1000) == 50
    assert request.width(20) == 19
    options = {}

    def suggest(**given):
        options.update(given)
        return Suggestion

    chosen = request.settle(suggest)
    assert options == {
        "weighting": "affinity",
        "graph": "fixed",
        "include_self": True,
    }
    assert (chosen.params.gamma, chosen.params.threshold) == (0.9, 0.41)
    assert (chosen.k, chosen.options["num_steps"]) == (7, 3)
    assert chosen.as_report()["reason"] == "since."
    assert chosen.isolates
    values = parse("--threshold=auto", "--noisolate_outliers").values
    assert not values["isolate_outliers"]


def test_a_told_k_is_searched_no_wider_than_outliers_need(parse):
    request = parse("--threshold=auto", "--k=5", "--noisolate_outliers")
    assert request.width(1000) == 5
    request = parse("--threshold=auto", "--k=5")
    assert (request.width(1000), request.width(12)) == (15, 11)
    assert request.settle(lambda **_: Suggestion).k == 5


def test_each_update_may_have_its_own(parse, tmp_path):
    path = tmp_path / "params.json"
    path.write_text('{"threshold": [0.4, 0.5], "gamma": [0.3, 0.2], "num_steps": 2}')
    chosen = parse(f"--params={path}").settle()
    np.testing.assert_array_equal(chosen.params.threshold, [0.4, 0.5])
    assert chosen.first_threshold == 0.4
    assert chosen.as_report()["gamma"] == [0.3, 0.2]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ('{"threshold": null}', "threshold is None; expected a cosine"),
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
        ('{"threshold": "high"}', "threshold is high; expected a cosine"),
        ('{"threshold": 1.5}', "threshold is 1.5"),
    ],
)
def test_a_bad_file_is_refused(parse, tmp_path, stored, message):
    path = tmp_path / "params.json"
    path.write_text(stored)
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse(f"--params={path}")


def test_a_missing_file_is_refused(parse, tmp_path):
    with pytest.raises(ValueError, match="cannot read --params"):
        parse(f"--params={tmp_path}/none.json")


def test_refine_takes_suggested_and_stored_settings(tmp_path):
    features = datasets.synthetic_features(num_rows=500, dim=32, seed=1).features
    np.save(tmp_path / "features.npy", features)
    common = (f"--features={tmp_path}/features.npy",)
    succeed("refine", *common, "--threshold=auto", f"--output_dir={tmp_path}/asked")
    assert (tmp_path / "asked" / "settings.png").exists()
    asked = json.loads((tmp_path / "asked" / "report.json").read_text())["settings"]
    neighbors = gfa.exact_neighbors(features, k=50)
    found = thresholds.suggest(features, neighbors, seed=0)
    assert asked["threshold"] == pytest.approx(found.params.threshold, abs=1e-6)
    assert (asked["k"], asked["num_steps"]) == (found.k, found.num_steps)
    assert asked["reason"].startswith("t = ")
    assert asked["isolate_outliers"]

    path = tmp_path / "params.json"
    path.write_text(json.dumps(asked))
    succeed("refine", *common, f"--params={path}", f"--output_dir={tmp_path}/stored")
    first, second = (
        (tmp_path / name / "refined.npy").read_bytes() for name in ("asked", "stored")
    )
    assert first == second


def test_a_threshold_that_is_no_number_is_refused(tmp_path):
    refuse(tmp_path, "--threshold is high; expected a cosine", "--threshold=high")
