"""Refines embeddings and groups them into identities.

    gfa cluster --features=embeddings.npy

finds the candidates and refines as `refine` does, and takes the clusters that persist
longest (clustering/persistence.py): no threshold and no size is asked for. The paper's
section 3.4, --method=components, prunes the pairs whose refined cosine is under t_s
(--merge_threshold) and takes what the rest connects; --method=average joins clusters
while the mean cosine of their pairs reaches t_s. Where the pool chose the settings,
that cosine is the one in the pool's own units (selection/metric.py). It writes to
--output_dir: labels.npy (the cluster of each row, -1 for one left out),
confidence.npy, dropped.npy, report.json, summary.png (sizes, confidence and, where
labels are known, purity), and with --images contact_sheet.html. A learn-to-cluster
folder is read as it is (and all of its sizes by `learn_to_cluster`):
--features=features/X.bin --dim=256 --labels=labels/X.meta
--candidates=knns/X/faiss_k_80.npz.
"""

from functools import partial

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, metrics, plotting
from gfa_jax.clustering import METHODS, Method
from gfa_jax.programs import (
    cli,
    contact_sheet,
    flags,
    inputs,
    outputs,
    pictures,
    pipeline,
)
from gfa_jax.programs.backends.memory import MemoryBackend
from gfa_jax.refinement import Refinement
from gfa_jax.selection.metric import pool_views

FLAGS = flags.FLAGS
flags.adopt(pipeline)
flags.adopt(pictures)
# t_s in the pool's own units has one value for all networks (experiments/RESULTS.md);
# the plain one is the paper's reading.
_POOL_THRESHOLD, _PLAIN_THRESHOLD = 0.85, 0.8
_OUTPUTS = (
    *("labels.npy", "confidence.npy", "dropped.npy", "contact_sheet.html"),
    *(pictures.SUMMARY, "sizes.png", "confidence.png", "purity.png", "report.json"),
)

flags.DEFINE_string("output_dir", "outputs/cluster", "Folder of the results.")
flags.DEFINE_enum(
    "method",
    None,
    METHODS,
    "Rule, by default persistent. components: the paper's, the default with "
    "--merge_threshold or --preset=paper; average: by the mean over two clusters.",
)
flags.DEFINE_float(
    "merge_threshold",
    None,
    "Cosine t_s of components and average; .85 or .8. From it rows are joined: .85 in "
    "the pool's own units; .8, a plain cosine, with --threshold or --preset=paper.",
    -1.0,
    1.0,
)
flags.DEFINE_integer(
    "min_size", 1, "Rows of smaller clusters get the label -1.", lower_bound=1
)
flags.DEFINE_input(
    "images", None, "Images in the order of the rows: folder, .npy, .npz, .txt list."
)

EVERYDAY = (
    *("features", "labels", "output_dir", "method", "merge_threshold", "min_size"),
    *("images", "preset", "threshold", "k", "num_steps", "params", "neighbors"),
)


def main() -> None:
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    images = None
    if FLAGS.images is not None:
        if FLAGS.features is None:
            raise ValueError("--images shows the rows of --features; name that too")
        images = contact_sheet.open_images(FLAGS.images, inputs.open_source().shape[0])
    run = pipeline.Run(MemoryBackend(), cli.Stages())
    with run.refine(FLAGS.output_dir, _OUTPUTS) as refined:
        said = _cluster(run, refined, images)
        files = [name for name in _OUTPUTS if (run.hidden / name).exists()]
    print(f"{said}\n\n{run.folder}: {', '.join(files)}")


def _method() -> Method:
    if FLAGS.method == "persistent" and FLAGS.merge_threshold is not None:
        raise ValueError("--merge_threshold is not for --method=persistent; drop one")
    is_paper = FLAGS.merge_threshold is not None or FLAGS.preset == "paper"
    return FLAGS.method or ("components" if is_paper else "persistent")


def _cluster(
    run: pipeline.Run,
    refined: Refinement,
    images: contact_sheet.Images | None,
) -> str:
    """Groups the refined rows and writes what was found; says it in some lines."""
    identities, hidden = run.pool.labels, run.hidden
    chosen, features, threshold = refined.settings, refined.features, None
    method, neighbors = _method(), refined.neighbors
    if method != "persistent":
        is_plain = chosen.weights is None
        features = features if is_plain else pool_views(features)
        neighbors, threshold = chosen.neighbors, FLAGS.merge_threshold
        if threshold is None:
            threshold = _PLAIN_THRESHOLD if is_plain else _POOL_THRESHOLD
    with run.stages("clusters"):
        clusters = gfa.cluster(
            features,
            neighbors,
            method=method,
            threshold=threshold,
            evidence=chosen.evidence,
            min_size=FLAGS.min_size,
            progress=cli.progress,
        )
    scores = purity = sheet = None
    if identities is not None:
        scores = metrics.cluster_scores(identities, clusters.labels)
        purity = metrics.cluster_purity(identities, clusters.labels)
    with run.stages("files"):
        datasets.write_array(hidden / "labels.npy", clusters.labels)
        datasets.write_array(hidden / "confidence.npy", clusters.confidence)
        datasets.write_array(hidden / "dropped.npy", refined.dropped)
        if clusters.num_clusters:  # otherwise every row is left out: nothing to draw
            labels, sizes, confidence = clusters
            panels = {
                "sizes": partial(plotting.plot_cluster_sizes, sizes),
                "confidence": partial(plotting.plot_confidence, labels, confidence),
            }
            if purity is not None:
                panels["purity"] = partial(plotting.plot_purity, sizes, purity)
            pool = f"{run.pool.name}: {len(labels):,} rows, {method} clusters"
            pictures.save(hidden, panels, title=pool)
        if images is not None:
            path = hidden / "contact_sheet.html"
            sheet = contact_sheet.write_sheet(
                path, clusters, images, purity, folder=run.folder
            )
    report = run.report(refined) | {
        "clusters": clusters.num_clusters,
        "singletons": int(np.sum(clusters.sizes == 1)),
        "left_out": int(np.sum(clusters.labels < 0)),
        "largest": int(clusters.sizes.max(initial=0)),
        "method": method,
        "merge_threshold": threshold,
        "scores": scores and outputs.cluster_report(scores),
        "contact_sheet": sheet,
    }
    outputs.write_report(hidden, report)
    if sheet is not None and sheet["unreadable"]:
        names = ", ".join(sheet["unreadable"][:5])
        cli.warn(f"{len(sheet['unreadable'])} images could not be read: {names}")
    lines = [
        run.say(refined),
        f"{len(clusters.labels):,} rows in {clusters.num_clusters:,} clusters, "
        f"{report['singletons']:,} of one row, the largest of {report['largest']:,}",
    ]
    if scores is not None:
        both = {"pairwise": scores.pairwise, "BCubed": scores.bcubed}
        lines += [
            f"{name:9}precision {measured.precision:.4f}  recall "
            f"{measured.recall:.4f}  F {measured.f_score:.4f}"
            for name, measured in both.items()
        ]
        lines.append(
            f"{scores.num_identities:,} identities; NMI {scores.nmi_arithmetic:.4f}"
        )
    return "\n".join(lines)
