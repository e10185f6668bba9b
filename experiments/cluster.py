"""Refines embeddings and groups them into identities.

    python -m experiments.cluster --features=embeddings.npy --merge_threshold=0.7

finds the candidates and refines as `refine` does, prunes the pairs whose refined
cosine is under t_s (--merge_threshold) and takes the connected components (paper,
section 3.4). It writes to --output_dir: labels.npy (the cluster of each row, -1 for one
left out), confidence.npy, report.json, sizes.png and, where labels are known,
purity.png. A learn-to-cluster folder is read as it is: --features=features/X.bin
--dim=256 --labels=labels/X.meta --candidates=knns/X/faiss_k_80.npz.
"""

import pathlib
from typing import Any

import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, inputs, method, outputs
from gfa_jax import datasets, metrics

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(inputs)
flags.adopt_module_key_flags(method)
_OUTPUTS = ("labels.npy", "confidence.npy", "sizes.png", "purity.png", "report.json")

flags.DEFINE_string("output_dir", "outputs/cluster", "Folder of the results.")
flags.DEFINE_float(
    "merge_threshold",
    0.8,
    "Refined cosine t_s from which two rows are joined.",
    -1.0,
    1.0,
)
flags.DEFINE_integer(
    "min_size", 1, "Rows of smaller clusters get the label -1.", lower_bound=1
)
flags.DEFINE_integer(
    "max_size",
    None,
    "Cut larger clusters at higher thresholds; above the largest identity expected.",
    lower_bound=1,
)
flags.DEFINE_bool("mutual", False, "Join only rows that list each other.")


def main() -> None:
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    run = method.run(stages, output_dir=FLAGS.output_dir, names=_OUTPUTS)
    pool = run.pool
    with stages("clusters"):
        clusters = gfa.cluster(
            run.result.features,
            run.neighbors,
            threshold=FLAGS.merge_threshold,
            min_size=FLAGS.min_size,
            max_size=FLAGS.max_size,
            mutual=FLAGS.mutual,
            progress=cli.progress,
        )
    scores = None
    if pool.labels is not None:
        scores = metrics.cluster_scores(pool.labels, clusters.labels)
    with outputs.staged(run.folder, _OUTPUTS) as hidden:
        with stages("files"):
            datasets.write_array(hidden / "labels.npy", clusters.labels)
            datasets.write_array(hidden / "confidence.npy", clusters.confidence)
            _draw(hidden, clusters, pool.labels)
        report = {
            "options": outputs.flag_values() | run.options,
            "environment": outputs.environment(),
            "pool": inputs.describe(pool),
            "calibration": run.calibration and run.calibration._asdict(),
            "clusters": clusters.num_clusters,
            "singletons": int(np.sum(clusters.sizes == 1)),
            "left_out": int(np.sum(clusters.labels < 0)),
            "largest": int(clusters.sizes.max(initial=0)),
            "scores": scores and _as_report(scores),
            "seconds": stages.seconds,
            "peak_memory": outputs.peak_memory(),
        }
        datasets.write_json(hidden / "report.json", report)
    print(
        f"{len(pool.features):,} rows in {clusters.num_clusters:,} clusters, "
        f"{report['singletons']:,} of one row, the largest of {report['largest']:,}"
    )
    if scores is not None:
        for name, measured in (
            ("pairwise", scores.pairwise),
            ("BCubed", scores.bcubed),
        ):
            print(
                f"{name:9}precision {measured.precision:.4f}  recall "
                f"{measured.recall:.4f}  F {measured.f_score:.4f}"
            )
        print(f"{scores.num_identities:,} identities; NMI {scores.nmi_arithmetic:.4f}")
    print(f"the labels are in {run.folder}")


def _as_report(scores: metrics.ClusterScores) -> dict[str, Any]:
    """Turns the scores into what the report stores."""
    stored: dict[str, Any] = scores._asdict()
    for name in ("pairwise", "bcubed"):
        measured = getattr(scores, name)
        stored[name] = measured._asdict() | {"f_score": measured.f_score}
    return stored


def _draw(
    folder: pathlib.Path, clusters: gfa.Clusters, identities: np.ndarray | None
) -> None:
    from gfa_jax import plotting

    sizes = plotting.plot_cluster_sizes(clusters.sizes)
    sizes.savefig(folder / "sizes.png", dpi=150)
    if identities is not None:
        purity = metrics.cluster_purity(identities, clusters.labels)
        figure = plotting.plot_purity(clusters.sizes, purity)
        figure.savefig(folder / "purity.png", dpi=150)


if __name__ == "__main__":
    cli.run(main)
