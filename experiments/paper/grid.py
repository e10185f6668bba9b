"""Every setting of a table, on one search and one list of pairs.

The candidates are searched once at the largest K; a smaller K is their first columns.
--neighbors=approximate searches that once by FAISS, calibrated to --edge_recall of the
edges above the smallest threshold; the report states the recall that was measured.
Raw and refined features get the same pairs and the same rule, and the aggregation
sees the pool alone: neither pairs nor labels.

Importing this module defines the flags of the grid. The preset is `paper` here, unlike
elsewhere: the tables of the paper are about the method as printed.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.paper import paper, protocols
from gfa_jax import datasets, metrics
from gfa_jax.checks import check_params
from gfa_jax.programs import cli, evaluation, flags, inputs
from gfa_jax.types import PRESETS

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "preset",
    ["paper"],
    "paper: as printed, which these tables are about; affinity: cubed affinities kept "
    "from the first step; paper,affinity: both, one under the other.",
)
flags.DEFINE_list(
    "k", None, "Neighbours, the row itself counted; the paper's grid by default."
)
flags.DEFINE_list(
    "threshold", None, "Cosines t an edge must exceed; the paper's grid by default."
)
flags.DEFINE_float("gamma", 0.5, "Step towards the pseudo-center.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=0)
flags.DEFINE_bool("include_self", True, "Whether a row is its own neighbour.")
flags.DEFINE_bool("renormalize", True, "Whether each step ends on unit rows.")
flags.DEFINE_enum(
    "neighbors",
    "exact",
    ["exact", "approximate"],
    "exact: in JAX; approximate: FAISS, calibrated to --edge_recall.",
)
flags.DEFINE_float(
    "edge_recall", 0.99, "Share of the edges above the threshold to find.", 0.0, 1.0
)
flags.DEFINE_enum("rule", "conservative", metrics.RULES, "Reading of the ROC.")
flags.DEFINE_integer(
    "resamples", 200, "Bootstrap draws of identities; 0: none.", lower_bound=0
)

# Points of a curve that are kept to draw it; the eye sees no more.
_DRAWN = np.logspace(-8, 0, 1500)


class Task(NamedTuple):
    """What a protocol asks of a pool of features."""

    # Its pairs have `same`; its labels are identities for the bootstrap, or None where
    # they are not known.
    pool: inputs.Pool
    table: paper.Table  # the paper's table, whose grid and columns are the defaults
    # What the protocol holds beside what was published.
    counts: tuple[protocols.Count, ...]
    folds: np.ndarray | None = None  # [M] fold of each pair, or None
    notes: dict[str, Any] | None = None  # what else was chosen, for the report
    # [N] arrays that name a row of the pool, or None.
    row_names: dict[str, np.ndarray] | None = None


class Setting(NamedTuple):
    """One cell of the grid."""

    preset: str
    k: int
    threshold: float


class Candidates(NamedTuple):
    """What every setting of a grid chooses its neighbours from."""

    neighbors: gfa.Neighbors  # [N, largest K], on the device
    # How well they were searched; None for an exact search.
    calibration: gfa.neighbors.Calibration | None
    report: dict[str, Any]  # what the report says of the search


class Row(NamedTuple):
    """The figures of one setting."""

    setting: Setting | None  # None for the raw features
    # TPR at each FPR of the table, their intervals and the ROC, which is thinned to
    # what a figure shows.
    verification: evaluation.Verification
    # Over the raw features, with their intervals; none for these themselves.
    gains: tuple[evaluation.Gain, ...]
    figures: dict[str, Any]  # what the report stores
    accuracies: np.ndarray | None  # of every fold, or None


def read_settings(table: paper.Table, *, num_rows: int) -> list[Setting]:
    """Lists the cells that the flags ask for, preset by preset, as the table does.

    The cells of the table are the grid where neither --k nor --threshold is given.
    """
    for preset in FLAGS.preset:
        if preset not in PRESETS:
            known = ", ".join(sorted(PRESETS))
            raise ValueError(f"--preset={preset}; expected one or more of {known}")
    if not FLAGS.preset:
        raise ValueError("--preset is empty; expected at least one")
    cells = list(table.cells)
    if FLAGS.k is not None or FLAGS.threshold is not None:
        ks, thresholds = (
            list(dict.fromkeys(axis)) for axis in zip(*cells, strict=True)
        )
        if FLAGS.k is not None:
            ks = cli.numbers("k", int)
        if FLAGS.threshold is not None:
            thresholds = cli.numbers("threshold", float)
        cells = [(k, t) for t, k in itertools.product(thresholds, ks)]
    settings = [Setting(preset, *cell) for preset in FLAGS.preset for cell in cells]
    for setting in settings:
        check_params(_params(setting))
        gfa.neighbors.check_k(setting.k, num_rows)
    return settings


def name_setting(setting: Setting | None) -> list[str]:
    """Names a setting in the three first cells of a line; None is the raw features."""
    if setting is None:
        return ["raw", "-", "-"]
    return [setting.preset, str(setting.k), f"{setting.threshold:.2f}"]


def label(setting: Setting | None) -> str:
    """Names a setting in the legend of a figure; None is the raw features."""
    if setting is None:
        return "raw"
    return f"{setting.preset}, K={setting.k}, t={setting.threshold:g}"


def open_points(preset: str) -> dict[str, Any]:
    """States what the paper leaves open and this run chose."""
    points = {
        "mask": "hard",
        "strict": "A > t",
        "pseudo_center": "mean of the survivors; an empty row stays",
        "candidates": "searched once, before the first step",
        "include_self": FLAGS.include_self,
        "k_counts_the_row_itself": FLAGS.include_self,
        "renormalize": FLAGS.renormalize,
        "gamma": FLAGS.gamma,
        "num_steps": FLAGS.num_steps,
        "rule": FLAGS.rule,
        "weighting": PRESETS[preset].weighting,
        "graph": PRESETS[preset].graph,
    }
    if points["weighting"] == "affinity":
        points["exponent"] = gfa.Params(FLAGS.gamma, 0.0).exponent
    return points


def search(pool: inputs.Pool, settings: list[Setting]) -> gfa.Neighbors:
    """Searches the candidates of every setting at once, exactly."""
    return jax.block_until_ready(
        gfa.exact_neighbors(
            pool.features,
            k=max(setting.k for setting in settings),
            include_self=FLAGS.include_self,
            progress=cli.progress,
        )
    )


def find_candidates(pool: inputs.Pool, settings: list[Setting]) -> Candidates:
    """Searches the candidates of every setting at once, as --neighbors says.

    The largest K and the smallest threshold of the settings are searched for.
    """
    k = max(setting.k for setting in settings)
    about: dict[str, Any] = {"neighbors": FLAGS.neighbors, "k": k}
    if FLAGS.neighbors == "exact":
        return Candidates(search(pool, settings), None, about | {"calibration": None})
    threshold = min(setting.threshold for setting in settings)
    found, calibration = gfa.approximate_neighbors(
        pool.features,
        k=k,
        edge_recall=FLAGS.edge_recall,
        threshold=threshold,
        include_self=FLAGS.include_self,
        progress=cli.progress,
    )
    about |= {"threshold": threshold, "calibration": calibration._asdict()}
    return Candidates(jax.tree.map(jnp.asarray, found), calibration, about)


def name_search(candidates: Candidates) -> list[str]:
    """Says in a line how the candidates were searched, unless it was exactly."""
    found = candidates.calibration
    if found is None:
        return []
    return [
        f"approximate search ({found.factory}): recall {found.recall:.4f} of the "
        f"edges, at least {found.lower_bound:.4f} (95 %), measured on "
        f"{found.sample_rows:,} rows"
    ]


def refine(
    features: np.ndarray | jax.Array, neighbors: gfa.Neighbors, setting: Setting
) -> gfa.Aggregation:
    """Refines the pool by one setting, on the first K of the candidates."""
    return gfa.aggregate(
        features,
        neighbors.first(setting.k),
        _params(setting),
        num_steps=FLAGS.num_steps,
        options=dataclasses.replace(
            PRESETS[setting.preset],
            include_self=FLAGS.include_self,
            renormalize=FLAGS.renormalize,
        ),
    )


def refined(
    pool: inputs.Pool, neighbors: gfa.Neighbors, settings: list[Setting]
) -> Iterator[tuple[Setting, np.ndarray, dict[str, Any]]]:
    """Refines a pool by every setting: the setting, [N, D] rows, and their report."""
    features = jnp.asarray(pool.features)
    for setting in cli.progress(settings, total=len(settings), desc="settings"):
        result = refine(features, neighbors, setting)
        about = {
            "residual": result.residual.tolist(),
            "mean_degree": float(result.degree.mean()),
            "rows_without_neighbour": int((result.degree <= FLAGS.include_self).sum()),
        }
        yield setting, np.asarray(result.features), about


def sweep(task: Task, neighbors: gfa.Neighbors, settings: list[Setting]) -> list[Row]:
    """Measures the raw features, then every setting: a row each.

    A refinement, a pass over the pairs, their sort and --resamples more passes a
    setting. Memory: about 150 bytes a pair, one setting at a time.
    """
    rows = [_measure(task, None, task.pool.features)]
    raw = rows[0].verification
    for setting, features, about in refined(task.pool, neighbors, settings):
        rows.append(_measure(task, setting, features, before=raw))
        rows[-1].figures.update(about)
    return rows


def _measure(
    task: Task,
    setting: Setting | None,
    features: np.ndarray,
    *,
    before: evaluation.Verification | None = None,
) -> Row:
    verification = evaluation.verify(
        features,
        task.pool,
        fprs=task.table.fprs,
        rule=FLAGS.rule,
        num_resamples=FLAGS.resamples,
        seed=FLAGS.seed,
    )
    figures = evaluation.as_report(verification, before=before)
    gains, accuracies = (), None
    if before is not None:
        gains = evaluation.gains(before, verification)
    if task.folds is not None and task.pool.pairs is not None:
        accuracies = fold_accuracies(features, task.pool.pairs, task.folds)
        figures["fold_accuracies"] = accuracies.tolist()
    kept = verification._replace(roc=thin(verification.roc))
    return Row(setting, kept, gains, figures, accuracies)


def fold_accuracies(
    features: np.ndarray, pairs: datasets.Pairs, folds: np.ndarray
) -> np.ndarray:
    """Measures the accuracy on each of F folds at the threshold best on all the others.

    accuracy(t) = (TA(t) + I − FA(t)) / (G + I)

    The threshold lies halfway between the lowest score that is accepted there and the
    next one; of several that are equally good, it is the strictest. Source: Huang et
    al., Labeled Faces in the Wild, 2007, View 2.

    Args:
        features: [N, D] unit rows.
        pairs: M pairs, `same` known.
        folds: [M] integer fold of each pair; every two folds hold both kinds.
    """
    assert pairs.same is not None  # load decides it
    scores = metrics.pair_scores(features, pairs.indices)
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("got 1 fold; expected at least 2, to choose the threshold by")
    accuracies = []
    for fold in numbers:
        inside = folds == fold
        roc = metrics.roc_curve(scores[~inside], pairs.same[~inside])
        best = int(np.argmax(roc.true_accepts - roc.false_accepts))
        threshold = roc.thresholds[best : best + 2].mean()
        accuracies.append(np.mean((scores[inside] >= threshold) == pairs.same[inside]))
    return np.array(accuracies)


def thin(roc: metrics.Roc) -> metrics.Roc:
    """Keeps the points that a figure shows: a curve of 47 million is a gigabyte."""
    shown = metrics.tpr_at_fpr(roc, [0.0, *_DRAWN.clip(max=1.0), *metrics.DEFAULT_FPRS])
    kept = np.isin(roc.thresholds, [point.threshold for point in shown])
    kept[[0, -1]] = True
    return roc._replace(
        thresholds=roc.thresholds[kept],
        false_accepts=roc.false_accepts[kept],
        true_accepts=roc.true_accepts[kept],
    )


def _params(setting: Setting) -> gfa.Params:
    return gfa.Params(FLAGS.gamma, setting.threshold)
