"""The settings of the method: given by flags, read from a file, or chosen by the pool.

A flag on the command line wins, then --params, then what the pool chooses without
labels (`gfa_jax.selection`) where no threshold is given, then fixed defaults.
Importing this module defines the flags.
"""

import math
from typing import Any

import absl.flags
import numpy as np

import gfa_jax as gfa
from gfa_jax.datasets.arrays import read_json
from gfa_jax.programs import cli, flags
from gfa_jax.refinement import Request, Settings
from gfa_jax.selection.expansion import expansion_weights
from gfa_jax.types import GRAPHS, MASKS, WEIGHTINGS

FLAGS = flags.FLAGS

flags.DEFINE_float(
    "threshold",
    None,
    "Cosine t that an edge must exceed, else the pool chooses. Then it weighs each "
    "edge, and chooses of --k, --gamma and --num_steps what is not given.",
    -1.0,
    1.0,
)
flags.DEFINE_integer(
    "k",
    None,
    "Neighbours a row, the row itself counted; 15 with --threshold. That is the row "
    "and 14 others.",
    lower_bound=1,
)
flags.DEFINE_float(
    "gamma", None, "Step towards the pseudo-center; .5 with --threshold.", 0.0, 1.0
)
flags.DEFINE_integer(
    "num_steps", None, "Number T of updates; 4 with --threshold.", lower_bound=0
)
flags.DEFINE_integer(
    "num_candidates",
    None,
    "Candidates a row to search, the row itself counted; 57 where the pool chooses. "
    "Fewer take less time and space, and K is below it.",
    lower_bound=2,
)
flags.DEFINE_enum(
    "preset",
    None,
    ["default", "paper"],
    "Weights that stay, or the paper's form; default unless --params says. That is a "
    "hard mask and equal weights, computed anew in each update.",
)
flags.DEFINE_input("params", None, "Settings from a file, params.json of `tune`.")

_FORMS: dict[str, dict[str, Any]] = {
    name: {"weighting": options.weighting, "graph": options.graph}
    for name, options in {"default": gfa.Options(), "paper": gfa.PAPER}.items()
}
_OPTIONS = ("mask", "weighting", "graph")
_GIVEN = ("threshold", "k", "gamma", "num_steps")
# What only a file of settings gives.
_FILED = {
    "temperature": absl.flags.FloatParser(0.0),
    "exponent": absl.flags.FloatParser(0.0),
    "chosen_edges": absl.flags.BooleanParser(),
    "mask": absl.flags.EnumParser(MASKS),
    "weighting": absl.flags.EnumParser(WEIGHTINGS),
    "graph": absl.flags.EnumParser(GRAPHS),
}
_FIXED = gfa.Params._field_defaults | {"chosen_edges": False, "mask": "hard"}
NAMES = (*_GIVEN, *_FILED)
# What a report says beside its settings, and `tune` beside those learnt from frames.
_ABOUT = ("reason", "half_cosine", "edges_per_row", "distrust", "power")


def as_report(chosen: Settings) -> dict[str, Any]:
    """Lays settings out by name, for report.json."""
    stored = {"k": chosen.k, "num_steps": chosen.num_steps}
    params = {k: np.asarray(v).tolist() for k, v in chosen.params._asdict().items()}
    if chosen.weights is None:
        options = {name: getattr(chosen.options, name) for name in _OPTIONS}
        stored |= params | options
    else:
        stored |= {"gamma": params["gamma"], "threshold": None}
    if chosen.evidence is None:
        return stored | {"reason": "as given"}
    half = float(chosen.evidence.half_cosine)
    return stored | {
        "half_cosine": None if math.isnan(half) else half,
        "edges_per_row": float(chosen.evidence.edges_per_row),
        "distrust": chosen.evidence.distrust,
        "reason": chosen.evidence.text,
    }


def expansion(neighbors: gfa.Neighbors) -> Settings:
    """Returns the settings that make one update the one-line query expansion."""
    near, weights = expansion_weights(neighbors)
    none, k = np.zeros(len(weights), bool), weights.shape[1]
    return Settings(k, gfa.Params(1.0, 0.0), 1, near, weights, gfa.Options(), none)


def read() -> Request:
    """Joins the flags, the file that --params names, and the preset; all checked."""
    values: dict[str, Any] = dict.fromkeys(_GIVEN) | _FIXED
    given = {n: FLAGS[n].value for n in _GIVEN if FLAGS[n].value is not None}
    filed = {} if FLAGS.params is None else _read_file(FLAGS.params)
    form = _FORMS[FLAGS.preset or "default"]
    if FLAGS.preset is not None:
        filed |= form
    values |= form | filed | given
    form = gfa.Options(**{name: values.pop(name) for name in _OPTIONS})
    is_weighed = values["threshold"] is None and FLAGS.preset != "paper"
    request = Request(
        **values,
        num_candidates=FLAGS.num_candidates,
        options=None if is_weighed else form,
    )
    request.check()
    for flag, nothing in (("k", 1), ("num_steps", 0), ("gamma", 0)):
        if np.all(values[flag] == np.array(nothing)):
            cli.warn(f"{flag} = {nothing} moves no row: the result is the raw features")
    if request.threshold is not None and np.min(request.threshold) < 0:
        cli.warn("a negative threshold lets in rows that are less alike than chance")
    return request


def _read_file(path: str) -> dict[str, Any]:
    """Reads settings by name; every one must be known and of its kind."""
    stored = read_json(path, "params.json, as gfa tune writes it")
    if not isinstance(stored, dict) or stored.get("threshold") is None:
        raise ValueError(
            f"{path}: expected an object of settings, a threshold among them, as "
            "gfa tune writes it"
        )
    if unknown := stored.keys() - {*NAMES, *_ABOUT}:
        raise ValueError(
            f"{path}: {min(unknown)!r} is no setting; expected {', '.join(NAMES)}"
        )
    return {n: _check(path, n, stored[n]) for n in NAMES if n in stored}


def _check(path: str, name: str, value: Any) -> Any:
    """Refuses a value that the flag of its name would refuse.

    gamma and the threshold may be lists, a value for each update.
    """
    if isinstance(value, list) and value and name in ("gamma", "threshold"):
        return np.array([_check(path, name, each) for each in value])
    try:
        parser = _FILED[name] if name in _FILED else FLAGS[name].parser
        return parser.parse(str(value))
    except ValueError as error:
        raise ValueError(f"{path}: {name} is {value!r}: {error}") from error
