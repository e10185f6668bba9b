"""Refines a file of embeddings and shows what it did to verification.

    python -m experiments.refine --features=embeddings.npy --labels=labels.npy

reads, checks, finds the K candidates, runs T updates and writes to --output_dir:
refined.npy, report.json and, where labels or pairs say which rows belong together,
roc.png and similarity.png. Without --features it runs on a generated sample.
"""

import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, evaluation, inputs, outputs
from gfa_jax import datasets, metrics
from gfa_jax.affinity import MASKS, WEIGHTINGS
from gfa_jax.aggregation import GRAPHS

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(inputs)
_OUTPUTS = ("refined.npy", "roc.png", "similarity.png", "report.json")

flags.DEFINE_string("output_dir", "outputs/refine", "Folder of the results.")

flags.DEFINE_enum(
    "preset",
    "safe",
    sorted(gfa.PRESETS),
    "safe: cubed affinities fixed at the first step; paper: its letter.",
)
flags.DEFINE_integer(
    "k", 15, "Neighbours a row, the row itself counted: 15 is itself and 14 others."
)
flags.DEFINE_float("threshold", 0.55, "Cosine t an edge must exceed.", -1.0, 1.0)
flags.DEFINE_float("gamma", 0.5, "Step towards the pseudo-center.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=0)
flags.DEFINE_enum("mask", "hard", MASKS, "[A > t], or its sigmoid.")
flags.DEFINE_float("temperature", 0.05, "Width of the soft mask.")
flags.DEFINE_enum("weighting", None, WEIGHTINGS, "Weights; the preset's by default.")
flags.DEFINE_float("exponent", 3.0, "Power of the affinity weights.")
flags.DEFINE_enum("graph", None, GRAPHS, "Graph; the preset's by default.")
flags.DEFINE_integer("refresh_every", 1, "Steps between searches.", lower_bound=1)
flags.DEFINE_bool("include_self", True, "Whether a row is its own neighbour.")
flags.DEFINE_bool("renormalize", True, "Whether each step ends on unit rows.")

flags.DEFINE_enum(
    "neighbors",
    "exact",
    ["exact", "approximate", "faiss"],
    "exact: in JAX; approximate: FAISS, calibrated to --edge_recall; faiss: as told.",
)
flags.DEFINE_float(
    "edge_recall", 0.99, "Share of the edges above the threshold to find.", 0.0, 1.0
)
flags.DEFINE_string("candidates", None, "Candidates found before: .npz or .npy.")
flags.DEFINE_string("faiss_factory", "Flat", "FAISS index factory string.")
flags.DEFINE_string("faiss_search", "", "FAISS search parameters: nprobe=16.")

flags.DEFINE_list(
    "fprs", [f"{fpr:g}" for fpr in metrics.DEFAULT_FPRS], "FPRs to report."
)
flags.DEFINE_enum("rule", "conservative", metrics.RULES, "Reading of the ROC.")
flags.DEFINE_integer(
    "max_images",
    None,
    "Leave out genuine pairs of identities with more rows.",
    lower_bound=2,
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)
flags.DEFINE_bool("plots", True, "Whether the figures are drawn.")


def main() -> None:
    """Runs the stages in the order in which the data travel."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = _fprs()
    with stages("load"):
        options, params = _options()
        inputs.refuse_overwriting(
            (FLAGS.features, FLAGS.labels, FLAGS.pairs, FLAGS.candidates),
            (pathlib.Path(FLAGS.output_dir, name) for name in _OUTPUTS),
        )
        pool = inputs.load_pool()
        gfa.check_k(FLAGS.k, len(pool.features))
        folder = outputs.prepare_folder(FLAGS.output_dir)
        features = jnp.asarray(pool.features)
    with stages("neighbors"):
        neighbors, calibration = jax.block_until_ready(_find_neighbors(features))
    with stages("updates"):
        result = gfa.aggregate(
            features, neighbors, params, progress=cli.progress, **options
        )
        refined = np.asarray(result.features)
    figures = {}
    if pool.labels is not None or pool.pairs is not None:
        with stages("evaluation"):
            for name, rows in (("before", pool.features), ("after", refined)):
                figures[name] = evaluation.verify(
                    rows,
                    pool,
                    fprs=fprs,
                    rule=FLAGS.rule,
                    num_resamples=FLAGS.resamples,
                    seed=FLAGS.seed,
                    max_images=FLAGS.max_images,
                    progress=cli.progress,
                )
    with outputs.staged(folder, _OUTPUTS) as hidden:
        with stages("files"):
            datasets.write_array(hidden / "refined.npy", refined)
            if figures and FLAGS.plots:
                _draw(hidden, figures)
        report = {
            "options": _flag_values(options),
            "environment": outputs.environment(),
            "pool": _describe(pool),
            "calibration": calibration and calibration._asdict(),
            "residual": result.residual.tolist(),
            "degree": outputs.spread(np.asarray(result.degree)),
            "rows_without_neighbour": int(np.sum(np.asarray(result.degree) == 0)),
            "verification": {k: evaluation.as_report(v) for k, v in figures.items()},
            "seconds": stages.seconds,
            "peak_memory": outputs.peak_memory(),
        }
        datasets.write_json(hidden / "report.json", report)
    if figures:
        print(evaluation.table(**figures))
    print(f"refined features, {refined.shape}, are in {folder}")


def _options() -> tuple[dict[str, Any], gfa.Params]:
    """Joins the preset with the flags that overrule it."""
    options = dict(gfa.PRESETS[FLAGS.preset])
    options.update(
        (name, getattr(FLAGS, name))
        for name in ("weighting", "graph")
        if getattr(FLAGS, name) is not None
    )
    for name in ("num_steps", "mask", "include_self", "renormalize", "refresh_every"):
        options[name] = getattr(FLAGS, name)
    if options["graph"] == "refresh" and (
        FLAGS.neighbors != "exact" or FLAGS.candidates is not None
    ):
        raise ValueError(
            "--graph=refresh searches again exactly; use it with --neighbors=exact and "
            "without --candidates"
        )
    params = gfa.Params(FLAGS.gamma, FLAGS.threshold, FLAGS.temperature, FLAGS.exponent)
    gfa.check_params(params)
    return options, params


def _find_neighbors(
    features: jax.Array,
) -> tuple[gfa.Neighbors, gfa.Calibration | None]:
    """Reads or searches the candidates; says how well, where it was measured."""
    if FLAGS.candidates is not None:
        indices, similarity = datasets.read_candidates(
            FLAGS.candidates, num_rows=len(features)
        )
        placed = gfa.place_self(
            indices, similarity, k=FLAGS.k, include_self=FLAGS.include_self
        )
        return placed, None
    options: dict[str, Any] = {
        "k": FLAGS.k,
        "include_self": FLAGS.include_self,
        "progress": cli.progress,
    }
    if FLAGS.neighbors == "approximate":
        return gfa.approximate_neighbors(
            features,
            edge_recall=FLAGS.edge_recall,
            threshold=FLAGS.threshold,
            **options,
        )
    if FLAGS.neighbors == "faiss":
        options |= {"factory": FLAGS.faiss_factory, "search": FLAGS.faiss_search}
        return gfa.faiss_neighbors(features, **options), None
    return gfa.exact_neighbors(features, **options), None


def _fprs() -> tuple[float, ...]:
    try:
        return metrics.check_targets(float(fpr) for fpr in FLAGS.fprs)
    except ValueError as error:
        raise ValueError(
            f"--fprs={','.join(FLAGS.fprs)}: expected rates in [0, 1] with commas "
            "between them"
        ) from error


def _draw(folder: pathlib.Path, figures: dict[str, evaluation.Verification]) -> None:
    from gfa_jax import plotting

    roc = plotting.plot_roc({name: v.roc for name, v in figures.items()})
    roc.savefig(folder / "roc.png", dpi=150)
    cosines = plotting.plot_similarity({k: v.histogram for k, v in figures.items()})
    cosines.savefig(folder / "similarity.png", dpi=150)


def _describe(pool: inputs.Pool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "rows": len(pool.features),
        "dimensions": pool.features.shape[1],
        "identities": None if pool.labels is None else len(np.unique(pool.labels)),
        "listed_pairs": None if pool.pairs is None else len(pool.pairs.indices),
        "norms": outputs.spread(pool.norms),
        "normalized": pool.was_normalized,
    }


def _flag_values(options: dict[str, Any]) -> dict[str, Any]:
    """Returns every flag of this program, with the preset's choices filled in."""
    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    return {flag.name: flag.value for flag in own} | options


if __name__ == "__main__":
    cli.run(main)
