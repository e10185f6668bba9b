"""The settings of the method: told by flags, read from a file, or asked of the pool.

A flag on the command line wins, then --params, then what the pool suggests without
labels (`gfa_jax.thresholds`) where no threshold was told, then the defaults of the
flags. Importing this module defines the flags.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import aggregation
from gfa_jax.affinity import MASKS, WEIGHTINGS
from gfa_jax.aggregation import GRAPHS
from gfa_jax.programs import flags
from gfa_jax.selection import outliers
from gfa_jax.selection.thresholds import SUGGESTING_WIDTH, Suggestion
from gfa_jax.types import check_params

FLAGS = flags.FLAGS

AUTO = "auto"

# "guarded" keeps the peaks of the paper's form over its whole grid of K and t, and
# falls nowhere under the raw features (README, Junk). At a lower t it is less safe.
PRESETS: dict[str, dict[str, Any]] = {
    **{name: dict(options) for name, options in aggregation.PRESETS.items()},
    "guarded": {
        "weighting": "affinity",
        "graph": "remask",
        "exponent": 0.7,
        "isolate_outliers": True,
    },
}

flags.DEFINE_enum(
    "preset",
    "safe",
    sorted(PRESETS),
    "safe: cubed affinities fixed at the first step; paper: its letter; guarded: for a "
    "threshold of .55 or more, affinities of the first step masked anew in each, "
    "outliers isolated.",
)
flags.DEFINE_string(
    "threshold",
    AUTO,
    "Cosine t an edge must exceed; auto: suggested by the pool without labels, and "
    "with it those of --k, --gamma and --num_steps that are not given.",
)
flags.DEFINE_integer(
    "k",
    15,
    "Neighbours a row, the row itself counted: 15 is itself and 14 others; not given, "
    "and with --threshold=auto, as suggested.",
)
flags.DEFINE_float("gamma", 0.5, "Step towards the pseudo-center.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=0)
flags.DEFINE_enum("mask", "hard", MASKS, "[A > t], or its sigmoid.")
flags.DEFINE_float("temperature", 0.05, "Width of the soft mask.")
flags.DEFINE_enum("weighting", None, WEIGHTINGS, "Weights; the preset's by default.")
flags.DEFINE_float("exponent", 3.0, "Power of the affinity weights.")
flags.DEFINE_enum("graph", None, GRAPHS, "Graph; the preset's by default.")
flags.DEFINE_bool("include_self", True, "Whether a row is its own neighbour.")
flags.DEFINE_bool(
    "isolate_outliers",
    None,
    "Leave rows that are near nobody where they are; by default with --threshold=auto.",
)
flags.DEFINE_bool("renormalize", True, "Whether each step ends on unit rows.")
flags.DEFINE_string(
    "params", None, "Settings from a file, params.json of `tune`; flags overrule it."
)

_PARAMS = gfa.Params._fields
_OPTIONS = (
    "num_steps",
    "mask",
    "weighting",
    "graph",
    "include_self",
    "renormalize",
)
NAMES = (*_PARAMS, "k", *_OPTIONS, "isolate_outliers")
_SUGGESTED = ("threshold", "k", "gamma", "num_steps")


class Settings(NamedTuple):
    """What one run of the method is made with.

    Attributes:
        params: of `gfa_jax.aggregate`.
        k: K, the row itself counted.
        options: keyword options of `gfa_jax.aggregate`, num_steps among them.
        isolates: whether outliers are isolated.
        suggestion: what the pool suggests for what was not told; None where all was.
    """

    params: gfa.Params
    k: int
    options: dict[str, Any]
    isolates: bool
    suggestion: Suggestion | None

    @property
    def first_threshold(self) -> float:
        """The threshold of the first update, which tells outliers and hubs."""
        return float(np.ravel(self.params.threshold)[0])

    def as_report(self) -> dict[str, Any]:
        """Lays the settings out by name, for report.json."""
        params = {k: np.asarray(v).tolist() for k, v in self.params._asdict().items()}
        return (
            params
            | {"k": self.k}
            | self.options
            | {
                "isolate_outliers": self.isolates,
                "reason": self.suggestion.text if self.suggestion else "as told",
            }
        )


class Request(NamedTuple):
    """Settings as told, before the pool is known.

    Attributes:
        values: by name; those in `asked` are defaults.
        asked: names of those that the pool suggests.
    """

    values: dict[str, Any]
    asked: tuple[str, ...]

    @property
    def threshold(self) -> float | None:
        """The threshold told; None where the pool is asked for it."""
        return None if self.asked else self.values["threshold"]

    def width(self, num_rows: int) -> int:
        """Returns how many candidates to search: K, or what tells K or outliers."""
        needed = [0]
        if "k" in self.asked:
            needed.append(SUGGESTING_WIDTH)
        if self.values["isolate_outliers"]:
            needed.append(outliers.DEFAULT_RANK + 1)
        return max(self.values["k"], min(max(needed), num_rows - 1))

    def settle(self, suggest: Callable[..., Suggestion] | None = None) -> Settings:
        """Asks the pool for what was not told.

        Args:
            suggest: `gfa_jax.thresholds.suggest` of the pool; takes its options
                weighting, graph and include_self. Needed where anything is asked.

        Returns:
            Settings.

        Raises:
            ValueError: as `suggest`.
        """
        values, found = dict(self.values), None
        if self.asked:
            assert suggest is not None
            names = ("weighting", "graph", "include_self")
            found = suggest(**{name: values[name] for name in names})
            suggested = {
                "threshold": found.params.threshold,
                "gamma": found.params.gamma,
                "k": found.k,
                "num_steps": found.num_steps,
            }
            values |= {name: suggested[name] for name in self.asked}
        return Settings(
            gfa.Params(*(values[name] for name in _PARAMS)),
            values["k"],
            {name: values[name] for name in _OPTIONS},
            values["isolate_outliers"],
            found,
        )


def read() -> Request:
    """Joins the flags, the file that --params names, and the preset.

    Raises:
        ValueError: a parameter out of its range, a file that cannot be used.
    """
    told = {
        name: getattr(FLAGS, name)
        for name in NAMES
        if not FLAGS[name].using_default_value
    }
    filed = {} if FLAGS.params is None else _read_file(FLAGS.params)
    preset = PRESETS[FLAGS.preset]
    if not FLAGS["preset"].using_default_value:
        filed |= preset
    defaults = {name: getattr(FLAGS, name) for name in NAMES} | preset
    values, known = defaults | filed | told, filed | told
    asked = ()
    if isinstance(values["threshold"], str) and values["threshold"] == AUTO:
        asked = tuple(n for n in _SUGGESTED if n == "threshold" or n not in known)
        values["threshold"] = 0.0  # until it is suggested
    if isinstance(values["threshold"], str):
        values["threshold"] = _threshold("--threshold", values["threshold"])
    params = gfa.Params(*(values[name] for name in _PARAMS))
    check_params(params, num_steps=values["num_steps"])
    if values["isolate_outliers"] is None:
        values["isolate_outliers"] = bool(asked)
    return Request(values, asked)


def _threshold(name: str, text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} is {text}; expected a cosine in [-1, 1], or {AUTO}"
        ) from None


def _read_file(path: str) -> dict[str, Any]:
    """Reads settings by name; every one must be known and of its kind."""
    try:
        stored = json.loads(pathlib.Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read --params={path}: {error}") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: no JSON ({error.msg}); expected params.json, as "
            "gfa tune writes it"
        ) from error
    if not isinstance(stored, dict) or "threshold" not in stored:
        raise ValueError(
            f"{path}: expected an object of settings, a threshold among them, as "
            "gfa tune writes it"
        )
    # The settings of a report.json may be used again, and those learnt from frames.
    for about in ("reason", "power"):
        stored.pop(about, None)
    for name, value in stored.items():
        if name not in NAMES:
            raise ValueError(
                f"{path}: {name!r} is no setting; expected {', '.join(NAMES)}"
            )
        stored[name] = _check(path, name, value)
    return stored


def _check(path: str, name: str, value: Any) -> Any:
    """Refuses a value that the flag of its name would refuse.

    gamma and the threshold may be lists, a value for each update.
    """
    if isinstance(value, list) and value and name in ("gamma", "threshold"):
        return np.array([_check(path, name, each) for each in value])
    if name == "threshold":
        return _threshold(f"{path}: {name}", value)
    try:
        return FLAGS[name].parser.parse(str(value))
    except ValueError as error:
        raise ValueError(f"{path}: {name} is {value!r}: {error}") from error
