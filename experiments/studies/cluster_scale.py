"""Clusters generated pools of growing size, every rule with one setting for all sizes.

    python -m experiments.cluster_scale --sizes=20000,50000,200000,1000000

More rows hold more wrong pairs, and a rule that joins by one pair over-merges. Each
rule tries up to --trials settings on a pool of --tuning_rows with another seed, keeps
the one with the largest mean of pairwise F and BCubed F, and must do with it at every
size. Pools of more than --exact_rows are searched by an inverted file (FAISS); with
--cache the candidates are kept in that folder. It writes report.json and scale.png
to --output_dir, anew after every size.
"""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.studies.clusterers import CLUSTERERS, Clusterer, Problem, tuning
from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, flags, outputs

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", "outputs/cluster_scale", "Folder of the results.")
flags.DEFINE_list("sizes", ["20000", "50000", "200000"], "Rows of the pools.")
flags.DEFINE_integer("dim", 128, "Columns of the pools.", lower_bound=2)
flags.DEFINE_integer("seed", 0, "Of the pools.", lower_bound=0)
flags.DEFINE_integer("k", 15, "Candidates, the row itself counted.", lower_bound=2)
flags.DEFINE_integer("tuning_rows", 20_000, "Rows to tune on.", lower_bound=2)
flags.DEFINE_integer("trials", 24, "Settings each rule may try.", lower_bound=1)
flags.DEFINE_integer("cap", 300, "Rows of a cluster where cut.", lower_bound=1)
flags.DEFINE_integer("exact_rows", 50_000, "Rows up to which search is exact.")
flags.DEFINE_integer("nprobe", 16, "Lists that a search reads.", lower_bound=1)
flags.DEFINE_string("cache", None, "Folder that keeps the candidates.")
flags.DEFINE_list("rules", None, "Which rules; all by default.")

_F_SCORES = ("pairwise", "bcubed")
_OUTPUTS = ("scale.png", "report.json")
# The pool to tune on shares no person with those to report.
_OTHER_SEED = 1_000_003


