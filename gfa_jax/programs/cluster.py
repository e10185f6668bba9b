"""Refines embeddings and groups them into identities.

    gfa cluster --features=embeddings.npy

finds the candidates and refines as `refine` does, and takes the clusters that persist
longest (clustering/persistence.py): no threshold and no size is asked for. The paper's
section 3.4, --method=components, prunes the pairs whose refined cosine is under t_s
(--merge_threshold) and takes what the rest connects; --method=average joins clusters
while the mean cosine of their pairs reaches t_s. Where the pool chose the settings,
that cosine is the one in the pool's own units (selection/metric.py). It writes to
--output_dir: labels.npy (the cluster of each row, -1 for one left out), confidence.npy
(the probability that another row of the cluster is of the same identity), dropped.npy,
report.json, summary.png (sizes, confidence and, where labels are known, purity), with
--images contact_sheet.html, and with --review=N review.csv, the N pairs of rows whose
answer would change the clusters most. --streamed keeps rows and lists on disk, for one
process or for several (--num_processes), to the same clusters. With --previous clusters
keep their numbers as the pool grows. A learn-to-cluster folder is read as it is (and
all of its sizes by `learn_to_cluster`): --features=features/X.bin --dim=256
--labels=labels/X.meta --candidates=knns/X/faiss_k_80.npz.
"""

import json
import pathlib
from functools import partial

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, metrics, plotting
from gfa_jax.clustering import METHODS, Clusters, Method, Review, relabel, review
from gfa_jax.clustering.clusters import BY_THRESHOLD, measure
from gfa_jax.programs import (
    cli,
    contact_sheet,
    flags,
    inputs,
    outputs,
    pictures,
    pipeline,
    processes,
    results,
)
from gfa_jax.programs.backends import file
from gfa_jax.programs.backends.memory import MemoryBackend
from gfa_jax.refinement import Refinement

FLAGS = flags.FLAGS
flags.adopt(pipeline)
flags.adopt(pictures)
flags.adopt(processes)
flags.adopt(file)
# t_s in the pool's own units has one value for all networks (experiments/RESULTS.md);
# the plain one is the paper's reading.
_POOL_THRESHOLD, _PLAIN_THRESHOLD = 0.85, 0.8
_OUTPUTS = (
    *("labels.npy", "confidence.npy", "dropped.npy", "contact_sheet.html"),
    *(pictures.SUMMARY, "sizes.png", "confidence.png", "purity.png", "review.csv"),
    "report.json",
)

