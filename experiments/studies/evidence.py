"""What the default does to labelled sets, what its constants do, what labels would add.

    python -m experiments.evidence --sets=FOLDER_OR_FILES --output_dir=outputs/evidence

Each set is a .npz with `features` and `labels`; `camera`, `session` or `source` says
where a row is from, `is_query` and `is_gallery` which rows search and are searched.
Labels are for the figures alone but in `labels`. Tables, by --table:

    sets        TPR of the raw features, of a query expansion of one line, of the
                default, and of the default with one update
    constants   each constant of the default moved by itself; then for each network the
                best of these cells on all other networks, and how it does on its sets
    labels      on half of the identities of each set: an expansion and a mask learnt
                with the labels of the other half, beside the default, which sees none
    across      genuine pairs of two cameras, sessions or sources only; mAP and CMC by
                the rules of Market-1501

TPRs are over all pairs, at FPR 1e-5, 1e-4 and 1e-3; the last two are a set's cells. The
share of misses removed is (TPR − raw) / max(1 − raw, .01), and a cell counts as under
another by more than .005. It writes tables.md and report.json.
"""

import contextlib
import io
import itertools
import json
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, evaluation, flags, halves, inputs, outputs, tune
from gfa_jax.refinement import Request
from gfa_jax.refinement.pool import update_rows
from gfa_jax.selection import settings
from gfa_jax.selection.evidence import CONSTANTS, Constants
from gfa_jax.selection.expansion import expand

FLAGS = flags.FLAGS

flags.DEFINE_list("sets", None, "Files .npz with features and labels, or folders.")
flags.DEFINE_string("output_dir", "outputs/evidence", "Folder of the results.")
_TABLES = ["sets", "constants", "across", "labels"]
flags.DEFINE_multi_enum(
    "table", _TABLES, _TABLES, "Give it once for each; sets is always made."
)
flags.DEFINE_list(
    "max_images",
    ["lfw=50", "lfw_dlib=50"],
    "NAME=ROWS: of this set genuine pairs of identities with more rows are left out.",
)
flags.DEFINE_integer("tune_rows", 4000, "Most rows of a set that a mask is learnt for.")
flags.require("sets")

FPRS = (1e-5, 1e-4, 1e-3)
_SLACK = 0.005
TUNED = [*itertools.product((3, 5, 10, 20, 50), (1.0, 3.0, 9.0))]  # k, α
_SUMS = ("misses removed", "cells under raw", "under the better of both")
OUTPUTS = ("tables.md", "report.json")
# What the end of a name says of the network; other sets have one of their own.
_NETWORKS = {"cfp_dev": "MobileFaceNet", "lfw": "MobileFaceNet", "dlib": "dlib"}
_NETWORKS |= {"ecapa": "ECAPA", "resemblyzer": "GE2E", "minilm": "MiniLM"}
_NETWORKS |= {"efflite0": "EfficientNet", "osnet025": "OSNet"}
MOVED = {
    "posterior_center": (4.0, 6.0),
    "prior_slope": (0.0, 0.5),
    "excluded": (0.0,),
    "scale_power": (0.5, 1.5),
    "shared_power": (0.0, 1.0),
    "pool_share": (1.0, 6.0),
    "least_steps": (1,),
    "distant": (0.0, 0.9),
}


class Set(NamedTuple):
    """A labelled set, its network, and of each row where it is from and its roles."""

    network: str
    pool: inputs.Pool
    max_images: int | None
    origin: np.ndarray | None
    roles: tuple[np.ndarray, np.ndarray] | None  # is_query, is_gallery


class Result(NamedTuple):
    """A set, what the default chose, and features [N, D] and TPRs [3] by method."""

    given: Set
    chosen: settings.Settings
    features: dict[str, np.ndarray]
    tprs: dict[str, np.ndarray]


