"""The settings of the method: given by flags, read from a file, or chosen by the pool.

A flag on the command line wins, then --params, then what the pool chooses without
labels (`gfa_jax.selection`) where no threshold is given, then fixed defaults.
Importing this module defines the flags.
"""

import json
import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import absl.flags
import numpy as np

import gfa_jax as gfa
from gfa_jax import selection
from gfa_jax.programs import flags
from gfa_jax.selection.expansion import EXPANSION_K, expansion_weights
from gfa_jax.types import GRAPHS, MASKS, WEIGHTINGS, check_params

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
    "gamma",
    None,
    "Step towards the pseudo-center; .5 with --threshold.",
    0.0,
    1.0,
)
flags.DEFINE_integer(
    "num_steps", None, "Number T of updates; 4 with --threshold.", lower_bound=0
)
flags.DEFINE_enum(
    "preset",
    "default",
    ["default", "paper"],
    "Weights that stay, or the paper's form. That is a hard mask and equal weights, "
    "computed anew in each update.",
)
flags.DEFINE_string("params", None, "Settings from a file, params.json of `tune`.")
_FORMS: dict[str, dict[str, Any]] = {
    name: {"weighting": options.weighting, "graph": options.graph}
    for name, options in {"default": gfa.Options(), "paper": gfa.PAPER}.items()
}
# What is used with a threshold, where nothing else is given.
_USUAL = {"k": 15, "gamma": 0.5, "num_steps": 4}
_PARAMS = gfa.Params._fields
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


class Settings(NamedTuple):
    """What one run of the method is made with.

    Attributes:
        k: K, the row itself counted.
        params: of `gfa_jax.aggregate`.
        num_steps: T.
        neighbors: [n, K] candidates of the rows of this process.
        weights: [n, K] float32 what each edge is worth; None where the options say.
        options: of `gfa_jax.Options`.
        dropped: [n] bool, rows that have no edge and keep their place.
        found: what the pool chose; None where a threshold was given.
    """

    k: int
    params: gfa.Params
    num_steps: int
    neighbors: gfa.Neighbors
    weights: np.ndarray | None
    options: dict[str, Any]
    dropped: np.ndarray
    found: selection.Settings | None = None

    @property
    def evidence(self) -> selection.Evidence | None:
        """What was seen of the pool where it was asked."""
        return None if self.found is None else self.found.evidence

    @property
    def first_threshold(self) -> float:
        """The threshold of the first update."""
        return float(np.ravel(self.params.threshold)[0])

    def as_report(self) -> dict[str, Any]:
        """Lays the settings out by name, for report.json."""
        stored = {"k": self.k, "num_steps": self.num_steps}
        params = {k: np.asarray(v).tolist() for k, v in self.params._asdict().items()}
        if self.weights is None:
            stored |= params | self.options
        else:
            stored |= {"gamma": params["gamma"], "threshold": None}
        if self.evidence is None:
            return stored | {"reason": "as given"}
        half = float(self.evidence.half_cosine)
        return stored | {
            "half_cosine": None if math.isnan(half) else half,
            "edges_per_row": float(self.evidence.edges_per_row),
            "distrust": self.evidence.distrust,
            "reason": self.evidence.text,
        }


class Request(NamedTuple):
    """Settings as given, before the pool is known.

    Attributes:
        values: by name; None for what the pool chooses.
        is_paper: whether they are those of the paper as printed.
    """

    values: dict[str, Any]
    is_paper: bool

    @property
    def threshold(self) -> float | None:
        """The first threshold given; None where the pool chooses."""
        given = self.values["threshold"]
        return None if given is None else float(np.ravel(given)[0])

    def width(self, num_rows: int) -> int:
        """Returns how many candidates to search, the row itself counted."""
        k = self.values["k"]
        if k is not None:
            gfa.neighbors.check_k(k, num_rows)
        asks = self.threshold is None or self.values["chosen_edges"]
        usual = 1 if self.threshold is None else _USUAL["k"]
        return min(
            max(k or usual, selection.WIDTH if asks else EXPANSION_K), num_rows - 1
        )

    def resolve(
        self, neighbors: gfa.Neighbors, choose: Callable[[], selection.Settings]
    ) -> Settings:
        """Asks the pool for what was not given.

        `neighbors` are the [n, width] candidates, the row itself first, and `choose`
        gives `selection.choose_settings` of the pool.
        """
        values, found, weights = dict(self.values), None, None
        dropped = np.zeros(len(neighbors.indices), bool)
        if values["threshold"] is None:
            found = choose()
            half = found.evidence.half_cosine
            # Without edges that count more than not, the hard mask keeps none.
            values["threshold"] = 1.0 if math.isnan(half) else half
            if not self.is_paper:
                neighbors, dropped = found.neighbors, np.asarray(found.dropped)
                weights = np.asarray(found.weights)[:, : values["k"]]
            chosen = {"k": found.k + 1, "gamma": found.gamma}
            chosen["num_steps"] = found.num_steps
        else:
            chosen = _USUAL | {"k": min(_USUAL["k"], neighbors.indices.shape[1])}
            if values["chosen_edges"]:
                edges = choose()
                neighbors, dropped = edges.neighbors, np.asarray(edges.dropped)
        values |= {name: v for name, v in chosen.items() if values[name] is None}
        width = values["k"] if weights is None else weights.shape[1]
        return Settings(
            values["k"],
            gfa.Params(*(values[name] for name in _PARAMS)),
            values["num_steps"],
            gfa.Neighbors(*map(np.asarray, neighbors)).first(width),
            weights,
            {name: values[name] for name in _OPTIONS},
            dropped,
            found,
        )


def expansion(neighbors: gfa.Neighbors) -> Settings:
    """Returns the settings that make one update the one-line query expansion."""
    near, weights = expansion_weights(neighbors)
    none = np.zeros(len(weights), bool)
    return Settings(
        len(near.indices[0]), gfa.Params(1.0, 0.0), 1, near, weights, {}, none
    )


def read() -> Request:
    """Joins the flags, the file that --params names, and the preset; all checked."""
    values = dict.fromkeys(_GIVEN) | _FIXED
    given = {n: FLAGS[n].value for n in _GIVEN if FLAGS[n].value is not None}
    filed = {} if FLAGS.params is None else _read_file(FLAGS.params)
    form = _FORMS[FLAGS.preset]
    if not FLAGS["preset"].using_default_value:
        filed |= form
    values |= form | filed | given
    # What is not given is in its range.
    known: dict[str, Any] = _USUAL | {"threshold": 0.5}
    known |= {name: value for name, value in values.items() if value is not None}
    check_params(
        gfa.Params(*(known[name] for name in _PARAMS)), num_steps=known["num_steps"]
    )
    return Request(values, FLAGS.preset == "paper")


def _read_file(path: str) -> dict[str, Any]:
    """Reads settings by name; every one must be known and of its kind."""
    try:
        stored = json.loads(pathlib.Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: no JSON ({error.msg}); expected params.json, as "
            "gfa tune writes it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read --params={path}: {error}") from error
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
