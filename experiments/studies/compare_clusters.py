"""Clusters the same features in every way, each tuned with the same budget.

    python -m experiments.compare_clusters --features=embeddings.npy --labels=labels.npy

The identities are split at random in halves, --splits times. On the first half every
clusterer tries up to --trials settings, drawn from its own space without repeats, and
keeps the one with the largest mean of pairwise F and BCubed F; that setting clusters
the other half, a pool of its own, and is scored there. All read the same candidates;
seconds are without their search, and of the quicker of two runs, so that nothing is
compiled in them. It writes report.json and clusters.png to --output_dir.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import gfa_jax as gfa
from experiments.studies.clusterers import (
    CLUSTERERS,
    OURS,
    Clusterer,
    Problem,
    tables,
    tuning,
)
from gfa_jax.programs import cli, flags, halves, inputs, outputs

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_string("output_dir", "outputs/compare_clusters", "Folder of the results.")
flags.DEFINE_list("clusterers", list(CLUSTERERS), "Which to compare.")
flags.DEFINE_integer("trials", 40, "Settings each may try.", lower_bound=1)
flags.DEFINE_integer("splits", 5, "Random halves of the identities.", lower_bound=1)
flags.DEFINE_integer("k", 80, "Candidates to search for all.", lower_bound=2)

_OUTPUTS = ("clusters.png", "report.json")


def main() -> None:
    """Splits, chooses, scores."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    clusterers = _named(FLAGS.clusterers)
    with stages("load"):
        pool = inputs.load_pool()
        if pool.labels is None or pool.pairs is not None:
            raise ValueError("expected --labels and no --pairs: halves need identities")
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    outcomes: dict[str, list[tuning.Outcome]] = {each.name: [] for each in clusterers}
    for seed in range(FLAGS.seed, FLAGS.seed + FLAGS.splits):
        with stages("neighbors"):
            first, second = (
                _problem(half, seed) for half in halves.split(pool, seed=seed)
            )
        for each in cli.progress(clusterers, total=len(clusterers), desc="clusterers"):
            with stages(each.name):
                outcome = tuning.compete(
                    each, first, second, trials=FLAGS.trials, seed=seed
                )
            outcomes[each.name].append(outcome)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        _draw(hidden, outcomes)
        report = {
            "pool": inputs.describe(pool),
            "clusterers": {
                name: [_as_report(outcome) for outcome in each]
                for name, each in outcomes.items()
            },
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(tables.table(outcomes))
    if OURS in outcomes:
        print(tables.verdict(outcomes))


def _named(names: Sequence[str]) -> list[Clusterer]:
    unknown = [name for name in names if name not in CLUSTERERS]
    if unknown or not names:
        raise ValueError(
            f"--clusterers={','.join(names)}: expected some of {', '.join(CLUSTERERS)}"
        )
    return [CLUSTERERS[name] for name in dict.fromkeys(names)]


def _problem(half: inputs.Pool, seed: int) -> tuple[Problem, np.ndarray]:
    """Searches the candidates of a half; a small one has fewer than --k."""
    assert half.labels is not None  # `halves` gives codes
    neighbors = gfa.exact_neighbors(
        half.features, k=min(FLAGS.k, len(half.features) - 1), progress=cli.progress
    )
    on_host = gfa.Neighbors(*(np.asarray(column) for column in neighbors))
    count = len(np.unique(half.labels))
    return Problem(half.features, on_host, count, seed), half.labels


def _as_report(outcome: tuning.Outcome) -> dict[str, Any]:
    return {
        "setting": outcome.setting,
        "scores": outputs.cluster_report(outcome.scores),
        "seconds": outcome.seconds,
        "tried": [{"setting": setting, "f": f} for setting, f in outcome.tried],
    }


def _draw(
    folder: pathlib.Path, outcomes: Mapping[str, Sequence[tuning.Outcome]]
) -> None:
    from experiments.studies.comparison_plot import plot_comparison

    figure = plot_comparison(
        {name: tables.f_scores(each) for name, each in outcomes.items()},
        ("pairwise F", "BCubed F"),
    )
    figure.savefig(folder / "clusters.png", dpi=150)