def main() -> None:
    """Measures every set, then lays out what was asked for."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    # Learning a mask makes FLAGS those of `tune`.
    wanted, tune_rows = set(FLAGS.table), FLAGS.tune_rows
    with stages("load"):
        sets = [read_set(path, FLAGS.max_images) for path in list_files(FLAGS.sets)]
        folder = outputs.prepare_folder(FLAGS.output_dir, OUTPUTS)
    cells = _cells() if "constants" in wanted else {}
    with stages("sets"):
        shown = cli.progress(sets, total=len(sets), desc="sets")
        results = [_measure_set(given, cells) for given in shown]
    tables = {"sets": _table_of_sets(results)}
    if cells:
        tables["constants"] = markdown(
            " | ".join(["constant", *_SUMS]),
            [
                [cell, *map(_figure, _sum_up(results, cell))]
                for cell in ("expansion", *cells, "T = 1")
            ],
        )
        tables["networks"] = _table_of_networks(results, list(cells))
    if "across" in wanted:
        tables["across"] = _table_across(results)
    if "labels" in wanted:
        with stages("labels"):
            shown = cli.progress(sets, total=len(sets), desc="labels")
            tables["labels"] = markdown(
                "set | rows | k, α | raw | expansion | default | tuned | mask",
                [_learn(given, tune_rows=tune_rows) for given in shown],
            )
    report = {
        "sets": {
            result.given.pool.name: {
                "settings": repr(result.chosen),
                "tpr": {name: v.tolist() for name, v in result.tprs.items()},
            }
            for result in results
        },
        "seconds": stages.seconds,
    }
    write_tables(folder, tables, report)


def write_tables(
    folder: pathlib.Path, tables: Mapping[str, str], report: Mapping[str, Any]
) -> None:
    """Prints the tables, and writes them beside what a program reads."""
    text = "\n\n".join(f"**{name}**\n\n{table}" for name, table in tables.items())
    with outputs.staged(folder, OUTPUTS) as hidden:
        datasets.write_text(hidden / "tables.md", text + "\n")
        outputs.write_report(hidden, report)
    print(text)


def _measure_set(given: Set, cells: Mapping[str, Constants]) -> Result:
    """Refines a set by the default, each cell and the expansion; one search for all."""
    rows = given.pool.features
    neighbors = gfa.exact_neighbors(rows, k=min(settings.WIDTH, len(rows) - 1))
    chosen = _choose(rows, neighbors)
    features = {
        "raw": rows,
        "expansion": np.asarray(expand(rows, neighbors)),
        "default": _refine(rows, chosen),
    }
    tprs = {name: _measure(array, given) for name, array in features.items()}
    tprs["T = 1"] = _measure(_refine(rows, chosen._replace(num_steps=1)), given)
    for name, constants in cells.items():
        moved = _choose(rows, neighbors, constants)
        tprs[name] = _measure(_refine(rows, moved), given)
    return Result(given, chosen, features, tprs)


def _learn(given: Set, *, tune_rows: int) -> list[str]:
    """Learns on half of the identities and shows the other half: one line."""
    pools = halves.split(given.pool, seed=0)
    k = min(51, *(len(pool.features) - 1 for pool in pools))
    near = [gfa.exact_neighbors(pool.features, k=k) for pool in pools]

    def expanded(half: int, k: int, alpha: float) -> np.ndarray:
        rows = expand(pools[half].features, near[half], k=k, exponent=alpha)
        return _measure(np.asarray(rows), given._replace(pool=pools[half]))

    best = max(TUNED, key=lambda cell: expanded(0, *cell)[1:].mean())
    rows, reported = pools[1].features, given._replace(pool=pools[1])
    default = _refine(rows, _choose(rows, near[1]))
    tprs = [_measure(rows, reported), expanded(1, 10, 3), _measure(default, reported)]
    line = [given.pool.name, f"{len(rows):,}", f"{best[0]}, {best[1]:g}"]
    line += map(_cell, [*tprs, expanded(1, *best)])
    if len(given.pool.features) > tune_rows:
        return [*line, ""]
    try:
        return [*line, _cell(_learn_mask(given, k=k))]
    except ValueError as error:  # one set is not to end the others
        cli.warn(f"{given.pool.name}: no mask is learnt: {error}")
        return [*line, "none"]


def _learn_mask(given: Set, *, k: int) -> np.ndarray:
    """Runs `gfa tune`, which makes the same halves: [3] TPRs of the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.save(folder / "rows.npy", given.pool.features)
        np.save(folder / "labels.npy", np.asarray(given.pool.labels))
        options = {"k": k, "seed": 0, "resamples": 0, "output_dir": folder / "out"}
        options |= {"features": folder / "rows.npy", "labels": folder / "labels.npy"}
        options |= {"fprs": ",".join(map(str, FPRS))}
        if given.max_images:
            options["max_images"] = given.max_images
        flags.parse(tune, ["tune", *(f"--{flag}={v}" for flag, v in options.items())])
        with contextlib.redirect_stdout(io.StringIO()):
            tune.main()
        report = json.loads((folder / "out" / "report.json").read_text())
    return np.array([p["tpr"] for p in report["verification"]["after"]["tpr_at_fpr"]])


