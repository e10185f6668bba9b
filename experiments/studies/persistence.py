"""What the default's clusters are on labelled sets, and what its two numbers do.

    python -m experiments.persistence --sets=FOLDER_OR_FILES

Each set is a .npz with `features` and `labels`; labels are for the figures alone. It
prints and writes, as pairwise F / BCubed F,

    sets       the default, components at t_s = .85 in the pool's own units, HDBSCAN of
               the raw features (at least three rows)
    numbers    means over the sets for each (b, e, τ) of
               π_C(h) = σ((h / s − z₀ + b − 2 e / |C|) / τ)
    networks   the best of these on all other networks, shown on the one left out
    methods    the other methods of `gfa_jax.cluster`, without a number either
    choice     the best of all methods on all other networks, shown likewise
    confidence, exponents, review
               whether the confidence is a probability, and what pairwise F gains by
               answers to the pairs of `review` (see `cluster_confidence`)

A cell counts as behind where it is under HDBSCAN by more than .005.
Writes tables.md, reliability.png and report.json.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.studies import cluster_confidence, evidence
from experiments.studies.clusterers import Problem, hdbscan
from gfa_jax import metrics
from gfa_jax.clustering import Method, clusters, persistence
from gfa_jax.clustering.linkage import average_linkage
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.programs import cli, flags, outputs
from gfa_jax.selection import Evidence
from gfa_jax.selection.metric import pool_views

FLAGS = flags.FLAGS
flags.DEFINE_list("sets", None, "Files .npz with features and labels, or folders.")
flags.DEFINE_string("output_dir", "outputs/persistence", "Folder of the results.")
flags.require("sets")

CELLS = [
    persistence.CONSTANTS,
    *(persistence.Constants(1.0, e, 3.0) for e in (0.0, 0.5, 2.0, 3.0)),
    *(persistence.Constants(1.0, 1.0, softness) for softness in (1.0, 2.0, 4.0)),
    *(persistence.Constants(b, b, 3.0) for b in (0.0, 0.5, 1.5, 2.0)),
]
_METHODS = ("default", "components", "HDBSCAN")
_OTHERS: tuple[Method, ...] = ("infomap", "leiden", "hdbscan")
_SLACK = 0.005


class Result(NamedTuple):
    """A set's name, its network, and [2] F by method or by (b, e, τ)."""

    name: str
    network: str
    scores: dict[str | persistence.Constants, np.ndarray]
    confidence: cluster_confidence.Confidence


def main() -> None:
    """Clusters every set in every way, then lays the figures out."""
    cli.keep_compiled_programs()
    sets = [evidence.read_set(path) for path in evidence.list_files(FLAGS.sets)]
    folder = outputs.prepare_folder(FLAGS.output_dir, evidence.OUTPUTS)
    shown = cli.progress(sets, total=len(sets), desc="sets")
    results = [_measure(given) for given in shown]
    tables = {
        "sets": _table_of_sets(results, _METHODS),
        "methods": _table_of_sets(results, ("default", *_OTHERS)),
        "numbers": evidence.markdown(
            "b, e, τ | mean | not behind",
            [[_title(cell), *_sum_up(results, cell)] for cell in CELLS],
        ),
        "networks": _table_of_networks(results, {_title(cell): cell for cell in CELLS}),
        "choice": _table_of_networks(
            results, {method: method for method in (*_METHODS, *_OTHERS)}
        ),
    } | cluster_confidence.tables([result.confidence for result in results])
    report = {
        "sets": {
            name: {str(method): f.tolist() for method, f in scores.items()}
            for name, _, scores, _ in results
        },
    }
    evidence.write_tables(folder, tables, report)
    figure = cluster_confidence.plot_reliability([r.confidence for r in results])
    figure.savefig(folder / "reliability.png", dpi=150)


def _measure(given: evidence.Set) -> Result:
    rows, identities = given.pool.features, np.asarray(given.pool.labels)
    refined = gfa.refine(rows, cluster=True)
    features, near = np.asarray(refined.features), refined.neighbors
    seen, scores = refined.settings.evidence, {}
    assert refined.labels is not None and seen is not None

    def keep(name, labels: np.ndarray) -> None:
        found = metrics.cluster_scores(identities, labels)
        scores[name] = np.array([found.pairwise.f_score, found.bcubed.f_score])

    keep("default", refined.labels)
    views, kept = pool_views(features), refined.settings.neighbors
    keep("components", gfa.cluster(views, kept, threshold=0.85).labels)
    problem = Problem(rows, near, len(np.unique(identities)), 0)
    options = {"min_rows": 3, "min_samples": 3, "selection": "eom"}
    keep("HDBSCAN", hdbscan.cluster(problem, **options))
    for method in _OTHERS:
        found = gfa.cluster(features, near, evidence=seen, method=method)
        keep(method, found.labels)
    tree, numbers = _grow(features, np.asarray(near.indices), seen)
    for cell in CELLS:
        keep(cell, persistence.choose_clusters(tree, **numbers, constants=cell))
    confidence = cluster_confidence.measure(given, refined)
    return Result(given.pool.name, given.network, scores, confidence)


def _grow(features: np.ndarray, indices: np.ndarray, seen: Evidence):
    """Grows the default's tree, which no cell changes; with its s and z₀."""
    views, spread, center = clusters.measure(features, seen)
    cosines = score_candidates(views, jnp.asarray(indices))
    least = persistence.FLOOR * spread
    survives = clusters.others(indices) & (cosines >= least)
    tree = average_linkage(
        np.asarray(views), indices, cosines, survives, threshold=least
    )
    return tree, {"spread": spread, "center": center}


def _mean(results: Sequence[Result], method) -> np.ndarray:
    return np.mean([result.scores[method] for result in results], axis=0)


def _sum_up(results: Sequence[Result], method) -> tuple[str, str]:
    """Says the mean F, and in how many cells it is not behind HDBSCAN."""
    cells = [r.scores[method] >= r.scores["HDBSCAN"] - _SLACK for r in results]
    return _cell(_mean(results, method)), f"{np.sum(cells)} of {np.size(cells)}"


def _table_of_sets(results: Sequence[Result], methods: Sequence[str]) -> str:
    lines = [[r.name, *(_cell(r.scores[m]) for m in methods)] for r in results]
    for line, title in enumerate(("mean", "not behind")):
        figures = (_sum_up(results, method)[line] for method in methods)
        lines.append([f"*{title}*", *figures])
    return evidence.markdown(" | ".join(["set", *methods]), lines)


def _table_of_networks(results: Sequence[Result], ways: Mapping[str, Any]) -> str:
    """Chooses among named ways without each network; the first is the default's."""
    lines, shipped = [], next(iter(ways.values()))
    for network in dict.fromkeys(result.network for result in results):
        own = [result for result in results if result.network == network]
        rest = [result for result in results if result.network != network]
        if rest:
            best = max(ways, key=lambda name: _mean(rest, ways[name]).sum())
            figures = (_cell(_mean(own, way)) for way in (ways[best], shipped))
            lines.append([network, best, *figures])
    return evidence.markdown("left out | best on the others | with it | shipped", lines)


def _title(cell: persistence.Constants) -> str:
    return ", ".join(f"{number:g}" for number in cell)


def _cell(scores: np.ndarray) -> str:
    return " / ".join(f"{score:.3f}".replace("0.", ".") for score in scores)