flags.DEFINE_string("output_dir", "outputs/cluster", "Folder of the results.")
flags.DEFINE_enum(
    "method",
    None,
    METHODS,
    "Rule, by default persistent. components: the paper's, the default with "
    "--merge_threshold or --preset=paper; average: by the mean over two clusters; "
    "infomap, leiden, hdbscan: other packages' (the extra clusters).",
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

flags.DEFINE_integer(
    "review", None, "Pairs of rows to list for a person to compare.", lower_bound=1
)
flags.DEFINE_string(
    "previous",
    None,
    "labels.npy of an earlier run on the first rows. Clusters that go on keep their "
    "numbers, new ones get numbers that were never used.",
)

EVERYDAY = (
    *("features", "labels", "output_dir", "method", "merge_threshold", "min_size"),
    *("images", "review", "preset", "threshold", "params", "neighbors"),
    *("streamed", "num_processes"),
)


def main() -> None:
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    method = _method()  # refused before any work
    file.check_flags()
    if processes.is_job() and not FLAGS.streamed:
        raise ValueError(
            "several processes cluster rows from their file: add --streamed, or leave "
            "--num_processes and --num_devices out"
        )
    if FLAGS.streamed and (FLAGS.review or method not in ("persistent", *BY_THRESHOLD)):
        other = "--review" if FLAGS.review else f"--method={method}"
        raise ValueError(f"{other} takes all rows in memory; leave --streamed out")
    processes.launch()
    images = None
    if FLAGS.images is not None:
        if FLAGS.features is None:
            raise ValueError("--images shows the rows of --features; name that too")
        images = contact_sheet.open_images(FLAGS.images, inputs.open_source().shape[0])
    previous = _read_previous()
    names, files = (*results.label_names(), *_OUTPUTS), []
    with processes.distributed_session():
        backend = file.FileBackend(clusters=True) if FLAGS.streamed else MemoryBackend()
        run = pipeline.Run(backend, cli.Stages(quiet=not processes.is_first()))
        with run.refine(FLAGS.output_dir, names) as refined:
            clusters, threshold = _cluster(run, refined, method)
            with processes.together():
                if processes.is_first():
                    said = _write(run, refined, clusters, threshold, images, previous)
                    files = [name for name in names if (run.hidden / name).exists()]
        if processes.is_first():
            print(f"{said}\n\n{run.folder}: {', '.join(files)}")


def _method() -> Method:
    if FLAGS.merge_threshold is not None and FLAGS.method not in (None, *BY_THRESHOLD):
        name = FLAGS.method
        raise ValueError(f"--merge_threshold is not for --method={name}; drop one")
    is_paper = FLAGS.merge_threshold is not None or FLAGS.preset == "paper"
    return FLAGS.method or ("components" if is_paper else "persistent")


def _cluster(
    run: pipeline.Run, refined: Refinement, method: Method
) -> tuple[Clusters, float | None]:
    """Groups the refined rows; gives the threshold of their cosines, too."""
    chosen, features, threshold = refined.settings, refined.features, None
    neighbors, is_plain = refined.neighbors, chosen.weights is None
    if method in BY_THRESHOLD:
        neighbors, threshold = chosen.neighbors, FLAGS.merge_threshold
        if threshold is None:
            threshold = _PLAIN_THRESHOLD if is_plain else _POOL_THRESHOLD
    with run.stages("clusters"):
        if isinstance(run.backend, file.FileBackend):
            how = {"method": method, "threshold": threshold}
            found = run.backend.cluster(refined, **how, min_size=FLAGS.min_size)
            return found, threshold
        if threshold is not None and not is_plain:
            features = measure(features, chosen.evidence)[0]
        clusters = gfa.cluster(
            features,
            neighbors,
            method=method,
            threshold=threshold,
            evidence=chosen.evidence,
            min_size=FLAGS.min_size,
            progress=cli.progress,
        )
    return clusters, threshold


def _write(
    run: pipeline.Run,
    refined: Refinement,
    clusters: Clusters,
    threshold: float | None,
    images: contact_sheet.Images | None,
    previous: tuple[np.ndarray, int] | None,
) -> str:
    """Writes what was found; says it in some lines."""
    identities, hidden, method = run.pool.labels, run.hidden, _method()
    numbers, first_free = clusters.labels, clusters.num_clusters
    if previous is not None:
        known, used = previous
        numbers = relabel(clusters.labels, known, first_free=used)
        ends = (int(each.max(initial=-1)) for each in (numbers, known))
        first_free = max(used, max(ends) + 1)
    asked = None
    if FLAGS.review is not None:
        with run.stages("review"):
            asked = review(
                refined.features,
                refined.neighbors,
                clusters.labels,
                count=FLAGS.review,
                evidence=refined.settings.evidence,
                progress=cli.progress,
            )
    scores = purity = sheet = None
    if identities is not None:
        scores = metrics.cluster_scores(identities, clusters.labels)
        purity = metrics.cluster_purity(identities, clusters.labels)
    with run.stages("files"):
        datasets.write_array(hidden / "labels.npy", numbers)
        datasets.write_array(hidden / "confidence.npy", clusters.confidence)
        datasets.write_array(hidden / "dropped.npy", refined.dropped)
        found = {"cluster": numbers, "confidence": clusters.confidence}
        results.write_labels(hidden, run.pool, found | {"dropped": refined.dropped})
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
        if asked is not None:
            datasets.write_text(hidden / "review.csv", _as_csv(asked, numbers))
        if images is not None:
            path = hidden / "contact_sheet.html"
            sheet = contact_sheet.write_sheet(
                path, clusters, images, purity, folder=run.folder, numbers=numbers
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
        "first_free_label": first_free,
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
    if asked is not None:
        lines += ["to compare, the pair that would change most first:"]
        for pair, together, likely, change in list(zip(*asked[:4], strict=True))[:5]:
            now = "together" if together else "apart"
            lines.append(
                f"  rows {pair[0]} and {pair[1]}, {now} now, one identity by "
                f"{likely:.2f}: {change:,.0f} pairs"
            )
    return "\n".join(lines)


def _read_previous() -> tuple[np.ndarray, int] | None:
    """Reads the labels of an earlier run, and from its report what numbers are free."""
    if FLAGS.previous is None:
        return None
    path = pathlib.Path(FLAGS.previous)
    labels = np.asarray(datasets.read_labels(path))
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"--previous={path} has {labels.dtype}; expected cluster numbers"
        )
    num_rows = inputs.open_source().shape[0] if FLAGS.features else len(labels)
    if len(labels) > num_rows:
        raise ValueError(
            f"--previous={path} has {len(labels):,} rows; expected at most "
            f"{num_rows:,}, those that --features begins with"
        )
    report = path.with_name("report.json")
    known = json.loads(report.read_text()) if report.is_file() else {}
    return labels, int(known.get("first_free_label", 0))


def _as_csv(asked: Review, labels: np.ndarray) -> str:
    lines = ["row,other,cluster,other_cluster,together,probability,change\n"]
    for pair, together, likely, change in zip(*asked[:4], strict=True):
        numbers = ",".join(map(str, [*pair, *labels[pair], int(together)]))
        lines.append(f"{numbers},{likely:.4f},{change:.1f}\n")
    return "".join(lines)