def _choose(
    rows: np.ndarray, neighbors: gfa.Neighbors, constants: Constants = CONSTANTS
) -> settings.Settings:
    return settings.choose_settings(jnp.asarray(rows), neighbors, constants=constants)


def _refine(rows: np.ndarray, chosen: settings.Settings) -> np.ndarray:
    asked = Request().resolve(chosen.neighbors, lambda: chosen)
    return np.asarray(update_rows(jnp.asarray(rows), asked, progress=None).features)


def _measure(features: np.ndarray, given: Set, *, across: bool = False) -> np.ndarray:
    """Reads the TPRs [3]; `across` has genuine pairs of two origins only."""
    result = evaluation.measure_all_pairs(
        features,
        np.asarray(given.pool.labels),
        max_images=given.max_images,
        tail_size=int(FPRS[-1] * len(features) ** 2 / 2) + 1000,
    )
    points = metrics.tpr_at_fpr(result.roc, FPRS)
    if not across:
        return np.array([point.tpr for point in points])
    assert result.genuine is not None and given.origin is not None
    is_across = np.not_equal(*given.origin[result.genuine.rows].T)
    scores = result.genuine.scores[is_across]
    return np.array([np.mean(scores >= point.threshold) for point in points])


def _cells() -> dict[str, Constants]:
    """Lists the constants as they are, and each moved by itself."""
    cells = {"as they are": CONSTANTS}
    for name, values in MOVED.items():
        for value in values:
            title = f"{name} {getattr(CONSTANTS, name):g} → {value:g}"
            cells[title] = CONSTANTS._replace(**{name: value})
    return cells


def _sum_up(results: Sequence[Result], name: str) -> tuple[float, int, int]:
    """Returns the share removed, cells under raw, and under the better of both."""
    raw, expanded, ours = (
        np.array([result.tprs[method][1:] for result in results])
        for method in ("raw", "expansion", name)
    )
    share = np.mean((ours - raw) / np.maximum(1 - raw, 0.01))
    behind, best = (ours < raw - _SLACK), np.maximum(raw, expanded)
    return float(share), int(behind.sum()), int((ours < best - _SLACK).sum())


def _table_of_sets(results: Sequence[Result]) -> str:
    methods = ("raw", "expansion", "default", "T = 1")
    lines = []
    for given, chosen, _, tprs in results:
        about = (len(chosen.dropped), f"{chosen.k}, {chosen.num_steps}")
        about = given.pool.name, *map(str, about), str(chosen.dropped.sum())
        lines.append([*about, *(_cell(tprs[method]) for method in methods)])
    sums = zip(*(_sum_up(results, method) for method in methods), strict=True)
    for title, row in zip(_SUMS, sums, strict=True):
        lines.append([f"*{title}*", "", "", "", *map(_figure, row)])
    return markdown(" | ".join(["set", "rows", "K, T", "dropped", *methods]), lines)