def main() -> None:
    """Tunes once, then clusters every size."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    sizes = sorted(cli.numbers("sizes", int))
    for size in (FLAGS.tuning_rows, *sizes):
        gfa.neighbors.check_k(FLAGS.k, size)
    rules = _rules()
    folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    chosen: dict[str, dict[str, Any]] = {}
    with stages("tuning"):
        problem, identities, _ = _pool(FLAGS.tuning_rows, FLAGS.seed + _OTHER_SEED)
        for name in cli.progress(rules, total=len(rules), desc="tuning"):
            tried = tuning.tune(
                rules[name], problem, identities, trials=FLAGS.trials, seed=FLAGS.seed
            )
            chosen[name] = tuning.best(tried)
    rows: list[dict[str, Any]] = []
    for size in sizes:
        with stages(f"neighbors of {size:,}"):
            problem, identities, recall = _pool(size, FLAGS.seed)
        for name in cli.progress(rules, total=len(rules), desc=f"{size:,} rows"):
            start = time.perf_counter()
            labels = rules[name].cluster(problem, **chosen[name])
            seconds = time.perf_counter() - start
            scores = metrics.cluster_scores(identities, labels)
            rows.append(
                {
                    "rule": name,
                    "rows": size,
                    "recall": recall,
                    "scores": outputs.cluster_report(scores),
                    "largest": int(np.unique(labels, return_counts=True)[1].max()),
                    "seconds": seconds,
                }
            )
        # Large sizes take long: what is measured is not lost if they do not end.
        _write(folder, chosen, rows, stages)
    print(table(rows, sizes))


def table(rows: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> str:
    """Lays pairwise F / BCubed F out, one rule a line, one size a column."""
    lines = [f"{'pairwise F/BCubed F':28}" + "".join(f"{size:>14,}" for size in sizes)]
    for name in dict.fromkeys(row["rule"] for row in rows):
        cells = [
            "/".join(f"{row['scores'][of]['f_score']:.3f}" for of in _F_SCORES)
            for row in rows
            if row["rule"] == name
        ]
        lines.append(f"{name:28}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def _rules() -> dict[str, Clusterer]:
    """Returns the rules that the flag names, with no more candidates than there are."""
    rules = {
        "components": _with("components", mutual=(False,)),
        "components_mutual": _with("components", mutual=(True,)),
        "components_refined": _with("components_refined"),
        "components_refined_mutual": _with("components_refined", mutual=(True,)),
        "components_refined_cut": _with("components_refined", max_size=(FLAGS.cap,)),
        "whispers": _with("whispers"),
        "infomap": _with("infomap"),
        "average_raw": _with("average_raw"),
        "ours": _with("ours"),
    }
    names = rules if FLAGS.rules is None else FLAGS.rules
    unknown = [name for name in names if name not in rules]
    if unknown or not names:
        raise ValueError(
            f"--rules={','.join(names)}: expected some of {', '.join(rules)}"
        )
    return {name: rules[name] for name in names}


def _with(name: str, **space: Sequence[Any]) -> Clusterer:
    clusterer = CLUSTERERS[name]
    space = dict(clusterer.space) | space
    if "k" in space:
        capped = (min(k, FLAGS.k) for k in space["k"])
        space["k"] = tuple(dict.fromkeys(capped))
    return clusterer._replace(space=space)


def _pool(size: int, seed: int) -> tuple[Problem, np.ndarray, float]:
    """Generates a pool and finds its candidates; returns their recall too."""
    sample = datasets.synthetic_features(
        num_rows=size, dim=FLAGS.dim, seed=seed, progress=cli.progress
    )
    if size <= FLAGS.exact_rows:
        search: Callable[..., gfa.Neighbors] = gfa.exact_neighbors
        options: dict[str, Any] = {}
    else:
        lists = 2 ** round(np.log2(4 * np.sqrt(size)))
        search = gfa.faiss_neighbors
        options = {
            "factory": f"IVF{lists},Flat",
            "search": f"nprobe={FLAGS.nprobe}",
        }
    name = f"{size}-{FLAGS.dim}-{seed}-{FLAGS.k}-{FLAGS.nprobe if options else 0}.npz"
    kept = None if FLAGS.cache is None else pathlib.Path(FLAGS.cache, name)
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as stored:
            neighbors = gfa.Neighbors(stored["indices"], stored["similarity"])
    else:
        found = search(sample.features, k=FLAGS.k, progress=cli.progress, **options)
        neighbors = gfa.Neighbors(*(np.asarray(column) for column in found))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            datasets.write_arrays(kept, neighbors._asdict())
    problem = Problem(
        sample.features, neighbors, len(np.unique(sample.labels)), FLAGS.seed
    )
    return problem, sample.labels, _recall(problem) if options else 1.0


def _recall(problem: Problem, num_queries: int = 500) -> float:
    """Measures on some rows which of the true candidates were found."""
    rows = np.random.default_rng(0).choice(
        len(problem.features),
        size=min(num_queries, len(problem.features)),
        replace=False,
    )
    cosines = jnp.asarray(problem.features[rows]) @ jnp.asarray(problem.features).T
    k = problem.neighbors.indices.shape[1]
    truth = np.argpartition(-np.asarray(cosines), k - 1, axis=1)[:, :k]
    found = problem.neighbors.indices[rows]
    hits = sum(np.isin(true, row).sum() for true, row in zip(truth, found, strict=True))
    return float(hits / truth.size)


def _write(
    folder: pathlib.Path,
    chosen: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    stages: cli.Stages,
) -> None:
    with outputs.staged(folder, _OUTPUTS) as hidden:
        _draw(hidden, rows)
        report = {
            "settings": chosen,
            "rows": rows,
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)


def _draw(folder: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from experiments.studies.scale_plot import plot_scale

    curves = {}
    for name in dict.fromkeys(row["rule"] for row in rows):
        own = [row for row in rows if row["rule"] == name]
        curves[name] = (
            np.array([row["rows"] for row in own]),
            np.array([row["scores"]["pairwise"]["f_score"] for row in own]),
        )
    figure = plot_scale(curves, "pairwise F")
    figure.savefig(folder / "scale.png", dpi=150)