def _table_of_networks(results: Sequence[Result], cells: Sequence[str]) -> str:
    """Chooses a cell without each network in turn, and shows it on that network."""
    lines = []
    for network in dict.fromkeys(result.given.network for result in results):
        own = [result for result in results if result.given.network == network]
        rest = [result for result in results if result.given.network != network]
        if not rest:
            continue
        best = max(cells, key=lambda cell: _sum_up(rest, cell)[0])
        names = ("raw", best, cells[0])
        there, shares = _sum_up(rest, best)[0], (_sum_up(own, n)[0] for n in names)
        lines.append([f"**{network}**", best, _figure(there), *map(_figure, shares)])
        for given, _, _, tprs in own:
            figures = (_cell(tprs[name]) for name in names)
            lines.append([given.pool.name, "", "", *figures])
    head = "left out | best on the others | there | raw | with it | as they are"
    return markdown(head, lines)


def _table_across(results: Sequence[Result]) -> str:
    lines = []
    for given, _, features, _ in results:
        if given.origin is not None:
            figures = (_measure(f, given, across=True) for f in features.values())
            lines.append([given.pool.name, "TPR across", *map(_cell, figures)])
        if given.origin is not None and given.roles is not None:
            figures = (_search(f, given) for f in features.values())
            lines.append([given.pool.name, "mAP, CMC@1", *map(_cell, figures)])
    return markdown("set | figures | raw | expansion | default", lines)


def _search(features: np.ndarray, given: Set) -> tuple[float, float]:
    """Ranks the gallery for the queries: mAP and CMC@1."""
    assert given.roles is not None
    columns = [np.asarray(c) for c in (features, given.pool.labels, given.origin)]
    (rows, people, cameras), (gallery, names, places) = (
        [column[role] for column in columns] for role in given.roles
    )
    rankings = metrics.rank_gallery(
        rows, gallery, people, names, query_cameras=cameras, gallery_cameras=places
    )
    return metrics.mean_average_precision(rankings), metrics.cmc(rankings, (1,))[0]


def list_files(names: Sequence[str]) -> list[pathlib.Path]:
    """Lists the files of sets; of a folder those with features and labels."""
    files = []
    for path in map(pathlib.Path, names):
        found = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        arrays = {"features", "labels"}
        files += [f for f in found if f == path or arrays <= set(np.load(f).files)]
    if not files:
        raise ValueError(f"--sets={','.join(names)}: no .npz with features and labels")
    return files


def read_set(path: pathlib.Path, max_images: Sequence[str] = ()) -> Set:
    """Reads a labelled set; the end of its name says the network."""
    features = datasets.read_features(path, key="features")
    labels = datasets.read_labels(path, column="labels")
    norms = datasets.check_features(features, name=str(path))
    datasets.check_labels(labels, len(features))
    inputs.check_both_kinds(labels)
    rows, name = inputs.unit_rows(features, norms), path.stem
    network = next((n for end, n in _NETWORKS.items() if name.endswith(end)), name)
    with np.load(path, allow_pickle=False) as stored:
        names = [n for n in ("camera", "session", "source") if n in stored.files]
        origin = stored[names[0]] if names else None
        is_searched = "is_query" in stored.files
        roles = (stored["is_query"], stored["is_gallery"]) if is_searched else None
    pool = inputs.Pool(name, rows, norms, labels, None)
    return Set(network, pool, images_of(name, max_images), origin, roles)


def images_of(name: str, max_images: Sequence[str]) -> int | None:
    """Reads the limit of a set from ROWS, for all sets, and NAME=ROWS."""
    limits = {}
    for text in max_images:
        key, _, rows = text.rpartition("=")
        if not rows.isdigit() or int(rows) < 2:
            raise ValueError(f"--max_images={text}: expected NAME=ROWS, ROWS from 2")
        limits[key] = int(rows)
    return limits.get(name, limits.get(""))


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}".replace("0.", ".")


def _cell(tprs: Iterable[Any]) -> str:
    return " ".join(_figure(float(tpr)) for tpr in tprs)


def markdown(head: str, lines: Iterable[Sequence[str]]) -> str:
    """Lays a table out: its head, columns parted by bars, and its lines."""
    rows = [head, "|".join(["---"] * len(head.split("|"))), *map(" | ".join, lines)]
    return "\n".join(f"| {row} |" for row in rows)
